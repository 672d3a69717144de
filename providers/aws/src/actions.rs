//! The API actions that this provider calls, declared once.
//!
//! The declaration names each call for metrics and quotas, and says who needs it: from it come the
//! IAM policies in the book, and a test holds it against the calls of whole runs.

mod guard;

pub use self::guard::Guard;

use ccm_core::cloud::{Bucket, Operation};

/// An action of one of the APIs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Action {
    /// Its prefix in policies.
    pub api: Api,
    /// Its name, as the API spells it.
    pub name: &'static str,
    /// Whether it changes anything.
    pub mutates: bool,
    /// Who calls it.
    pub users: &'static [User],
    /// The quota that it uses: AWS counts each action by itself.
    bucket: &'static str,
}

/// An API, by its prefix in policies. The older and the newer Elastic Load Balancing have one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Api {
    /// `ec2`.
    Ec2,
    /// `elasticloadbalancing`, version 2012-06-01: Classic Load Balancers.
    Elb,
    /// `elasticloadbalancing`, version 2015-12-01: Network Load Balancers.
    ElbV2,
    /// `sts`.
    Sts,
}

impl Api {
    /// What stands before the colon in a policy.
    pub fn prefix(self) -> &'static str {
        match self {
            Self::Ec2 => "ec2",
            Self::Elb | Self::ElbV2 => "elasticloadbalancing",
            Self::Sts => "sts",
        }
    }
}

/// Who needs an action: a policy for fewer controllers has fewer actions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum User {
    /// Start-up, unless the configuration says everything.
    Start,
    /// Whoever assumes the configured role. It is needed before the role is had, so it is for the
    /// credentials that are found, and not for the role.
    Role,
    /// The node controllers.
    Nodes,
    /// Nodes on Fargate.
    Fargate,
    /// Classic Load Balancers.
    Classic,
    /// Network Load Balancers.
    Network,
    /// Routes.
    Routes,
    /// Labels of volumes.
    Volumes,
}

impl Action {
    /// How metrics and messages call it.
    pub fn operation(&self) -> Operation {
        Operation(self.name)
    }

    /// The quota that it uses.
    pub fn bucket(&self) -> Bucket {
        Bucket(self.bucket)
    }
}

macro_rules! actions {
    ($($api:ident $prefix:literal {
        $($verb:ident $constant:ident = $name:literal: $($user:ident),+;)+
    })+) => {
        $($(
            #[doc = concat!("`", $name, "`.")]
            pub(crate) const $constant: Action = Action {
                api: Api::$api,
                name: $name,
                mutates: actions!(@$verb),
                users: &[$(User::$user),+],
                bucket: concat!($prefix, ":", $name),
            };
        )+)+

        /// All of them, in the order of the declaration.
        pub const ALL: &[Action] = &[$($($constant),+),+];
    };
    (@reads) => { false };
    (@writes) => { true };
}

