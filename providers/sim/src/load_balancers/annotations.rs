//! What the annotations of a Service may say.
//!
//! One of each kind of value, so that a new provider finds how it is done. The page in the book is
//! made from this declaration.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::num::NonZeroU16;

use ccm_core::cloud::annotations::AnnotationValue;
use ipnet::IpNet;

ccm_core::annotations! {
    /// What the annotations of a Service say.
    #[derive(Clone, Debug)]
    pub(crate) struct ServiceAnnotations {
        /// Whether the load balancer is reached from inside only.
        /// The cloud fixes it when a load balancer is made: a change of it makes another one.
        "sim.ccm.rs/internal" => pub(crate) internal: bool = "false",
        /// Just these addresses, at most one of each family of the Service.
        /// `spec.loadBalancerIP` may name one too.
        "sim.ccm.rs/addresses" => pub(crate) addresses: Vec<IpAddr>,
        /// For how long a connection may be silent.
        "sim.ccm.rs/idle-timeout-seconds" (lenient) =>
            pub(crate) idle_timeout: IdleTimeout = "60",
        /// Whether targets of TCP ports are told the client by the PROXY protocol.
        /// The address is then shown with `ipMode: Proxy`, because traffic that does not pass the
        /// load balancer lacks that line.
        "sim.ccm.rs/proxy-protocol" => pub(crate) proxy_protocol: bool = "false",
        /// How nodes are asked whether they are well; `tcp` asks for the node port itself.
        "sim.ccm.rs/health-check-protocol" =>
            pub(crate) health_check_protocol: HealthCheckProtocol = "http",
        /// What they are asked for by `http` and `https`.
        "sim.ccm.rs/health-check-path" => pub(crate) health_check_path: UrlPath = "/healthz",
        /// Where they are asked by `http` and `https`.
        /// Without it the Service's health check node port where the policy is `Local`, and
        /// otherwise 10256, where kube-proxy answers.
        "sim.ccm.rs/health-check-port" => pub(crate) health_check_port: NonZeroU16,
        /// Ranges that may connect beside those of the Service, for example a monitoring system's.
        /// Where the Service names none, everybody may.
        "sim.ccm.rs/additional-source-ranges" => pub(crate) source_ranges: Vec<IpNet>,
        /// Only nodes in these zones take traffic.
        "sim.ccm.rs/target-zones" => pub(crate) target_zones: Vec<String>,
        /// Tags for all that is made, beside the controller's own.
        /// They are added and kept as they are here; one that is not named any more stays.
        "sim.ccm.rs/extra-tags" => pub(crate) extra_tags: BTreeMap<String, String>,
    }
    written {
        /// The cloud's ID of the load balancer.
        "sim.ccm.rs/load-balancer-id" => pub(crate) LOAD_BALANCER_ID,
    }
}

impl ServiceAnnotations {
    /// The zones whose nodes take traffic, of an object whose other annotations may not be readable.
    /// `Ok(None)`: all. An error: they cannot be read either.
    pub(crate) fn target_zones(
        annotations: &BTreeMap<String, String>,
    ) -> Result<Option<Vec<String>>, ()> {
        match annotations.get(Self::TARGET_ZONES) {
            None => Ok(None),
            Some(text) => AnnotationValue::read(text).map(Some).ok_or(()),
        }
    }

    /// The key of the zones.
    const TARGET_ZONES: &'static str = "sim.ccm.rs/target-zones";
    /// The key of the requested addresses, for complaints about what cannot be seen from the
    /// value alone.
    pub(crate) const ADDRESSES: &'static str = "sim.ccm.rs/addresses";
    /// The key of the extra tags.
    pub(crate) const EXTRA_TAGS: &'static str = "sim.ccm.rs/extra-tags";
}

ccm_core::seconds! {
    /// For how long a connection may be silent. The bounds are the cloud's.
    pub(crate) struct IdleTimeout: 1 to 4000
}

ccm_core::words! {
    /// How nodes are asked whether they are well.
    pub(crate) enum HealthCheckProtocol {
        /// The path answers 200.
        Http = "http",
        /// The path answers 200, whatever the certificate.
        Https = "https",
        /// The node port is open.
        Tcp = "tcp",
    }
}

/// The path of a URL: a kind of value of this cloud's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct UrlPath(pub(crate) String);

impl AnnotationValue for UrlPath {
    const ACCEPTED: &'static str = "a path that begins with /, without blanks";

    fn read(text: &str) -> Option<Self> {
        let is_path = text.starts_with('/') && text.bytes().all(|byte| byte.is_ascii_graphic());
        is_path.then(|| Self(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_can_be_read_and_the_keys_in_complaints_exist() {
        let said = ServiceAnnotations::default();
        assert_eq!(said.health_check_path.0, "/healthz");
        let declared = ServiceAnnotations::ANNOTATIONS;
        assert!(declared.has(ServiceAnnotations::TARGET_ZONES));
        assert!(declared.has(ServiceAnnotations::ADDRESSES));
        assert!(declared.has(ServiceAnnotations::EXTRA_TAGS));
    }

    #[test]
    fn a_path_begins_with_a_slash() {
        assert!(UrlPath::read("/a?b").is_some());
        assert!(UrlPath::read("a").is_none() && UrlPath::read("/a b").is_none());
    }
}
