//! Where volumes of Amazon EBS are.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::sync::Arc;

use async_trait::async_trait;
use ccm_core::cloud::{
    Batching, CloudError, Evidence, Kind, Observation, Read, Region, Topology, VolumeRef,
    VolumeSource, Volumes, Zone,
};

use crate::client::ec2::volumes::Volume;
use crate::error::not_as_absence;
use crate::ground::Ground;
use crate::id;

/// The CSI driver of Amazon EBS. Its handles are volume IDs.
const DRIVER: &str = "ebs.csi.aws.com";

/// The source that came before it.
const FIELD: &str = "awsElasticBlockStore";

/// Volumes in one question.
const BATCH: NonZeroUsize = NonZeroUsize::MIN.saturating_add(99);

/// Volumes of AWS. Nothing is kept between two questions.
#[derive(Debug)]
pub(crate) struct AwsVolumes {
    ground: Arc<Ground>,
}

impl AwsVolumes {
    pub(crate) fn new(ground: Arc<Ground>) -> Self {
        Self { ground }
    }
}

#[async_trait]
impl Volumes for AwsVolumes {
    fn owns(&self, volume: &VolumeRef) -> bool {
        match &volume.source {
            VolumeSource::Csi { driver, .. } => driver == DRIVER,
            VolumeSource::InTree { field, .. } => *field == FIELD,
        }
    }

    fn batching(&self) -> Batching {
        Batching::UpTo(BATCH)
    }

    async fn topology(
        &self,
        cx: &Read,
        volumes: &[VolumeRef],
    ) -> Result<Vec<Observation<Topology>>, CloudError> {
        let keys: Vec<_> = volumes.iter().map(|volume| id_of(volume)).collect();
        let mut ids: Vec<_> = keys.iter().flatten().map(|&id| id.to_owned()).collect();
        ids.sort_unstable();
        ids.dedup();
        let mut answers = Answers::default();
        for ids in ids.chunks(BATCH.get()) {
            // By a condition, which IDs that do not exist do not spoil.
            match self.ground.client.find_volumes(cx, &[("volume-id", ids)]).await {
                Ok(found) => answers.take(ids, &found),
                Err(err) => answers.fail(ids, err),
            }
        }
        let region = &self.ground.home()?.region;
        let observe = |key| match key {
            Ok(id) => answers.of(id, region),
            Err(err) => Observation::Unknown(err),
        };
        Ok(keys.into_iter().map(observe).collect())
    }
}

/// The cloud's ID of a volume.
fn id_of(volume: &VolumeRef) -> Result<&str, CloudError> {
    let (is_csi, handle) = match &volume.source {
        VolumeSource::Csi { handle, .. } => (true, handle),
        VolumeSource::InTree { handle, .. } => (false, handle),
    };
    // The driver knows no longer form than the ID.
    let id = id::volume(handle).filter(|id| !is_csi || id == handle);
    id.ok_or_else(|| {
        let accepted = if is_csi { "vol-…" } else { "vol-… or aws://<zone>/vol-…" };
        let message =
            format!("volume {} is named {handle:?}, which should be {accepted}", volume.name);
        CloudError::new(Kind::InvalidConfiguration, message)
    })
}

/// What the cloud said of each volume, in several answers.
#[derive(Debug, Default)]
struct Answers(BTreeMap<String, Result<Option<Volume>, Arc<CloudError>>>);

impl Answers {
    fn take(&mut self, asked: &[String], found: &BTreeMap<String, Volume>) {
        if let Some(odd) = found.keys().find(|id| !asked.contains(id)) {
            // The question was not understood: nothing follows from what is missing.
            let message = format!("AWS answered with {odd:?}, which nobody asked for");
            self.fail(asked, CloudError::new(Kind::Internal, message));
        }
        for id in asked {
            match found.get(id) {
                Some(volume) => self.0.insert(id.clone(), Ok(Some(volume.clone()))),
                None => Some(self.0.entry(id.clone()).or_insert(Ok(None)).clone()),
            };
        }
    }

    fn fail(&mut self, asked: &[String], err: CloudError) {
        // "Not found" of a question about many says nothing of any.
        let err = Arc::new(not_as_absence(err));
        self.0.extend(asked.iter().map(|id| (id.clone(), Err(Arc::clone(&err)))));
    }

