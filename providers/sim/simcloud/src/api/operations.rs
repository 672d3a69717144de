//! Operations, as quotas, faults and the call log name them.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::PieceKind;

/// Whether an operation looks or changes; each class has a rate limit of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OperationClass {
    /// Changes nothing.
    Read,
    /// Changes something.
    Write,
}

/// What an operation's answer is like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OperationShape {
    /// The one thing that was asked for by its ID.
    One,
    /// Things that were asked for, all at once.
    Many,
    /// A page of a list.
    Page,
    /// What became of a change.
    Change,
}

/// Declares the operations, each with its class and its shape.
macro_rules! operations {
    ($($(#[$doc:meta])+ $name:ident: $class:ident $shape:ident;)+) => {
        /// An operation of the cloud's API, as quotas, faults and the call log name it.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum Operation {
            $($(#[$doc])+ $name,)+
        }

        impl Operation {
            /// All of them.
            pub const ALL: [Self; [$(Self::$name),+].len()] = [$(Self::$name),+];

            /// The name on the wire.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => stringify!($name),)+
                }
            }

            /// Whether it looks or changes.
            pub const fn class(self) -> OperationClass {
                match self {
                    $(Self::$name => OperationClass::$class,)+
                }
            }

            /// What its answer is like.
            pub const fn shape(self) -> OperationShape {
                match self {
                    $(Self::$name => OperationShape::$shape,)+
                }
            }
        }
    };
}

operations! {
    /// `POST /v1/instances:describe`
    DescribeInstances: Read Many;
    /// `GET /v1/instances`
    ListInstances: Read Page;
    /// `GET /v1/instances/{id}`
    GetInstance: Read One;
    /// `POST /v1/instances`
    CreateInstance: Write Change;
    /// `POST /v1/instances:batchCreate`
    BatchCreateInstances: Write Change;
    /// `PATCH /v1/instances/{id}`
    UpdateInstance: Write Change;
    /// `POST /v1/instances/{id}/start`
    StartInstance: Write Change;
    /// `POST /v1/instances/{id}/stop`
    StopInstance: Write Change;
    /// `POST /v1/instances/{id}/replace`
    ReplaceInstance: Write Change;
    /// `POST /v1/instances/{id}/terminate`
    TerminateInstance: Write Change;
    /// `GET /v1/addresses`
    ListAddresses: Read Page;
    /// `GET /v1/addresses/{id}`
    GetAddress: Read One;
    /// `POST /v1/addresses`
    CreateAddress: Write Change;
    /// `PATCH /v1/addresses/{id}`
    UpdateAddress: Write Change;
    /// `DELETE /v1/addresses/{id}`
    DeleteAddress: Write Change;
    /// `GET /v1/target-groups`
    ListTargetGroups: Read Page;
    /// `GET /v1/target-groups/{id}`
    GetTargetGroup: Read One;
    /// `POST /v1/target-groups`
    CreateTargetGroup: Write Change;
    /// `PATCH /v1/target-groups/{id}`
    UpdateTargetGroup: Write Change;
    /// `DELETE /v1/target-groups/{id}`
    DeleteTargetGroup: Write Change;
    /// `GET /v1/target-groups/{id}/targets`
    ListTargets: Read Page;
    /// `POST /v1/target-groups/{id}/targets`
    ChangeTargets: Write Change;
    /// `GET /v1/load-balancers`
    ListLoadBalancers: Read Page;
    /// `GET /v1/load-balancers/{id}`
    GetLoadBalancer: Read One;
    /// `POST /v1/load-balancers`
    CreateLoadBalancer: Write Change;
    /// `PATCH /v1/load-balancers/{id}`
    UpdateLoadBalancer: Write Change;
    /// `DELETE /v1/load-balancers/{id}`
    DeleteLoadBalancer: Write Change;
    /// `GET /v1/listeners`
    ListListeners: Read Page;
    /// `GET /v1/listeners/{id}`
    GetListener: Read One;
    /// `POST /v1/listeners`
    CreateListener: Write Change;
    /// `PATCH /v1/listeners/{id}`
    UpdateListener: Write Change;
    /// `DELETE /v1/listeners/{id}`
    DeleteListener: Write Change;
    /// `GET /v1/firewalls`
    ListFirewalls: Read Page;
    /// `GET /v1/firewalls/{id}`
    GetFirewall: Read One;
    /// `POST /v1/firewalls`
    CreateFirewall: Write Change;
    /// `PATCH /v1/firewalls/{id}`
    UpdateFirewall: Write Change;
    /// `DELETE /v1/firewalls/{id}`
    DeleteFirewall: Write Change;
    /// `GET /v1/firewalls/{id}/rules`
    ListRules: Read Page;
    /// `POST /v1/firewalls/{id}/rules`
    AddRule: Write Change;
    /// `DELETE /v1/firewalls/{id}/rules/{rule}`
    RemoveRule: Write Change;
    /// `PUT /v1/firewalls/{id}/rules`
    ReplaceRules: Write Change;
    /// `GET /v1/routes`
    ListRoutes: Read Page;
    /// `GET /v1/routes/{id}`
    GetRoute: Read One;
    /// `POST /v1/routes`
    CreateRoute: Write Change;
    /// `PATCH /v1/routes/{id}`
    UpdateRoute: Write Change;
    /// `DELETE /v1/routes/{id}`
    DeleteRoute: Write Change;
    /// `POST /v1/routes:describe`
    DescribeRoutes: Read Many;
    /// `POST /v1/routes:batchCreate`
    CreateRoutes: Write Change;
    /// `GET /v1/volumes`
    ListVolumes: Read Page;
    /// `GET /v1/volumes/{id}`
    GetVolume: Read One;
    /// `POST /v1/volumes`
    CreateVolume: Write Change;
    /// `PATCH /v1/volumes/{id}`
    UpdateVolume: Write Change;
    /// `DELETE /v1/volumes/{id}`
    DeleteVolume: Write Change;
    /// `POST /v1/volumes:describe`
    DescribeVolumes: Read Many;
}

/// Declares one operation for each kind of piece.
macro_rules! by_kind {
    ($(
        #[$doc:meta]
        $name:ident: $address:ident $group:ident $balancer:ident $listener:ident $firewall:ident
            $route:ident $volume:ident;
    )+) => {
        impl Operation {
            $(
                #[$doc]
                pub const fn $name(kind: PieceKind) -> Self {
                    match kind {
                        PieceKind::Address => Self::$address,
                        PieceKind::TargetGroup => Self::$group,
                        PieceKind::LoadBalancer => Self::$balancer,
                        PieceKind::Listener => Self::$listener,
                        PieceKind::Firewall => Self::$firewall,
                        PieceKind::Route => Self::$route,
                        PieceKind::Volume => Self::$volume,
                    }
                }
            )+
        }
    };
}

by_kind! {
    /// Lists pieces of a kind.
    list: ListAddresses ListTargetGroups ListLoadBalancers ListListeners ListFirewalls
        ListRoutes ListVolumes;
    /// Shows a piece of a kind.
    get: GetAddress GetTargetGroup GetLoadBalancer GetListener GetFirewall
        GetRoute GetVolume;
    /// Makes a piece of a kind.
    create: CreateAddress CreateTargetGroup CreateLoadBalancer CreateListener CreateFirewall
        CreateRoute CreateVolume;
    /// Changes a piece of a kind.
    update: UpdateAddress UpdateTargetGroup UpdateLoadBalancer UpdateListener UpdateFirewall
        UpdateRoute UpdateVolume;
    /// Deletes a piece of a kind.
    delete: DeleteAddress DeleteTargetGroup DeleteLoadBalancer DeleteListener DeleteFirewall
        DeleteRoute DeleteVolume;
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
