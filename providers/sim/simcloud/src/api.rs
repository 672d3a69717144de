//! What travels over the wire: requests, answers, errors and the controls.
//!
//! Everything here is JSON. Fields that are absent take the default that their type documents;
//! fields that the cloud does not know are refused in requests and never sent in answers.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::str::FromStr;
use std::time::{Duration, SystemTime};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

/// Instances that one `batchCreate` may make.
///
/// A guess that covers the largest fleets in the tests with room to spare.
pub const BATCH_CREATE_LIMIT: usize = 20_000;

/// [`Instance::incarnation`] of an instance that was never replaced.
pub const FIRST_INCARNATION: u64 = 1;

/// Paths of the API, relative to the cloud's address.
///
/// IDs and names go in as they are: whoever has one that the cloud did not give must see to it that
/// it is one segment of a path.
pub mod path {
    use std::fmt::Display;

    /// `GET` lists, `POST` creates.
    pub const INSTANCES: &str = "/v1/instances";
    /// `POST`: many instances by ID or name in one call.
    pub const DESCRIBE_INSTANCES: &str = "/v1/instances:describe";
    /// `POST`: many new instances in one call.
    pub const BATCH_CREATE_INSTANCES: &str = "/v1/instances:batchCreate";
    /// `GET` lists, `POST` adds, `DELETE` removes all.
    pub const FAULTS: &str = "/control/faults";
    /// `GET` counts, `DELETE` forgets.
    pub const CALLS: &str = "/control/calls";
    /// `GET`: the calls one by one.
    pub const CALL_LOG: &str = "/control/calls/log";
    /// `GET` shows, `PATCH` changes.
    pub const SETTINGS: &str = "/control/settings";
    /// `GET` lists, `POST` adds.
    pub const TOKENS: &str = "/control/tokens";
    /// `GET`, without a token: the process serves.
    pub const HEALTH: &str = "/healthz";

    /// `GET` shows, `PATCH` changes.
    pub fn instance(id: impl Display) -> String {
        format!("{INSTANCES}/{id}")
    }

    /// `POST`.
    pub fn start_instance(id: impl Display) -> String {
        format!("{INSTANCES}/{id}/start")
    }

    /// `POST`.
    pub fn stop_instance(id: impl Display) -> String {
        format!("{INSTANCES}/{id}/stop")
    }

    /// `POST`.
    pub fn replace_instance(id: impl Display) -> String {
        format!("{INSTANCES}/{id}/replace")
    }

    /// `POST`.
    pub fn terminate_instance(id: impl Display) -> String {
        format!("{INSTANCES}/{id}/terminate")
    }

    /// `GET` shows, `DELETE` removes.
    pub fn fault(id: impl Display) -> String {
        format!("{FAULTS}/{id}")
    }

    /// `POST`.
    pub fn revoke_token(name: impl Display) -> String {
        format!("{TOKENS}/{name}/revoke")
    }

    /// `POST`.
    pub fn restore_token(name: impl Display) -> String {
        format!("{TOKENS}/{name}/restore")
    }
}

/// A point in time, to the millisecond; RFC 3339 in UTC on the wire.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(try_from = "String", into = "String")]
pub struct Timestamp(u64);

impl Timestamp {
    /// The point this many milliseconds after 1970.
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis)
    }

    /// Milliseconds since 1970.
    pub const fn as_millis(self) -> u64 {
        self.0
    }

    /// The present, by this machine's clock.
    pub fn now() -> Self {
        SystemTime::now().into()
    }

    /// This much later.
    #[must_use]
    pub const fn after(self, millis: u64) -> Self {
        Self(self.0.saturating_add(millis))
    }

    /// This much earlier.
    #[must_use]
    pub const fn before(self, millis: u64) -> Self {
        Self(self.0.saturating_sub(millis))
    }
}