    fn of(&self, id: &str, region: &str) -> Observation<Topology> {
        match self.0.get(id) {
            None | Some(Ok(None)) => Observation::Gone(Evidence::Absent),
            Some(Err(err)) => Observation::Unknown(err.repeat()),
            Some(Ok(Some(volume))) if volume.is_deleted => Observation::Gone(Evidence::Terminated),
            Some(Ok(Some(Volume { zone: None, .. }))) => {
                let message = format!("AWS does not say in which zone {id} is");
                Observation::Unknown(CloudError::new(Kind::Internal, message))
            }
            Some(Ok(Some(Volume { zone: Some(zone), .. }))) => Observation::Present(Topology {
                zones: [Zone::from(zone.as_str())].into(),
                region: Some(Region::from(region)),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use ccm_core::cloud::Uid;
    use rstest::rstest;

    use super::*;

    fn volume(source: VolumeSource) -> VolumeRef {
        VolumeRef { name: "pv-1".to_owned(), uid: Uid::from("u"), source }
    }

    fn csi(driver: &str, handle: &str) -> VolumeRef {
        volume(VolumeSource::Csi { driver: driver.to_owned(), handle: handle.to_owned() })
    }

    fn in_tree(field: &'static str, handle: &str) -> VolumeRef {
        volume(VolumeSource::InTree { field, handle: handle.to_owned() })
    }

    #[rstest]
    #[case::csi(csi(DRIVER, "vol-1"), "vol-1")]
    #[case::in_tree(in_tree(FIELD, "vol-1"), "vol-1")]
    #[case::with_a_zone(in_tree(FIELD, "aws://eu-west-1a/vol-1"), "vol-1")]
    #[case::without_a_zone(in_tree(FIELD, "aws:///vol-1"), "vol-1")]
    #[case::csi_has_no_longer_form(
        csi(DRIVER, "aws:///vol-1"),
        "volume pv-1 is named \"aws:///vol-1\", which should be vol-…"
    )]
    #[case::nothing_yet(
        in_tree(FIELD, "placeholder-for-provisioning"),
        "volume pv-1 is named \"placeholder-for-provisioning\", which should be vol-… or \
         aws://<zone>/vol-…"
    )]
    fn handles(#[case] volume: VolumeRef, #[case] want: &str) {
        let said = id_of(&volume).map_or_else(|err| err.message().to_owned(), str::to_owned);
        assert_eq!(said, want);
    }

    /// What is said of `vol-1` and `vol-2`, with these volumes in the answer.
    fn said(there: &[(&str, Option<&str>, bool)]) -> [String; 2] {
        let record = |(id, zone, is_deleted): &(&str, Option<&str>, bool)| {
            ((*id).to_owned(), Volume { zone: zone.map(str::to_owned), is_deleted: *is_deleted })
        };
        let mut answers = Answers::default();
        let asked = ["vol-1", "vol-2"].map(str::to_owned);
        answers.take(&asked, &there.iter().map(record).collect());
        ["vol-1", "vol-2"].map(|id| match answers.of(id, "eu-west-1") {
            Observation::Present(it) => format!("{:?} {:?}", it.zones, it.region),
            Observation::Gone(evidence) => format!("{evidence:?}"),
            Observation::Unknown(err) => format!("{}: {err}", err.kind().reason()),
        })
    }

    const THERE: &str = "{\"eu-west-1a\"} Some(\"eu-west-1\")";
    const ODD: &str = "InternalError: AWS answered with \"vol-7\", which nobody asked for";

    #[rstest]
    #[case::one(&[("vol-1", Some("eu-west-1a"), false)], [THERE, "Absent"])]
    #[case::none(&[], ["Absent", "Absent"])]
    #[case::deleted(&[("vol-2", Some("eu-west-1a"), true)], ["Absent", "Terminated"])]
    #[case::without_a_zone(
        &[("vol-1", None, false), ("vol-2", Some("eu-west-1a"), false)],
        ["InternalError: AWS does not say in which zone vol-1 is", THERE],
    )]
    #[case::to_another_question(
        &[("vol-1", Some("eu-west-1a"), false), ("vol-7", None, false)],
        [THERE, ODD],
    )]
    fn answers(#[case] there: &[(&str, Option<&str>, bool)], #[case] want: [&str; 2]) {
        assert_eq!(said(there), want);
    }

    #[test]
    fn a_failure_is_the_whole_questions() {
        let mut answers = Answers::default();
        answers.fail(&["vol-1".to_owned()], CloudError::new(Kind::NotFound, "no"));
        let Observation::Unknown(err) = answers.of("vol-1", "eu-west-1") else {
            panic!("nothing is known");
        };
        assert_eq!(err.kind(), Kind::Internal);
    }
}