actions! {
    Ec2 "ec2" {
        reads DESCRIBE_INSTANCES = "DescribeInstances": Start, Nodes, Routes;
        reads DESCRIBE_AVAILABILITY_ZONES = "DescribeAvailabilityZones": Nodes, Classic, Network;
        reads DESCRIBE_INSTANCE_TOPOLOGY = "DescribeInstanceTopology": Nodes;
        reads DESCRIBE_NETWORK_INTERFACES = "DescribeNetworkInterfaces": Fargate;
        reads DESCRIBE_SUBNETS = "DescribeSubnets": Classic, Network;
        reads DESCRIBE_ROUTE_TABLES = "DescribeRouteTables": Classic, Network, Routes;
        reads DESCRIBE_SECURITY_GROUPS = "DescribeSecurityGroups": Classic, Network;
        reads DESCRIBE_VOLUMES = "DescribeVolumes": Volumes;
        writes CREATE_SECURITY_GROUP = "CreateSecurityGroup": Classic, Network;
        writes DELETE_SECURITY_GROUP = "DeleteSecurityGroup": Classic, Network;
        writes AUTHORIZE_SECURITY_GROUP_INGRESS = "AuthorizeSecurityGroupIngress": Classic, Network;
        writes REVOKE_SECURITY_GROUP_INGRESS = "RevokeSecurityGroupIngress": Classic, Network;
        writes CREATE_TAGS = "CreateTags": Classic, Network;
        writes MODIFY_INSTANCE_ATTRIBUTE = "ModifyInstanceAttribute": Routes;
        writes MODIFY_NETWORK_INTERFACE_ATTRIBUTE = "ModifyNetworkInterfaceAttribute": Routes;
        writes CREATE_ROUTE = "CreateRoute": Routes;
        writes REPLACE_ROUTE = "ReplaceRoute": Routes;
        writes DELETE_ROUTE = "DeleteRoute": Routes;
    }
    Elb "elb" {
        // The other kind is looked for too: a Service may have changed its type.
        reads DESCRIBE_CLASSIC = "DescribeLoadBalancers": Classic, Network;
        reads DESCRIBE_CLASSIC_ATTRIBUTES = "DescribeLoadBalancerAttributes": Classic;
        reads DESCRIBE_CLASSIC_TAGS = "DescribeTags": Classic, Network;
        writes CREATE_CLASSIC = "CreateLoadBalancer": Classic;
        writes DELETE_CLASSIC = "DeleteLoadBalancer": Classic, Network;
        writes ADD_CLASSIC_TAGS = "AddTags": Classic;
        writes REGISTER_INSTANCES = "RegisterInstancesWithLoadBalancer": Classic;
        writes DEREGISTER_INSTANCES = "DeregisterInstancesFromLoadBalancer": Classic;
        writes CREATE_CLASSIC_POLICY = "CreateLoadBalancerPolicy": Classic;
        writes SET_BACKEND_POLICIES = "SetLoadBalancerPoliciesForBackendServer": Classic;
        writes SET_LISTENER_POLICIES = "SetLoadBalancerPoliciesOfListener": Classic;
        writes ATTACH_SUBNETS = "AttachLoadBalancerToSubnets": Classic;
        writes DETACH_SUBNETS = "DetachLoadBalancerFromSubnets": Classic;
        writes CREATE_CLASSIC_LISTENERS = "CreateLoadBalancerListeners": Classic;
        writes DELETE_CLASSIC_LISTENERS = "DeleteLoadBalancerListeners": Classic;
        writes APPLY_SECURITY_GROUPS = "ApplySecurityGroupsToLoadBalancer": Classic;
        writes CONFIGURE_HEALTH_CHECK = "ConfigureHealthCheck": Classic;
        writes MODIFY_CLASSIC_ATTRIBUTES = "ModifyLoadBalancerAttributes": Classic;
    }
    ElbV2 "elbv2" {
        reads DESCRIBE_LOAD_BALANCERS = "DescribeLoadBalancers": Classic, Network;
        reads DESCRIBE_LISTENERS = "DescribeListeners": Network;
        reads DESCRIBE_TARGET_GROUPS = "DescribeTargetGroups": Classic, Network;
        reads DESCRIBE_TARGET_HEALTH = "DescribeTargetHealth": Network;
        reads DESCRIBE_LOAD_BALANCER_ATTRIBUTES = "DescribeLoadBalancerAttributes": Network;
        reads DESCRIBE_TARGET_GROUP_ATTRIBUTES = "DescribeTargetGroupAttributes": Network;
        reads DESCRIBE_TAGS = "DescribeTags": Classic, Network;
        writes CREATE_LOAD_BALANCER = "CreateLoadBalancer": Network;
        writes DELETE_LOAD_BALANCER = "DeleteLoadBalancer": Classic, Network;
        writes SET_SECURITY_GROUPS = "SetSecurityGroups": Network;
        writes MODIFY_LOAD_BALANCER_ATTRIBUTES = "ModifyLoadBalancerAttributes": Network;
        writes CREATE_TARGET_GROUP = "CreateTargetGroup": Network;
        writes MODIFY_TARGET_GROUP = "ModifyTargetGroup": Network;
        writes MODIFY_TARGET_GROUP_ATTRIBUTES = "ModifyTargetGroupAttributes": Network;
        writes DELETE_TARGET_GROUP = "DeleteTargetGroup": Classic, Network;
        writes REGISTER_TARGETS = "RegisterTargets": Network;
        writes DEREGISTER_TARGETS = "DeregisterTargets": Network;
        writes CREATE_LISTENER = "CreateListener": Network;
        writes MODIFY_LISTENER = "ModifyListener": Network;
        writes DELETE_LISTENER = "DeleteListener": Network;
        writes ADD_TAGS = "AddTags": Network;
    }
    Sts "sts" {
        reads ASSUME_ROLE = "AssumeRole": Role;
    }
}
