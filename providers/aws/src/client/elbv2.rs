//! Elastic Load Balancing, version 2015-12-01: Network Load Balancers, their listeners and target
//! groups.

mod convert;
mod read;
mod write;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::Ipv4Addr;

use crate::marks::Tags;

pub(crate) use self::write::{NewListener, NewLoadBalancer, NewTargetGroup};

/// Settings by key, as the API spells both.
pub(crate) type Attributes = BTreeMap<String, String>;

/// A load balancer of this API, of whatever kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LoadBalancer {
    pub(crate) arn: String,
    pub(crate) name: String,
    /// `network`, `application` or `gateway`.
    pub(crate) kind: String,
    pub(crate) state: State,
    /// `None` while AWS has not given one.
    pub(crate) dns_name: Option<String>,
    pub(crate) is_internal: bool,
    /// `sg-…`.
    pub(crate) security_groups: BTreeSet<String>,
    /// By `subnet-…`, with the fixed addresses there, as far as AWS tells them.
    pub(crate) subnets: BTreeMap<String, BTreeSet<Address>>,
}

/// How a load balancer is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// It works, or will soon.
    Usable,
    /// It could not be made. Says AWS's reason.
    Failed(String),
}

/// An address that a load balancer has in a subnet for good.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Address {
    /// An Elastic IP, by `eipalloc-…`.
    Allocation(String),
    Private(Ipv4Addr),
}

/// What is spoken: by a listener, to targets, or by a health check.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Protocol {
    Tcp,
    Udp,
    Tls,
    Http,
    Https,
    /// `TCP_UDP` and whatever else is not made here.
    Other(String),
}

impl Protocol {
    /// As the API spells it.
    pub(crate) fn as_str(&self) -> &str {
        match self {
            Self::Tcp => "TCP",
            Self::Udp => "UDP",
            Self::Tls => "TLS",
            Self::Http => "HTTP",
            Self::Https => "HTTPS",
            Self::Other(text) => text,
        }
    }
}

impl From<&str> for Protocol {
    fn from(text: &str) -> Self {
        match text {
            "TCP" => Self::Tcp,
            "UDP" => Self::Udp,
            "TLS" => Self::Tls,
            "HTTP" => Self::Http,
            "HTTPS" => Self::Https,
            other => Self::Other(other.to_owned()),
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A target group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TargetGroup {
    pub(crate) arn: String,
    /// No two have one in an account and region.
    pub(crate) name: String,
    pub(crate) protocol: Protocol,
    /// Where targets are spoken to.
    pub(crate) port: u16,
    /// `instance`, `ip`, `lambda` or `alb`.
    pub(crate) target_type: String,
    /// `vpc-…`.
    pub(crate) vpc: String,
    /// ARNs of the load balancers that use it. AWS takes its time with them.
    pub(crate) load_balancers: BTreeSet<String>,
    pub(crate) health: HealthCheck,
}

/// How targets are asked whether they are well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HealthCheck {
    pub(crate) protocol: Protocol,
    /// `traffic-port` or a number.
    pub(crate) port: String,
    /// By `HTTP` and `HTTPS` only.
    pub(crate) path: Option<String>,
    /// Seconds.
    pub(crate) interval: u32,
    /// Seconds.
    pub(crate) timeout: u32,
    pub(crate) healthy: u32,
    pub(crate) unhealthy: u32,
}

/// What is said of a health check: all of it for a new group but what AWS chooses, and what differs
/// for one that is there.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct HealthSettings {
    pub(crate) protocol: Option<Protocol>,
    pub(crate) port: Option<String>,
    pub(crate) path: Option<String>,
    pub(crate) interval: Option<u32>,
    pub(crate) timeout: Option<u32>,
    pub(crate) healthy: Option<u32>,
    pub(crate) unhealthy: Option<u32>,
}

impl fmt::Display for HealthSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let numbers = [
            ("interval", self.interval),
            ("timeout", self.timeout),
            ("healthy threshold", self.healthy),
            ("unhealthy threshold", self.unhealthy),
        ];
        let texts = [
            ("protocol", self.protocol.as_ref().map(Protocol::as_str)),
            ("port", self.port.as_deref()),
            ("path", self.path.as_deref()),
        ];
        let texts = texts.into_iter().filter_map(|(key, it)| Some(format!("{key} {}", it?)));
        let numbers = numbers.into_iter().filter_map(|(key, it)| Some(format!("{key} {}", it?)));
        let all: Vec<_> = texts.chain(numbers).collect();
        f.write_str(&all.join(", "))
    }
}

/// A place that traffic goes to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Target {
    /// `i-…`.
    pub(crate) id: String,
    pub(crate) port: u16,
}

/// A listener of a load balancer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Listener {
    pub(crate) arn: String,
    pub(crate) port: u16,
    pub(crate) settings: ListenerSettings,
    /// ARNs of the target groups that it forwards to, in its order.
    pub(crate) target_groups: Vec<String>,
}

/// What a listener speaks.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct ListenerSettings {
    pub(crate) protocol: Protocol,
    /// The ARN of its default certificate, of one that speaks TLS.
    pub(crate) certificate: Option<String>,
    /// The same for its security policy. `None` in a wish: AWS chooses, or what is there stays.
    pub(crate) policy: Option<String>,
}

/// Tags by the ARN of what bears them.
pub(crate) type TagsByArn = BTreeMap<String, Tags>;
