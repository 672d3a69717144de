//! Why nothing can be said of a volume yet. Pure.

use std::time::Duration;

use crate::cloud::{CloudError, Evidence, Kind, Retry, VolumeSource};
use crate::cluster::volume::PersistentVolume;
use crate::controllers::waiting::Awaited;

/// Reason when the cloud has no such volume.
pub(super) const NOT_FOUND: &str = "VolumeNotFound";

/// From one look at a volume that nothing but a change can help to the next. A volume may be
/// restored, and one that was named wrongly may come to be.
pub(super) const SLOW: Duration = Duration::from_hours(1);

/// After how long a volume that the cloud has no record of is looked for once more before anybody is
/// told: some clouds do not know yet what they have just made.
const ONCE_MORE: Duration = Duration::from_secs(5);

/// Why a volume waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wait {
    /// The reason of the event and of the metric.
    pub(super) reason: &'static str,
    /// What its owner is told.
    pub(super) message: String,
    /// When to look again.
    pub(super) retry: Retry,
}

impl Awaited for Wait {
    fn reason(&self) -> &'static str {
        self.reason
    }

    fn retry(&self) -> Retry {
        self.retry
    }
}

impl Wait {
    /// The cloud has no such volume; `again` where it said so already.
    pub(super) fn missing(volume: &PersistentVolume, evidence: Evidence, again: bool) -> Self {
        let named = named(volume);
        let (said, is_sure) = match evidence {
            Evidence::Terminated => (format!("the cloud has deleted the volume {named}"), true),
            Evidence::Absent => (format!("the cloud has no volume {named}"), again),
        };
        let message =
            format!("{said}; it is looked for again when the PersistentVolume changes, and hourly");
        let retry = if is_sure { Retry::OnChange } else { Retry::After(ONCE_MORE) };
        Self { reason: NOT_FOUND, message, retry }
    }

    /// The cloud did not tell. `None` where that is because the process ends, which is no news.
    pub(super) fn unknown(volume: &PersistentVolume, err: &CloudError) -> Option<Self> {
        let then = match err.kind().retry() {
            Retry::Backoff | Retry::After(_) => "it is tried again by itself",
            Retry::OnChange | Retry::Never => {
                "it is tried again when the PersistentVolume changes, and hourly"
            }
        };
        let (named, why) = (named(volume), err.message());
        (err.kind() != Kind::Stopped).then(|| Self {
            reason: err.kind().reason(),
            message: format!("it cannot be found out where the volume {named} is: {why}; {then}"),
            retry: err.kind().retry(),
        })
    }
}

/// The volume, as the field names it.
fn named(volume: &PersistentVolume) -> String {
    match &volume.source {
        VolumeSource::Csi { driver, handle } => format!("{handle:?} of {driver}"),
        VolumeSource::InTree { field, handle } => format!("{handle:?} of spec.{field}"),
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::controllers::volume::decide::tests::volume;

    #[rstest]
    #[case::once_more_before_it_is_believed(
        Evidence::Absent,
        false,
        Retry::After(ONCE_MORE),
        "the cloud has no volume \"v\" of spec.cinder; "
    )]
    #[case::believed(
        Evidence::Absent,
        true,
        Retry::OnChange,
        "the cloud has no volume \"v\" of spec.cinder; "
    )]
    #[case::a_record_says_so(
        Evidence::Terminated,
        false,
        Retry::OnChange,
        "the cloud has deleted the volume \"v\" of spec.cinder; "
    )]
    fn a_missing_volume_is_named(
        #[case] evidence: Evidence,
        #[case] again: bool,
        #[case] retry: Retry,
        #[case] message: &str,
    ) {
        let source = VolumeSource::InTree { field: "cinder", handle: "v".to_owned() };
        let wait = Wait::missing(&volume(source), evidence, again);
        assert_eq!((wait.reason, wait.retry), ("VolumeNotFound", retry));
        let then = "it is looked for again when the PersistentVolume changes, and hourly";
        assert_eq!(wait.message, format!("{message}{then}"));
    }

    #[rstest]
    #[case::passes_by_itself(Kind::PermissionDenied, Some("it is tried again by itself"))]
    #[case::somebody_acts(
        Kind::InvalidConfiguration,
        Some("it is tried again when the PersistentVolume changes, and hourly")
    )]
    #[case::the_end(Kind::Stopped, None)]
    fn doubt_is_told_with_its_reason(#[case] kind: Kind, #[case] then: Option<&str>) {
        let source = VolumeSource::Csi { driver: "d".to_owned(), handle: "v".to_owned() };
        let wait = Wait::unknown(&volume(source), &CloudError::new(kind, "no"));
        let message = wait.as_ref().map(|wait| wait.message.as_str());
        let said = "it cannot be found out where the volume \"v\" of d is: no; ";
        assert_eq!(message, then.map(|then| format!("{said}{then}")).as_deref());
        assert_eq!(wait.map(|wait| wait.reason), then.map(|_| kind.reason()));
    }
}
