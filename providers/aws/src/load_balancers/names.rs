//! Names of what belongs to a Service. They are the Go program's, so that what it made is found.

use std::fmt::Write;

use ccm_core::cloud::{ClusterName, ObjectId, Uid};
use sha1::Sha1;
use sha2::{Digest, Sha256};

/// Characters of a load balancer's name.
const LONGEST: usize = 32;
/// Characters of a namespace, and of a Service's name, in a name.
const PART: usize = 8;
/// Bytes of a hash in a name.
const HASH: usize = 5;

/// The load balancer of a Service, of either kind.
pub(crate) fn load_balancer(uid: &Uid) -> String {
    let mut name: String =
        std::iter::once('a').chain(uid.as_str().chars().filter(|it| *it != '-')).collect();
    name.truncate(name.char_indices().nth(LONGEST).map_or(name.len(), |(end, _)| end));
    name
}

/// What the names of security groups of Classic Load Balancers begin with.
pub(crate) const CLASSIC_GROUP: &str = "k8s-elb-";

/// The security group of a Classic Load Balancer.
pub(crate) fn classic_group(load_balancer: &str) -> String {
    format!("{CLASSIC_GROUP}{load_balancer}")
}

/// The security group of a Network Load Balancer, where those are managed.
pub(crate) fn network_group(cluster: &ClusterName, service: &ObjectId) -> String {
    let ObjectId { namespace, name, uid } = service;
    let hash = Sha256::new()
        .chain_update(cluster.as_str())
        .chain_update(&**name)
        .chain_update(&**namespace)
        .chain_update(uid.as_str())
        .finalize();
    short(service, &hash)
}

/// What a target group's name is made from. With another of these it is another group.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct TargetGroupTraits<'a> {
    /// The cluster's ID.
    pub(crate) cluster: &'a str,
    pub(crate) port: u16,
    pub(crate) node_port: u16,
    /// `TCP`, `UDP` or `TLS`.
    pub(crate) protocol: &'a str,
    pub(crate) health_protocol: &'a str,
    /// Seconds.
    pub(crate) health_interval: u32,
}

/// A target group of instances. The name that a new one gets: a group's health check may have
/// changed since.
pub(crate) fn target_group(service: &ObjectId, traits: &TargetGroupTraits<'_>) -> String {
    short(service, &Sha1::digest(traits.text(service)))
}

/// The same where that name is taken: by what is left of an earlier Service of this namespace and
/// name, whose UID is another one.
pub(crate) fn spare_target_group(service: &ObjectId, traits: &TargetGroupTraits<'_>) -> String {
    short(service, &Sha1::digest(format!("{}{}", traits.text(service), service.uid)))
}

impl TargetGroupTraits<'_> {
    fn text(&self, service: &ObjectId) -> String {
        let Self { cluster, port, node_port, protocol, health_protocol, health_interval } = self;
        let ObjectId { namespace, name, .. } = service;
        format!(
            "{cluster}{namespace}{name}{port}{node_port}{protocol}instance{health_protocol}\
             {health_interval}"
        )
    }
}

/// `k8s-<namespace>-<name>-<hash>`, cut to fit.
fn short(service: &ObjectId, hash: &[u8]) -> String {
    let mut name = short_prefix(service);
    for byte in hash.iter().take(HASH) {
        // Writing to a string cannot fail.
        let _ = write!(name, "{byte:02x}");
    }
    name
}

/// What the names of a Service's target groups begin with. Other Services' may too.
pub(crate) fn short_prefix(service: &ObjectId) -> String {
    prefix_of((&service.namespace, &service.name))
}

/// The same for the Service of this namespace and name.
pub(crate) fn prefix_of((namespace, name): (&str, &str)) -> String {
    let part = |text: &str| -> String {
        text.chars().filter(char::is_ascii_alphanumeric).take(PART).collect()
    };
    format!("k8s-{}-{}-", part(namespace), part(name))
}

/// What a name begins with that has such a form.
pub(crate) fn group_prefix(name: &str) -> Option<&str> {
    let (prefix, hash) = name.split_at_checked(name.rfind('-')? + 1)?;
    let parts: Vec<_> = prefix.split('-').collect();
    let is_part =
        |part: &str| part.len() <= PART && part.bytes().all(|it| it.is_ascii_alphanumeric());
    let is_hash = hash.len() == 2 * HASH && hash.bytes().all(|it| it.is_ascii_hexdigit());
    let is_prefix =
        matches!(parts[..], ["k8s", namespace, name, ""] if is_part(namespace) && is_part(name));
    (is_prefix && is_hash).then_some(prefix)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    const UID: &str = "0a1b2c3d-1111-2222-3333-444455556666";

    fn service() -> ObjectId {
        ObjectId { namespace: "shop".into(), name: "web-frontend".into(), uid: Uid::from(UID) }
    }

    #[test]
    fn load_balancers_and_groups_are_found_by_their_names() {
        assert_eq!(load_balancer(&Uid::from(UID)), "a0a1b2c3d11112222333344445555666");
        assert_eq!(classic_group("a0"), "k8s-elb-a0");
        let cluster = ClusterName::from("demo");
        assert_eq!(network_group(&cluster, &service()), "k8s-shop-webfront-d436b2bab8");
    }

    #[rstest]
    #[case(443, 31443, "TCP", "TCP", 30, "257615cf7f")]
    #[case(443, 31443, "TCP", "HTTP", 10, "7aa77d9d40")]
    #[case(443, 31443, "TLS", "TCP", 30, "5ca3bb1fef")]
    #[case(53, 30053, "UDP", "TCP", 30, "d0a482e321")]
    fn target_groups(
        #[case] port: u16,
        #[case] node_port: u16,
        #[case] protocol: &str,
        #[case] health_protocol: &str,
        #[case] health_interval: u32,
        #[case] hash: &str,
    ) {
        let cluster = "demo";
        let traits = TargetGroupTraits {
            cluster,
            port,
            node_port,
            protocol,
            health_protocol,
            health_interval,
        };
        let name = target_group(&service(), &traits);
        assert_eq!(name, format!("k8s-shop-webfront-{hash}"));
    }

    #[test]
    fn odd_objects_have_names_too() {
        let uid = Uid::from("ü".repeat(40).as_str());
        assert_eq!(load_balancer(&uid).chars().count(), 32);
        assert_eq!(load_balancer(&Uid::from("")), "a");
    }
}
