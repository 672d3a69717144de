//! Provider IDs and volume handles, in every shape that was ever issued or written by hand.
//!
//! Issued is `aws:///<zone>/<instance ID>`. Read is also `aws://<anything>/<instance ID>` with any
//! number of slashes, the bare instance ID (what some start their kubelets with), and the two of
//! Fargate, which end in a private address: `aws:///<zone>/<anything>/fargate-192.168.1.2` and
//! `…/fargate-ip-192-168-1-2.<domain>`. Nodes keep theirs for life: a shape is added here and never
//! taken away.

use std::net::Ipv4Addr;

use ccm_core::cloud::{CloudError, Kind, ProviderId};

/// The scheme of provider IDs, and the provider's name.
pub(crate) const SCHEME: &str = "aws";

/// What stands before the ID of a pod on Fargate.
const FARGATE: &str = "fargate-";

/// What a provider ID leads to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum MachineId {
    /// An instance: `i-…`.
    Instance(String),
    /// The one pod on Fargate that has this address.
    Fargate(Ipv4Addr),
}

/// The provider ID of an instance.
pub(crate) fn provider_id(zone: Option<&str>, instance: &str) -> Result<ProviderId, CloudError> {
    if !is_instance_id(instance) {
        let message = format!("AWS gave an instance the ID {instance:?}");
        return Err(CloudError::new(Kind::Internal, message));
    }
    let text = format!("{SCHEME}:///{}/{instance}", zone.unwrap_or_default());
    ProviderId::try_from(text).map_err(|err| CloudError::new(Kind::Internal, err.to_string()))
}

/// What a provider ID leads to.
pub(crate) fn parse(id: &ProviderId) -> Result<MachineId, CloudError> {
    read(id.as_str()).ok_or_else(|| {
        let message = format!(
            "provider ID {id:?} names no machine: it should be {SCHEME}:///<zone>/i-…, or end in \
             fargate-<private IPv4 address>"
        );
        CloudError::new(Kind::InvalidConfiguration, message)
    })
}

/// Whether a provider ID is one of ours by its form, however odd the rest of it is.
pub(crate) fn is_ours(id: &ProviderId) -> bool {
    match id.scheme() {
        Some(scheme) => scheme == SCHEME,
        None => read(id.as_str()).is_some(),
    }
}

/// The instance in a Node's name, where the name begins with its ID: `i-0ab.ec2.internal`.
///
/// A name may begin like an ID and be none, as `i-worker-1`: AWS numbers instances in hexadecimal.
pub(crate) fn instance_of_name(name: &str) -> Option<&str> {
    let first = name.split('.').next()?;
    let number = first.strip_prefix("i-").filter(|number| !number.is_empty())?;
    number.bytes().all(|byte| byte.is_ascii_hexdigit()).then_some(first)
}

fn read(text: &str) -> Option<MachineId> {
    let last = match text.strip_prefix("aws://") {
        None => text,
        // What stands before the first slash would be the host of a URL.
        Some(rest) => {
            let (_, path) = rest.split_once('/')?;
            path.trim_matches('/').rsplit('/').next()?
        }
    };
    match last.strip_prefix(FARGATE) {
        Some(address) => fargate_address(address).map(MachineId::Fargate),
        None => is_instance_id(last).then(|| MachineId::Instance(last.to_owned())),
    }
}

/// Whether the text can be the cloud's ID of an instance. Filters take some characters for patterns
/// and are never to see them.
fn is_instance_id(text: &str) -> bool {
    is_id(text, "i-")
}

/// Whether the text can be the cloud's ID of something that has such IDs.
pub(crate) fn is_id(text: &str, prefix: &str) -> bool {
    text.strip_prefix(prefix).is_some_and(|rest| {
        !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    })
}

/// The address in `192.168.1.2`, `ip-192-168-1-2` or `ip-192-168-1-2.<domain>`.
fn fargate_address(text: &str) -> Option<Ipv4Addr> {
    match text.strip_prefix("ip-") {
        None => text.parse().ok(),
        Some(rest) => rest.split('.').next()?.replace('-', ".").parse().ok(),
    }
}

