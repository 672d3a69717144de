//! What [`Volumes`] promises.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use ccm_core::cloud::{
    CloudError, Evidence, Kind, Observation, Topology, Uid, VolumeRef, VolumeSource, Volumes,
};

use crate::ask::leave;
use crate::harness::{Fault, Harness, Unsupported};
use crate::outcome::not_offered;
use crate::rig::offered;

/// A cloud whose volumes can be rearranged behind the provider's back.
///
/// Every method returns when the cloud's reads show what was done.
#[async_trait]
pub trait VolumeHarness: Harness {
    /// Makes a volume that is reached from so many zones, and says what is to be answered of it.
    /// None: not bound to zones.
    async fn make(&self, zones: usize) -> Result<(VolumeRef, Topology), Unsupported>;

    /// Deletes it for good.
    async fn delete(&self, volume: &VolumeRef);

    /// A volume of this cloud by its form that never was.
    fn unknown(&self, number: usize) -> VolumeRef;

    /// A volume of this cloud whose handle can be none of the cloud's.
    fn malformed(&self) -> Result<VolumeRef, Unsupported>;

    /// Makes calls that look at volumes go wrong until [`heal`](Harness::heal).
    async fn inject_on_volumes(&self, fault: Fault) -> Result<(), Unsupported> {
        self.inject(fault).await
    }
}

fn capability(harness: &impl VolumeHarness) -> Arc<dyn Volumes> {
    harness.cloud().volumes().expect("the provider has volumes")
}

async fn ask(
    harness: &impl VolumeHarness,
    patience: Duration,
    volumes: &[VolumeRef],
) -> Result<Vec<Observation<Topology>>, CloudError> {
    let answers = capability(harness).topology(&leave(patience), volumes).await?;
    assert_eq!(answers.len(), volumes.len(), "as many answers as questions, not {answers:?}");
    Ok(answers)
}

/// What is said while nothing is wrong.
async fn look(harness: &impl VolumeHarness, volumes: &[VolumeRef]) -> Vec<Observation<Topology>> {
    match ask(harness, Duration::from_secs(30), volumes).await {
        Ok(answers) => answers,
        Err(err) => panic!("nothing is wrong, and yet all is unknown: {err:?}"),
    }
}

async fn made(harness: &impl VolumeHarness) -> (VolumeRef, Topology) {
    offered(harness.make(1).await, "a volume in one zone")
}

#[track_caller]
fn assert_there(about: &str, got: &Observation<Topology>, want: &Topology) {
    match got {
        Observation::Present(topology) => assert_eq!(topology, want, "{about}"),
        other => panic!("{about}: should be there, and not {other:?}"),
    }
}

/// Answers have no names on them: one that slips by a place binds a volume to another's zone.
pub async fn volumes_are_answered_in_the_order_of_the_questions(harness: &impl VolumeHarness) {
    let ((a, of_a), (b, of_b)) = (made(harness).await, made(harness).await);
    let asked =
        [harness.unknown(1), b.clone(), a.clone(), harness.unknown(2), a.clone(), b.clone()];
    let want = [None, Some(&of_b), Some(&of_a), None, Some(&of_a), Some(&of_b)];
    for (place, (got, want)) in look(harness, &asked).await.iter().zip(want).enumerate() {
        let about = format!("answer {place}: not in the order of the questions");
        match want {
            Some(want) => assert_there(&about, got, want),
            None => assert!(matches!(got, Observation::Gone(_)), "{about}: {got:?}"),
        }
    }
}

/// A controller without volumes to ask about costs no quota. Asked while the
/// credentials are refused, so that a call would fail.
pub async fn no_volume_makes_no_call(harness: &impl VolumeHarness) {
    let denied = harness.inject_on_volumes(Fault::Denied).await;
    denied.expect("every harness can refuse the credentials");
    match ask(harness, Duration::from_secs(30), &[]).await {
        Ok(answers) => assert!(answers.is_empty(), "{answers:?}"),
        Err(err) => panic!("a question about nothing makes a call: {err:?}"),
    }
    harness.heal().await;
}

/// The framework asks about many at once, and the provider knows how many the cloud takes.
pub async fn many_volumes_are_answered(harness: &impl VolumeHarness) {
    let (last, of_last) = made(harness).await;
    let mut asked: Vec<_> = (1..=250).map(|number| harness.unknown(number)).collect();
    asked.push(last);
    let answers = look(harness, &asked).await;
    let Some((last, others)) = answers.split_last() else { panic!("no answers") };
    assert_there("the last of many", last, &of_last);
    for (place, answer) in others.iter().enumerate() {
        assert!(matches!(answer, Observation::Gone(_)), "answer {place}: {answer:?}");
    }
}