impl From<SystemTime> for Timestamp {
    fn from(time: SystemTime) -> Self {
        let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Self(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }
}

impl From<Timestamp> for SystemTime {
    fn from(time: Timestamp) -> Self {
        Self::UNIX_EPOCH + Duration::from_millis(time.0)
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        humantime::format_rfc3339_millis((*self).into()).fmt(f)
    }
}

impl From<Timestamp> for String {
    fn from(time: Timestamp) -> Self {
        time.to_string()
    }
}

impl TryFrom<String> for Timestamp {
    type Error = humantime::TimestampError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        humantime::parse_rfc3339(&text).map(Self::from)
    }
}

/// The ID that the cloud gave an instance, for example `i-0000000000000001`.
///
/// Unique in the whole cloud and never given again: an instance that is made under the name of
/// another has another ID. The machine behind it may change all the same, see
/// [`Instance::incarnation`]. To be compared, not taken apart.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct InstanceId(String);

impl InstanceId {
    /// Takes the ID as it was written.
    pub fn new(id: impl Into<String>) -> Self {
        Self(id.into())
    }

    /// The ID as it is written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for InstanceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<&str> for InstanceId {
    fn from(id: &str) -> Self {
        Self(id.to_owned())
    }
}

impl From<String> for InstanceId {
    fn from(id: String) -> Self {
        Self(id)
    }
}

/// Where an instance is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunState {
    /// Made or started, and not up yet.
    Pending,
    /// Up.
    Running,
    /// On its way to `stopped`.
    Stopping,
    /// Down; it keeps its ID, addresses and tags, and may be started again.
    Stopped,
    /// On its way to `terminated`.
    Terminating,
    /// Gone for good; the record stays for a while and then vanishes.
    Terminated,
}

impl RunState {
    /// The name on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Running => "running",
            Self::Stopping => "stopping",
            Self::Stopped => "stopped",
            Self::Terminating => "terminating",
            Self::Terminated => "terminated",
        }
    }
}

impl fmt::Display for RunState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A network interface; the first of an instance is its primary one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Nic {
    /// Private addresses, the preferred one first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub private_ipv4s: Vec<Ipv4Addr>,
    /// Private addresses, the preferred one first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub private_ipv6s: Vec<Ipv6Addr>,
    /// The address under which the outside reaches this interface.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub public_ipv4: Option<Ipv4Addr>,
    /// The address under which the outside reaches this interface.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub public_ipv6: Option<Ipv6Addr>,
    /// The name that resolves to the private addresses.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub private_dns_name: Option<String>,
    /// The name that resolves to the public addresses.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub public_dns_name: Option<String>,
}

/// An instance as the cloud shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Instance {
    /// The cloud's ID; a machine that replaces the one of before keeps it.
    pub id: InstanceId,
    /// Which machine it is behind this ID: [`FIRST_INCARNATION`], and one more with every
    /// replacement.
    #[serde(default = "first_incarnation")]
    pub incarnation: u64,
    /// The name it was given; not unique, least of all over time.
    pub name: String,
    /// Instance type.
    pub instance_type: String,
    /// Region.
    pub region: String,
    /// Zone.
    pub zone: String,
    /// Interfaces, the primary one first. A terminated instance has none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub nics: Vec<Nic>,
    /// The user's tags.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, String>,
    /// Labels that the cloud wants its node to carry.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Where it is in its life.
    pub state: RunState,
    /// What its firmware says it is: a UUID in lower case.
    pub system_uuid: String,
    /// Ranges for its pods; empty when the cloud does not give any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pod_cidrs: Vec<IpNet>,
    /// When this machine was made.
    pub created_at: Timestamp,
    /// When it was terminated; absent before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub terminated_at: Option<Timestamp>,
}

/// For records from before there were replacements.
const fn first_incarnation() -> u64 {
    FIRST_INCARNATION
}

