//! What travels over the wire: requests, answers, errors and the controls.
//!
//! Everything here is JSON. Fields that are absent take the default that their type documents;
//! fields that the cloud does not know are refused in requests and never sent in answers.

pub mod path;

mod addresses;
mod calls;
mod errors;
mod faults;
mod firewalls;
mod ids;
mod instances;
mod listeners;
mod load_balancers;
mod operations;
mod operator;
mod pieces;
mod routes;
mod settings;
mod target_groups;
mod time;
mod tokens;
mod volumes;

pub use addresses::{Address, CreateAddress, IpFamily, UpdateAddress};
pub use calls::{CallCount, CallEntry, CallLog, Calls, Outcome, StruckBy};
pub use errors::{ErrorBody, ErrorCode, ErrorDetail};
pub use faults::{Fault, FaultExtent, FaultKind, FaultSpec, Faults};
pub use firewalls::{
    AddRule, CLUSTER_TAG, CreateFirewall, Etag, Firewall, ListRules, OWNER_TAG, ReplaceRules, Rule,
    RulePage, RuleSpec, UpdateFirewall,
};
pub use ids::{
    AddressId, FirewallId, InstanceId, ListenerId, LoadBalancerId, RouteId, RuleId, TargetGroupId,
    VolumeId,
};
pub use instances::{
    BATCH_CREATE_LIMIT, BatchCreateInstances, CreateInstance, DescribeInstances, FIRST_INCARNATION,
    Instance, InstancePage, Instances, ListInstances, Nic, RunState, UpdateInstance,
};
pub use listeners::{CreateListener, Listener, ListenerSettings, UpdateListener};
pub use load_balancers::{CreateLoadBalancer, LoadBalancer, UpdateLoadBalancer};
pub use operations::{Operation, OperationClass, OperationFilter, OperationShape};
pub use operator::{ChangeRule, ForcedState, SetLoadBalancerState, Snapshot};
pub use pieces::{Items, ListPieces, NewPiece, Page, Piece, PieceKind, PieceState, Protocol};
pub use routes::{
    ChangeRoute, CreateRoute, CreateRoutes, DescribeRoutes, MAIN_TABLE, Route, UpdateRoute,
};
pub use settings::{Latency, Quota, RateLimit, Settings, SettingsPatch};
pub use target_groups::{
    ChangeTargets, CreateTargetGroup, HealthCheck, HealthProtocol, ListTargets, Target,
    TargetGroup, TargetPage, TargetState, UpdateTargetGroup,
};
pub use time::Timestamp;
pub use tokens::{AddToken, TokenStatus, Tokens};
pub use volumes::{CreateVolume, DescribeVolumes, UpdateVolume, Volume};
