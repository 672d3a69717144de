//! Classic Load Balancers: version 2012-06-01 of Elastic Load Balancing.

mod convert;
mod read;
mod write;

use std::collections::{BTreeMap, BTreeSet};

pub(crate) use self::read::TAGS_AT_ONCE;
pub(crate) use self::write::NewLoadBalancer;

/// Seconds for which draining connections are let end, where nobody said.
/// <https://docs.aws.amazon.com/elasticloadbalancing/latest/classic/config-conn-drain.html>
pub(crate) const DEFAULT_DRAINING: u32 = 300;

/// Minutes between access logs, where nobody said.
/// <https://docs.aws.amazon.com/elasticloadbalancing/2012-06-01/APIReference/API_AccessLog.html>
pub(crate) const DEFAULT_EMIT_INTERVAL: u32 = 60;

/// Seconds for which a connection may be silent, where nobody said.
const DEFAULT_IDLE: u32 = 60;

/// A Classic Load Balancer, without its tags and attributes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct LoadBalancer {
    /// Also its ID: there is one of a name in a region.
    pub(crate) name: String,
    /// Empty where it has none yet.
    pub(crate) dns_name: String,
    pub(crate) internal: bool,
    /// By the port that clients connect to.
    pub(crate) listeners: BTreeMap<u16, Front>,
    /// Names of the policies for what is sent to nodes, by the node's port. Ports without one may
    /// be left out.
    pub(crate) backends: BTreeMap<u16, BTreeSet<String>>,
    /// Names of the policies that it has, but those for stickiness.
    pub(crate) policies: BTreeSet<String>,
    /// `subnet-…`.
    pub(crate) subnets: BTreeSet<String>,
    /// `sg-…`, in AWS' order, which the Go program goes by.
    pub(crate) groups: Vec<String>,
    /// `i-…`.
    pub(crate) instances: BTreeSet<String>,
    pub(crate) health: Option<HealthCheck>,
}

/// A listener with what was set on it later.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Front {
    pub(crate) listener: Listener,
    /// Names of its policies.
    pub(crate) policies: BTreeSet<String>,
}

/// Takes connections on one port and hands them to a port of the nodes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Listener {
    pub(crate) port: u16,
    /// `http`, `https`, `ssl` or `tcp`.
    pub(crate) protocol: String,
    pub(crate) node_port: u16,
    /// The same words.
    pub(crate) node_protocol: String,
    /// The certificate's ARN.
    pub(crate) certificate: Option<String>,
}

impl Listener {
    /// Whether the two do the same. ARNs differ in nothing but case between APIs.
    pub(crate) fn does_as(&self, other: &Self) -> bool {
        let Self { port, protocol, node_port, node_protocol, certificate } = self;
        let has_certificate = match (certificate, &other.certificate) {
            (Some(one), Some(other)) => one.eq_ignore_ascii_case(other),
            (None, None) => true,
            (Some(_), None) | (None, Some(_)) => false,
        };
        has_certificate
            && (*port, *node_port) == (other.port, other.node_port)
            && (protocol, node_protocol) == (&other.protocol, &other.node_protocol)
    }

    /// Whether clients speak TLS to it.
    pub(crate) fn is_tls(&self) -> bool {
        matches!(self.protocol.as_str(), "ssl" | "https")
    }
}

/// How nodes are asked whether they are well. Times in seconds.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct HealthCheck {
    /// `TCP:30080` or `HTTP:30080/healthz`, the protocol in capitals.
    pub(crate) target: String,
    pub(crate) interval: u32,
    pub(crate) timeout: u32,
    /// Good answers in a row.
    pub(crate) healthy: u32,
    /// Bad answers in a row.
    pub(crate) unhealthy: u32,
}

/// The attributes, as they work: what is off has no values.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Attributes {
    /// `None`: no access logs are written.
    pub(crate) access_log: Option<AccessLog>,
    /// Seconds for which connections to a node that goes are let end. `None`: they are cut.
    pub(crate) draining: Option<u32>,
    /// Seconds for which a connection may be silent.
    pub(crate) idle: u32,
    /// Whether traffic goes to nodes in all zones.
    pub(crate) cross_zone: bool,
}

/// Where access logs go.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct AccessLog {
    pub(crate) bucket: String,
    /// Empty: none.
    pub(crate) prefix: String,
    /// Minutes.
    pub(crate) interval: u32,
}

/// Those of a load balancer that the API has just made.
impl Default for Attributes {
    fn default() -> Self {
        Self { access_log: None, draining: None, idle: DEFAULT_IDLE, cross_zone: false }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn listener() -> Listener {
        Listener {
            port: 443,
            protocol: "ssl".into(),
            node_port: 30_443,
            node_protocol: "tcp".into(),
            certificate: Some("arn:aws:acm:eu-west-1:1:certificate/AB".into()),
        }
    }

    #[rstest]
    #[case(listener(), true)]
    #[case(Listener { certificate: Some("ARN:aws:acm:eu-west-1:1:certificate/ab".into()), ..listener() }, true)]
    #[case(Listener { certificate: None, ..listener() }, false)]
    #[case(Listener { node_port: 1, ..listener() }, false)]
    #[case(Listener { protocol: "https".into(), ..listener() }, false)]
    #[case(Listener { node_protocol: "ssl".into(), ..listener() }, false)]
    fn listeners_that_do_the_same(#[case] other: Listener, #[case] want: bool) {
        assert_eq!(listener().does_as(&other), want);
    }
}