/// An instance to be made. Only the name must be given.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CreateInstance {
    /// The name; another instance may have it.
    pub name: String,
    /// Instance type; `sim.small` when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance_type: Option<String>,
    /// Region; `sim-1` when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// Zone; `<region>a` when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
    /// Interfaces; when absent, one with an address from 10.0.0.0/8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nics: Option<Vec<Nic>>,
    /// The user's tags.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, String>,
    /// Labels that the cloud wants its node to carry.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Firmware UUID; made up when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub system_uuid: Option<String>,
    /// Ranges for its pods.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pod_cidrs: Vec<IpNet>,
}

impl CreateInstance {
    /// An instance of this name, all else left to the cloud.
    pub fn named(name: impl Into<String>) -> Self {
        Self { name: name.into(), ..Self::default() }
    }
}

/// Many instances to be made at once, at most [`BATCH_CREATE_LIMIT`]: all or none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BatchCreateInstances {
    /// The instances.
    pub instances: Vec<CreateInstance>,
}

/// What to change of an instance; a field that is given replaces what was there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct UpdateInstance {
    /// Instance type.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instance_type: Option<String>,
    /// All interfaces.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nics: Option<Vec<Nic>>,
    /// All tags.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tags: Option<BTreeMap<String, String>>,
    /// All labels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub labels: Option<BTreeMap<String, String>>,
    /// All pod ranges.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pod_cidrs: Option<Vec<IpNet>>,
}

/// Instances asked for by ID, by name or both.
///
/// IDs and names together may not exceed [`Settings::batch_limit`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DescribeInstances {
    /// IDs to look up.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ids: Vec<InstanceId>,
    /// Names to look up; every instance of that name is found, terminated ones included.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub names: Vec<String>,
}

/// Instances that were found or made.
///
/// From `describe`: in the order asked, each once; what the cloud does not know is simply missing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Instances {
    /// The instances.
    pub instances: Vec<Instance>,
}

/// Which page of the list is wanted; goes into the query string.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListInstances {
    /// What the page before said; absent for the first page.
    pub page_token: Option<String>,
    /// Instances wanted on the page; more than [`Settings::page_limit`] gives just the limit.
    pub page_size: Option<usize>,
    /// Tags that an instance must have, all of them.
    pub tags: BTreeMap<String, String>,
}

impl ListInstances {
    /// Names and values for the query string, not yet escaped.
    pub fn to_query(&self) -> Vec<(&'static str, String)> {
        let token = self.page_token.iter().map(|token| ("page_token", token.clone()));
        let size = self.page_size.iter().map(|size| ("page_size", size.to_string()));
        let tags = self.tags.iter().map(|(key, value)| ("tag", format!("{key}={value}")));
        token.chain(size).chain(tags).collect()
    }
}

/// One page of the list, in the order of creation.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstancePage {
    /// The instances of this page; may be few or none though more pages follow.
    pub instances: Vec<Instance>,
    /// Where the next page starts; absent on the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_page_token: Option<String>,
}

/// The body of every answer that is not a success.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorBody {
    /// What went wrong.
    pub error: ErrorDetail,
}

/// What went wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorDetail {
    /// For programs.
    pub code: ErrorCode,
    /// For people.
    pub message: String,
    /// How long to wait before the next try. `Retry-After` says the same in whole seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
}

/// Everything that can go wrong; the set is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorCode {
    /// 401: no token, an unknown one, or a revoked one.
    Unauthenticated,
    /// 403: the token is good, and not for this.
    PermissionDenied,
    /// 404: the path is right, and there is no such thing.
    NotFound,
    /// 405: the path exists, the method does not.
    MethodNotAllowed,
    /// 400: the message names the field. Also 413 for a body that is too large, and 404 for a path
    /// that does not exist: that is the caller's mistake and says nothing about any instance.
    InvalidArgument,
    /// 400: more IDs, names or instances than one call may carry.
    BatchTooLarge,
    /// 409: the thing is in a state that does not allow this.
    Conflict,
    /// 429: too many calls, come back later.
    Throttled,
    /// 503 or 504: the cloud cannot serve just now.
    Unavailable,
    /// Any other 5xx: the cloud is at fault.
    Internal,
}