/// A pod is put where its volume is reached: from one zone, from several, or from anywhere.
pub async fn a_volume_says_from_where_it_is_reached(harness: &impl VolumeHarness) {
    for zones in [1, 2, 0] {
        let Ok((volume, want)) = harness.make(zones).await else { continue };
        assert_eq!(want.zones.len(), zones, "the harness makes what it is asked for");
        let about = format!("reached from {zones} zones");
        for _ in 0..2 {
            assert_there(&about, &look(harness, std::slice::from_ref(&volume)).await[0], &want);
        }
    }
}

/// "The cloud has no such volume" and "the cloud cannot say" are not the same.
pub async fn an_unknown_volume_is_absent(harness: &impl VolumeHarness) {
    let answer = &look(harness, &[harness.unknown(1)]).await[0];
    assert!(matches!(answer, Observation::Gone(Evidence::Absent)), "{answer:?}");
}

/// What was deleted is not bound to a zone any more. Others are.
pub async fn a_deleted_volume_is_gone(harness: &impl VolumeHarness) {
    let ((a, _), (b, of_b)) = (made(harness).await, made(harness).await);
    harness.delete(&a).await;
    let answers = look(harness, &[a, b]).await;
    assert!(matches!(answers[0], Observation::Gone(_)), "{answers:?}");
    assert_there("the other", &answers[1], &of_b);
}

/// One volume with a typo in its handle must not keep the others of its batch in the dark.
pub async fn a_malformed_volume_is_unknown_alone(harness: &impl VolumeHarness) {
    let (good, of_good) = made(harness).await;
    let malformed = offered(harness.malformed(), "a handle that can be none");
    assert!(capability(harness).owns(&malformed), "its driver is ours");
    let answers = look(harness, &[malformed, good]).await;
    assert!(matches!(answers[0], Observation::Unknown(_)), "{:?}", answers[0]);
    assert_there("beside a malformed one", &answers[1], &of_good);
}

/// A volume of another driver, or of an old source that is not this cloud's, is left alone.
pub async fn volumes_of_others_are_not_owned(harness: &impl VolumeHarness) {
    let (mine, _) = made(harness).await;
    let volumes = capability(harness);
    assert!(volumes.owns(&mine), "{mine:?}");
    let handle = "somewhere-else".to_owned();
    let driver = "csi.somebody-else.example".to_owned();
    let foreign = [
        VolumeSource::Csi { driver, handle: handle.clone() },
        VolumeSource::Csi { driver: String::new(), handle: handle.clone() },
        VolumeSource::InTree { field: "somebodyElsesDisk", handle },
    ];
    for source in foreign {
        let volume = VolumeRef { name: "pv".to_owned(), uid: Uid::from("u"), source };
        assert!(!volumes.owns(&volume), "{volume:?}");
    }
}

/// The kinds of failure that keep everything unknown. Panics where anything is said to be known.
fn failures(answer: Result<Vec<Observation<Topology>>, CloudError>) -> Vec<Kind> {
    let kind = |observation| match observation {
        Observation::Unknown(err) => err.kind(),
        known => panic!("nothing can be known, and yet this is said: {known:?}"),
    };
    match answer {
        Ok(answers) => answers.into_iter().map(kind).collect(),
        Err(err) => vec![err.kind()],
    }
}

/// Revoked credentials do not read as "no such volume".
pub async fn denied_credentials_hide_no_volume(harness: &impl VolumeHarness) {
    let (volume, topology) = made(harness).await;
    let asked = [volume, harness.unknown(1)];
    let denied = harness.inject_on_volumes(Fault::Denied).await;
    denied.expect("every harness can refuse the credentials");
    for kind in failures(ask(harness, Duration::from_secs(30), &asked).await) {
        assert_eq!(kind, Kind::PermissionDenied, "with refused credentials");
    }
    harness.heal().await;
    assert_there("healed", &look(harness, &asked).await[0], &topology);
}

/// The framework slows down for all controllers when it hears of it, for as long as the cloud asks.
pub async fn throttled_looks_at_volumes_say_the_wait(harness: &impl VolumeHarness) {
    let (volume, _) = made(harness).await;
    let wait = Duration::from_secs(7);
    let Ok(()) = harness.inject_on_volumes(Fault::Throttled { retry_after: wait }).await else {
        not_offered("to refuse calls as too many");
    };
    for kind in failures(ask(harness, Duration::from_secs(30), &[volume]).await) {
        let Kind::RateLimited { retry_after: Some(said) } = kind else {
            panic!("should be RateLimited with the wait, not {kind:?}");
        };
        assert!(said.abs_diff(wait) <= Duration::from_secs(1), "to wait {said:?}");
    }
    harness.heal().await;
}
