//! What the control side speaks.

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A call that reached the fake, whether it was answered or not.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Call {
    /// Counts up from 1 over the life of the fake.
    pub number: u64,
    /// When it came, in milliseconds since 1970.
    pub at: u64,
    /// `ec2`, `elb`, `elbv2`, `sts` or `imds`.
    pub service: String,
    /// `DescribeInstances` for example; of `imds` `Get` and the path.
    pub action: String,
    /// Whether the action changes anything.
    pub mutates: bool,
    /// The user agent.
    pub agent: String,
    /// The access key's ID.
    pub key: String,
    /// All parameters, as sent: `Filter.1.Name` and so on.
    pub params: BTreeMap<String, String>,
    /// The HTTP status; 0 when the connection was cut, none while it is under way.
    pub status: Option<u16>,
    /// The error's code; empty when there is none.
    pub code: String,
    /// Whether something was changed, even if the answer was lost.
    pub took_effect: bool,
    /// The kind of the fault that hit it.
    pub fault: Option<String>,
    /// How long it took in milliseconds.
    pub ms: Option<u64>,
}

/// Calls since a mark.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Calls {
    /// The number of the last call: the mark for the next question.
    pub mark: u64,
    /// In the order in which they came.
    pub calls: Vec<Call>,
    /// How many of each action.
    pub counts: BTreeMap<String, u64>,
}

/// A fault: which calls it hits, and what those get.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Fault {
    /// An action, `<service>:<action>`, `*`, `reads` or `writes`.
    pub action: String,
    /// A part of the caller's user agent or access key ID; nothing is everybody.
    pub caller: Option<String>,
    /// So many calls that match are let through first.
    pub skip: u32,
    /// So many calls are hit; nothing is all, until it is healed.
    pub times: Option<u32>,
    /// Parts of the values of parameters, by the name or its end or beginning: `CidrIp` is that of
    /// any rule.
    pub params: BTreeMap<String, String>,
    /// What those calls get.
    pub kind: FaultKind,
}

impl Fault {
    /// Hits all calls of this action by anybody.
    pub fn new(action: impl Into<String>, kind: FaultKind) -> Self {
        Self {
            action: action.into(),
            caller: None,
            skip: 0,
            times: None,
            params: BTreeMap::new(),
            kind,
        }
    }

    /// Hits callers with this in their user agent or access key ID only.
    #[must_use]
    pub fn of(self, caller: impl Into<String>) -> Self {
        Self { caller: Some(caller.into()), ..self }
    }

    /// Hits only so many calls.
    #[must_use]
    pub fn times(self, times: u32) -> Self {
        Self { times: Some(times), ..self }
    }

    /// Lets so many through first.
    #[must_use]
    pub fn after(self, skip: u32) -> Self {
        Self { skip, ..self }
    }

    /// Hits only calls with a parameter of this name that contains this text.
    #[must_use]
    pub fn with(mut self, param: impl Into<String>, part: impl Into<String>) -> Self {
        self.params.insert(param.into(), part.into());
        self
    }
}

/// What a call gets that is hit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "name", rename_all = "snake_case")]
pub enum FaultKind {
    /// Too many calls: `RequestLimitExceeded` (503) of EC2, `Throttling` (400) of the others.
    Throttle {
        /// The header `Retry-After`, in seconds.
        retry_after: Option<u32>,
    },
    /// Not allowed: `UnauthorizedOperation` of EC2, `AccessDenied` of the others; 403.
    Denied,
    /// `Unavailable` of EC2, `ServiceUnavailable` of the others; 503.
    Unavailable,
    /// An error of one's own.
    Error {
        /// The code.
        code: String,
        /// The HTTP status; 400 by default.
        status: Option<u16>,
        /// The text.
        message: Option<String>,
    },
    /// Nothing is done and nothing answered until it is healed; then the connection is cut.
    Hang {
        /// At most so long; a minute by default.
        seconds: Option<u32>,
    },
    /// It is done, and the connection cut before the answer.
    LoseResponse,
    /// It is done so much later.
    Latency {
        /// Milliseconds.
        ms: u64,
    },
    /// The list in the answer is empty.
    Empty {
        /// The list's element; by default the outermost.
        element: Option<String>,
    },
    /// The list in the answer lacks its last items.
    Short {
        /// How many.
        drop: u32,
        /// The list's element, `routeSet` for example; by default the outermost.
        element: Option<String>,
    },
    /// A read is answered as it would have been so long ago, but not from before the fault was ordered.
    Stale {
        /// Milliseconds, at most 30,000.
        ms: u64,
    },
}