impl ErrorCode {
    /// The name on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unauthenticated => "unauthenticated",
            Self::PermissionDenied => "permission_denied",
            Self::NotFound => "not_found",
            Self::MethodNotAllowed => "method_not_allowed",
            Self::InvalidArgument => "invalid_argument",
            Self::BatchTooLarge => "batch_too_large",
            Self::Conflict => "conflict",
            Self::Throttled => "throttled",
            Self::Unavailable => "unavailable",
            Self::Internal => "internal",
        }
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// An operation of the cloud's API, as quotas, faults and the call log name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Operation {
    /// `POST /v1/instances:describe`
    DescribeInstances,
    /// `GET /v1/instances`
    ListInstances,
    /// `GET /v1/instances/{id}`
    GetInstance,
    /// `POST /v1/instances`
    CreateInstance,
    /// `POST /v1/instances:batchCreate`
    BatchCreateInstances,
    /// `PATCH /v1/instances/{id}`
    UpdateInstance,
    /// `POST /v1/instances/{id}/start`
    StartInstance,
    /// `POST /v1/instances/{id}/stop`
    StopInstance,
    /// `POST /v1/instances/{id}/replace`
    ReplaceInstance,
    /// `POST /v1/instances/{id}/terminate`
    TerminateInstance,
}

/// Whether an operation looks or changes; each class has a rate limit of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OperationClass {
    /// Changes nothing.
    Read,
    /// Changes something.
    Write,
}

impl Operation {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::DescribeInstances,
        Self::ListInstances,
        Self::GetInstance,
        Self::CreateInstance,
        Self::BatchCreateInstances,
        Self::UpdateInstance,
        Self::StartInstance,
        Self::StopInstance,
        Self::ReplaceInstance,
        Self::TerminateInstance,
    ];

    /// The name on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::DescribeInstances => "DescribeInstances",
            Self::ListInstances => "ListInstances",
            Self::GetInstance => "GetInstance",
            Self::CreateInstance => "CreateInstance",
            Self::BatchCreateInstances => "BatchCreateInstances",
            Self::UpdateInstance => "UpdateInstance",
            Self::StartInstance => "StartInstance",
            Self::StopInstance => "StopInstance",
            Self::ReplaceInstance => "ReplaceInstance",
            Self::TerminateInstance => "TerminateInstance",
        }
    }

    /// Whether it looks or changes.
    pub const fn class(self) -> OperationClass {
        match self {
            Self::DescribeInstances | Self::ListInstances | Self::GetInstance => {
                OperationClass::Read
            }
            Self::CreateInstance
            | Self::BatchCreateInstances
            | Self::UpdateInstance
            | Self::StartInstance
            | Self::StopInstance
            | Self::ReplaceInstance
            | Self::TerminateInstance => OperationClass::Write,
        }
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Operations that a fault strikes: `*`, `read`, `write`, or the name of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum OperationFilter {
    /// Every operation.
    Any,
    /// Those of a class.
    Class(OperationClass),
    /// Just this one.
    One(Operation),
}

impl OperationFilter {
    /// Whether the operation is among them.
    pub fn matches(self, operation: Operation) -> bool {
        match self {
            Self::Any => true,
            Self::Class(class) => operation.class() == class,
            Self::One(one) => operation == one,
        }
    }
}

impl fmt::Display for OperationFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Any => "*",
            Self::Class(OperationClass::Read) => "read",
            Self::Class(OperationClass::Write) => "write",
            Self::One(one) => one.as_str(),
        })
    }
}

impl FromStr for OperationFilter {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "*" => Ok(Self::Any),
            "read" => Ok(Self::Class(OperationClass::Read)),
            "write" => Ok(Self::Class(OperationClass::Write)),
            name => {
                let one = Operation::ALL.into_iter().find(|one| one.as_str() == name);
                one.map(Self::One).ok_or_else(|| {
                    let known = Operation::ALL.map(Operation::as_str).join(", ");
                    format!("no operation \"{name}\"; known are *, read, write, {known}")
                })
            }
        }
    }
}