/// The volume in a handle: `vol-…` as the CSI driver has it, and of the in-tree source
/// `aws:///vol-…` and `aws://<zone>/vol-…` too.
pub(crate) fn volume(handle: &str) -> Option<&str> {
    let id = match handle.strip_prefix("aws://") {
        None => handle,
        Some(rest) => rest.split_once('/')?.1.trim_matches('/'),
    };
    is_id(id, "vol-").then_some(id)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn of(text: &str) -> ProviderId {
        ProviderId::try_from(text).unwrap()
    }

    #[rstest]
    #[case::as_issued("aws:///us-east-1a/i-12345678")]
    #[case::without_a_zone("aws:////i-12345678")]
    #[case::with_a_host("aws://us-east-1a/i-12345678")]
    #[case::with_more_of_a_path("aws:///a/b/c/i-12345678/")]
    #[case::bare("i-12345678")]
    fn instances(#[case] text: &str) {
        assert_eq!(parse(&of(text)).unwrap(), MachineId::Instance("i-12345678".to_owned()));
        assert!(is_ours(&of(text)));
    }

    #[rstest]
    #[case::name("aws:///us-west-2c/1abc-2def/fargate-ip-192-168-1-2.us-west-2.compute.internal")]
    #[case::short_name("aws:///us-west-2c/1abc-2def/fargate-ip-192-168-1-2")]
    #[case::address("aws:///us-west-2c/1abc-2def/fargate-192.168.1.2")]
    #[case::bare("fargate-192.168.1.2")]
    fn fargate(#[case] text: &str) {
        assert_eq!(parse(&of(text)).unwrap(), MachineId::Fargate([192, 168, 1, 2].into()));
        assert!(is_ours(&of(text)));
    }

    #[rstest]
    #[case::nothing("aws://", true)]
    #[case::a_host_alone("aws://i-12345678", true)]
    #[case::a_zone_alone("aws:///us-east-1a", true)]
    #[case::a_volume("aws:///us-east-1a/vol-12345678", true)]
    #[case::no_id("aws:///us-east-1a/i-", true)]
    #[case::a_suffix("aws:///us-east-1a/i-12345678/disk", true)]
    #[case::a_pattern("aws:///us-east-1a/i-*", true)]
    #[case::a_query("aws:///us-east-1a/i-1?x", true)]
    #[case::no_address("aws:///us-east-1a/x/fargate-name", true)]
    #[case::a_bare_volume("vol-12345678", false)]
    #[case::another_scheme("gce://i-12345678", false)]
    #[case::another_scheme_around("x://aws:///us-east-1a/i-12345678", false)]
    #[case::a_longer_scheme("aws-x:///us-east-1a/i-12345678", false)]
    #[case::a_name("node-1", false)]
    fn others(#[case] text: &str, #[case] ours: bool) {
        let err = parse(&of(text)).unwrap_err();
        assert_eq!(err.kind(), Kind::InvalidConfiguration);
        assert!(err.message().contains(text), "{err}");
        assert_eq!(is_ours(&of(text)), ours);
    }

    #[rstest]
    #[case::with_a_zone(Some("eu-west-1a"), "aws:///eu-west-1a/i-1")]
    #[case::without(None, "aws:////i-1")]
    fn what_is_issued_can_be_read(#[case] zone: Option<&str>, #[case] want: &str) {
        let id = provider_id(zone, "i-1").unwrap();
        assert_eq!(id.as_str(), want);
        assert_eq!(parse(&id).unwrap(), MachineId::Instance("i-1".to_owned()));
    }

    #[rstest]
    #[case::empty("")]
    #[case::a_path("i-1/..")]
    fn an_odd_id_is_not_issued(#[case] id: &str) {
        assert_eq!(provider_id(None, id).unwrap_err().kind(), Kind::Internal);
    }

    #[rstest]
    #[case("i-0ab", Some("i-0ab"))]
    #[case("i-0ab.ec2.internal", Some("i-0ab"))]
    #[case("i-0ab.custom.domain", Some("i-0ab"))]
    #[case("ip-10-0-0-1.ec2.internal", None)]
    #[case("i-", None)]
    #[case("i-worker-1", None)]
    #[case("i-worker-1.example.com", None)]
    fn names(#[case] name: &str, #[case] want: Option<&str>) {
        assert_eq!(instance_of_name(name), want);
    }

    #[rstest]
    #[case("vol-0ab", Some("vol-0ab"))]
    #[case("aws:///vol-0ab", Some("vol-0ab"))]
    #[case("aws://us-east-1a/vol-0ab", Some("vol-0ab"))]
    #[case("aws://us-east-1a/x/vol-0ab", None)]
    #[case("aws://vol-0ab", None)]
    #[case("aws:///i-0ab", None)]
    #[case("vol-0ab/x", None)]
    #[case("vol-*", None)]
    #[case("placeholder-for-provisioning", None)]
    #[case("", None)]
    fn volumes(#[case] handle: &str, #[case] want: Option<&str>) {
        assert_eq!(volume(handle), want);
    }
}