/// Settings to change; what is `None` stays. [`Console::reset`] puts all back.
///
/// [`Console::reset`]: crate::Console::reset
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Settings {
    /// Milliseconds that each call of an action takes, by action or `*`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latency_ms: Option<BTreeMap<String, u64>>,
    /// Seconds that a deleted load balancer's interfaces go on using its security groups. 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lingering_s: Option<f64>,
    /// Seconds that a deregistered target is draining. 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub draining_s: Option<f64>,
    /// Seconds that a Network Load Balancer is provisioning. 0: until it is described.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provisioning_s: Option<f64>,
    /// Seconds that a terminated instance is still described. For ever.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub terminated_s: Option<f64>,
    /// Seconds that a new instance is not yet known to those who ask. 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unknown_s: Option<f64>,
    /// Routes that a route table holds. 50.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub routes_per_table: Option<u32>,
    /// Network nodes, outermost first, by instance ID or type.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub topology: Option<BTreeMap<String, Vec<String>>>,
    /// The instance that the metadata service says the caller is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub imds_instance_id: Option<String>,
    /// The region that it says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub imds_region: Option<String>,
    /// The zone that it says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub imds_zone: Option<String>,
}

/// A network as kops makes one, by the IDs of its parts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct World {
    /// The cluster's name, which all but the private route table is marked with.
    pub cluster: String,
    /// Its region.
    pub region: String,
    /// 10.0.0.0/16.
    pub vpc: String,
    /// The internet gateway.
    pub gateway: String,
    /// `nodes.<cluster>`.
    pub node_group: String,
    /// The route table of the public subnets, with a route to the gateway. Marked.
    pub public_table: String,
    /// The route table of the private subnets. Not marked, unless that was asked for.
    pub private_table: String,
    /// 10.0.0.0/20, zone a.
    pub public_a: String,
    /// 10.0.16.0/20, zone b.
    pub public_b: String,
    /// 10.0.32.0/20, zone a.
    pub private_a: String,
    /// 10.0.48.0/20, zone b.
    pub private_b: String,
}

/// In which subnets machines stand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Network {
    /// Private ones.
    #[default]
    Private,
    /// Public ones.
    Public,
}

/// Machines to launch, in turn in both zones.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Launch {
    /// How many.
    pub count: u32,
    /// Where.
    pub subnet: Network,
    /// Whether they bear the cluster's marks.
    pub tag: bool,
    /// `m5.large` by default.
    pub instance_type: String,
    /// They are called `<prefix>-<number>`.
    pub prefix: String,
    /// The first number.
    pub first: u32,
    /// Their security groups; by default the nodes' one.
    pub groups: Option<Vec<String>>,
    /// Further tags.
    pub extra_tags: BTreeMap<String, String>,
}

impl Launch {
    /// So many: `node-1`, `node-2`, …
    pub fn of(count: u32) -> Self {
        Self {
            count,
            subnet: Network::Private,
            tag: true,
            instance_type: "m5.large".to_owned(),
            prefix: "node".to_owned(),
            first: 1,
            groups: None,
            extra_tags: BTreeMap::new(),
        }
    }
}

/// A machine.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Instance {
    /// `i-…`.
    pub id: String,
    /// Its Name tag.
    pub name: String,
    /// `us-east-1a`.
    pub zone: String,
    /// Its first private IPv4 address.
    pub private_ip: String,
    /// `ip-10-0-32-4.ec2.internal`: the node's name as kubelets register it.
    pub private_dns: String,
    /// `m5.large`.
    pub instance_type: String,
}

impl Instance {
    /// `aws:///<zone>/<id>`.
    pub fn provider_id(&self) -> String {
        format!("aws:///{}/{}", self.zone, self.id)
    }
}

/// One of moto's gaps and what is done about it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Correction {
    /// Its name.
    pub name: String,
    /// The part of AWS that it belongs to.
    pub area: String,
    /// What moto does.
    pub moto: String,
    /// What AWS does, and with this correction the fake.
    pub aws: String,
}

/// An error of AWS.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Refusal {
    /// The code.
    pub code: String,
    /// The text.
    pub message: String,
    /// The HTTP status.
    pub status: u16,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}): {}", self.code, self.status, self.message)
    }
}

/// boto3's answer.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Boto {
    /// The result.
    Ok(Value),
    /// The error.
    Error(Refusal),
}