impl TryFrom<String> for OperationFilter {
    type Error = String;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<OperationFilter> for String {
    fn from(filter: OperationFilter) -> Self {
        filter.to_string()
    }
}

/// A fault script: what goes wrong, for whom and for how long.
///
/// A call is struck by the first fault, in the order of their making, that fits and fires.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FaultSpec {
    /// Operations that it strikes.
    pub operation: OperationFilter,
    /// What goes wrong.
    pub kind: FaultKind,
    /// When it strikes.
    #[serde(rename = "for")]
    pub extent: FaultExtent,
    /// Strikes only this caller, as the call log names it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub caller: Option<String>,
    /// Strikes only calls about the instance of this name or ID.
    ///
    /// A list is about every instance. `cut_page` then leaves out only this instance.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<String>,
}

impl FaultSpec {
    /// Strikes every caller's calls of these operations until it is removed.
    pub fn always(operation: OperationFilter, kind: FaultKind) -> Self {
        let extent = FaultExtent { share: Some(1.0), ..FaultExtent::default() };
        Self { operation, kind, extent, caller: None, instance: None }
    }

    /// Strikes the next so many calls of these operations.
    pub fn next_calls(operation: OperationFilter, kind: FaultKind, calls: u64) -> Self {
        let extent = FaultExtent { calls: Some(calls), ..FaultExtent::default() };
        Self { operation, kind, extent, caller: None, instance: None }
    }
}

/// When a fault strikes: all that is given must hold, and something must be given.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FaultExtent {
    /// At most this many calls.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub calls: Option<u64>,
    /// This share of the calls, above 0 and up to 1, drawn with the cloud's seed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub share: Option<f64>,
    /// Only this long after its making.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub period_ms: Option<u64>,
}

/// What goes wrong. Written `"reset"`, or `{"slow": {"delay_ms": 500}}` where there is more to say.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum FaultKind {
    /// 401, as if the token were revoked. Nothing is done.
    Unauthenticated,
    /// 403. Nothing is done.
    PermissionDenied,
    /// 404 to a direct question, as if there were no instance of this ID: an API that lies, because
    /// it is that of another region or project. Nothing is done.
    NotFound,
    /// 429. Nothing is done.
    Throttle {
        /// Said in `Retry-After`, in seconds rounded up; absent: no such header.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        retry_after_ms: Option<u64>,
    },
    /// A 5xx. Nothing is done.
    ServerError {
        /// 500 to 599.
        status: u16,
    },
    /// No answer while the fault stands. Removing it lets the call go on; at the end of the wait
    /// the connection is closed. Until then nothing is done.
    Hang {
        /// How long at most; 10 minutes when absent, and never more.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        max_ms: Option<u64>,
    },
    /// The call is done and answered as ever, later.
    Slow {
        /// How much later; at most 10 minutes.
        delay_ms: u64,
        /// Only the answer is late: the call is done when it arrives, so that what a read answers
        /// may no longer be so, and a later call may be answered earlier.
        #[serde(default)]
        stale: bool,
    },
    /// A list or describe answer lacks instances and looks complete.
    CutPage {
        /// Share of the answer that is left out, above 0 and up to 1, at least one instance.
        missing_share: f64,
    },
    /// A page of the list does not say that more follow.
    DropPageToken,
    /// A list or describe answer has no instances and looks complete.
    EmptyPage,
    /// The call is done, then the connection is closed without an answer.
    LoseResponse,
    /// The connection is closed. Nothing is done.
    Reset,
}

impl FaultKind {
    /// The name on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unauthenticated => "unauthenticated",
            Self::PermissionDenied => "permission_denied",
            Self::NotFound => "not_found",
            Self::Throttle { .. } => "throttle",
            Self::ServerError { .. } => "server_error",
            Self::Hang { .. } => "hang",
            Self::Slow { .. } => "slow",
            Self::CutPage { .. } => "cut_page",
            Self::DropPageToken => "drop_page_token",
            Self::EmptyPage => "empty_page",
            Self::LoseResponse => "lose_response",
            Self::Reset => "reset",
        }
    }

    /// Whether the kind can strike this operation: pages are cut only where there are some, and only
    /// a question about one instance can be told that there is none.
    pub const fn applies_to(self, operation: Operation) -> bool {
        match self {
            Self::CutPage { .. } | Self::EmptyPage => {
                matches!(operation, Operation::DescribeInstances | Operation::ListInstances)
            }
            Self::DropPageToken => matches!(operation, Operation::ListInstances),
            Self::NotFound => matches!(operation, Operation::GetInstance),
            Self::Unauthenticated
            | Self::PermissionDenied
            | Self::Throttle { .. }
            | Self::ServerError { .. }
            | Self::Hang { .. }
            | Self::Slow { .. }
            | Self::LoseResponse
            | Self::Reset => true,
        }
    }
}

/// A fault script that the cloud has taken.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Fault {
    /// Its ID, for example `f-1`.
    pub id: String,
    /// The script.
    pub spec: FaultSpec,
    /// When it was taken.
    pub created_at: Timestamp,
    /// Calls that it has struck.
    pub uses: u64,
    /// Whether it can strike no more: its calls are used up or its period is over.
    pub spent: bool,
}

/// All faults, in the order of their making.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Faults {
    /// The faults, spent ones included.
    pub faults: Vec<Fault>,
}

/// How a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Answered 2xx.
    Ok,
    /// Answered 4xx, other than 429.
    ClientError,
    /// Answered 429.
    Throttled,
    /// Answered 5xx.
    ServerError,
    /// The cloud closed the connection.
    Cut,
    /// The caller went away before the answer.
    Abandoned,
}

/// Calls of one operation by one caller since the counts were last forgotten.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallCount {
    /// The operation.
    pub operation: Operation,
    /// First product of `User-Agent`, without its version; the token's name where there is none.
    pub caller: String,
    /// Calls received, those in flight included.
    pub calls: u64,
    /// Instances that those calls asked about or for; a list asks for none in particular.
    pub instances: u64,
    /// Calls not ended yet.
    pub in_flight: u64,
    /// Calls by how they ended.
    pub outcomes: BTreeMap<Outcome, u64>,
    /// Calls that a fault struck, by its kind.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub faults: BTreeMap<String, u64>,
}

/// All counts, ordered by operation and caller.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Calls {
    /// Calls received by all operations from all callers.
    pub total: u64,
    /// The counts.
    pub counts: Vec<CallCount>,
}

impl Calls {
    /// Calls of one operation by all callers.
    pub fn of(&self, operation: Operation) -> u64 {
        let counts = self.counts.iter().filter(|count| count.operation == operation);
        counts.map(|count| count.calls).sum()
    }

    /// Calls by one caller of all operations.
    pub fn by(&self, caller: &str) -> u64 {
        let counts = self.counts.iter().filter(|count| count.caller == caller);
        counts.map(|count| count.calls).sum()
    }

    /// Calls of all operations and callers that ended like this.
    pub fn ended(&self, outcome: Outcome) -> u64 {
        self.counts.iter().filter_map(|count| count.outcomes.get(&outcome)).sum()
    }

    /// Calls of a class by all callers.
    pub fn of_class(&self, class: OperationClass) -> u64 {
        let counts = self.counts.iter().filter(|count| count.operation.class() == class);
        counts.map(|count| count.calls).sum()
    }
}

/// One call, entered in the log when it ends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallEntry {
    /// Counts up by one from 1; not reset with the counts.
    pub sequence: u64,
    /// When the call was received.
    pub received_at: Timestamp,
    /// From there to its end.
    pub duration_ms: u64,
    /// The operation.
    pub operation: Operation,
    /// As in [`CallCount::caller`].
    pub caller: String,
    /// As in [`CallCount::instances`].
    pub instances: u64,
    /// The status that was answered; absent where there was no answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// How it ended.
    pub outcome: Outcome,
    /// The fault that struck it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fault: Option<StruckBy>,
}

/// The fault that struck a call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StruckBy {
    /// The fault's ID.
    pub id: String,
    /// The fault's kind.
    pub kind: String,
}

/// A stretch of the call log.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallLog {
    /// Calls after the `since` of the question, oldest first, at most `limit`.
    pub entries: Vec<CallEntry>,
    /// The `since` of the next question.
    pub next: u64,
    /// Calls after `since` that are no longer kept.
    pub lost: u64,
}

/// Time that a call takes at least.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Latency {
    /// Every call takes this long.
    #[serde(default)]
    pub fixed_ms: u64,
    /// And up to this much longer, drawn with the cloud's seed.
    #[serde(default)]
    pub jitter_ms: u64,
}

/// A rate limit: a bucket of tokens.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RateLimit {
    /// Calls a second over the long run; 0 is no limit.
    pub per_second: f64,
    /// Calls at once after a pause; at least 1.
    pub burst: u32,
}

/// How the cloud behaves; all of it may be changed while it runs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// IDs and names that one describe may carry.
    pub batch_limit: usize,
    /// Instances on one page of the list.
    pub page_limit: usize,
    /// Time that every call takes.
    pub latency: Latency,
    /// Operations that take another time.
    pub operation_latency: BTreeMap<Operation, Latency>,
    /// Limit of the calls that look, all callers together.
    pub read_rate: RateLimit,
    /// Limit of the calls that change, all callers together.
    pub write_rate: RateLimit,
    /// For how long reads do not show a change.
    pub consistency_delay_ms: u64,
    /// How long an instance is `pending`, `stopping` or `terminating`.
    pub transition_delay_ms: u64,
    /// How long a terminated instance stays visible; 0: it vanishes at once.
    pub terminated_retention_ms: u64,
}

impl Default for Settings {
    /// 100 a batch and a page, no latency, 100 calls a second with bursts of 200, changes visible
    /// at once, terminated instances visible for an hour.
    fn default() -> Self {
        let rate = RateLimit { per_second: 100.0, burst: 200 };
        Self {
            batch_limit: 100,
            page_limit: 100,
            latency: Latency::default(),
            operation_latency: BTreeMap::new(),
            read_rate: rate,
            write_rate: rate,
            consistency_delay_ms: 0,
            transition_delay_ms: 0,
            terminated_retention_ms: 3_600_000,
        }
    }
}

/// Settings to change; a field that is given replaces what was there.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SettingsPatch {
    /// See [`Settings::batch_limit`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub batch_limit: Option<usize>,
    /// See [`Settings::page_limit`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub page_limit: Option<usize>,
    /// See [`Settings::latency`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latency: Option<Latency>,
    /// See [`Settings::operation_latency`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub operation_latency: Option<BTreeMap<Operation, Latency>>,
    /// See [`Settings::read_rate`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub read_rate: Option<RateLimit>,
    /// See [`Settings::write_rate`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub write_rate: Option<RateLimit>,
    /// See [`Settings::consistency_delay_ms`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub consistency_delay_ms: Option<u64>,
    /// See [`Settings::transition_delay_ms`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub transition_delay_ms: Option<u64>,
    /// See [`Settings::terminated_retention_ms`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub terminated_retention_ms: Option<u64>,
}

/// A token to let in.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AddToken {
    /// Its name, for the call log and for revoking it.
    pub name: String,
    /// The secret itself.
    pub token: String,
}

impl fmt::Debug for AddToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AddToken").field("name", &self.name).finish_non_exhaustive()
    }
}

/// A token as the control API shows it: without the secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenStatus {
    /// Its name.
    pub name: String,
    /// Whether it opens nothing at present.
    pub revoked: bool,
}

/// All tokens, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tokens {
    /// The tokens.
    pub tokens: Vec<TokenStatus>,
}
