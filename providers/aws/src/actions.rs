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
    /// To what a policy can bind it.
    pub guard: Guard,
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

/// Each verb is a [`Guard`]:
///
/// - `reads`: [`Guard::Anything`]; everything else changes something.
/// - `makes` something that bears the cluster's tag from its first moment: [`Guard::TagOfRequest`].
/// - `tags` what is being made, or is the cluster's already: [`Guard::TagsOfOwn`].
/// - `changes` something that bears the cluster's tag: [`Guard::TagOfResource`].
/// - `changes_near` something that bears no tag, in the cluster's VPC: [`Guard::Vpc`].
macro_rules! actions {
    ($($api:ident $prefix:literal {
        $($verb:ident $constant:ident = $name:literal: $($user:ident),+;)+
    })+) => {
        $($(
            #[doc = concat!("`", $name, "`.")]
            pub(crate) const $constant: Action = Action {
                api: Api::$api,
                name: $name,
                mutates: !matches!(actions!(@$verb), Guard::Anything),
                guard: actions!(@$verb),
                users: &[$(User::$user),+],
                bucket: concat!($prefix, ":", $name),
            };
        )+)+

        /// All of them, in the order of the declaration.
        pub const ALL: &[Action] = &[$($($constant),+),+];
    };
    (@reads) => { Guard::Anything };
    (@makes) => { Guard::TagOfRequest };
    (@tags) => { Guard::TagsOfOwn };
    (@changes) => { Guard::TagOfResource };
    (@changes_near) => { Guard::Vpc };
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
        makes CREATE_SECURITY_GROUP = "CreateSecurityGroup": Classic, Network;
        changes DELETE_SECURITY_GROUP = "DeleteSecurityGroup": Classic, Network;
        changes AUTHORIZE_SECURITY_GROUP_INGRESS = "AuthorizeSecurityGroupIngress":
            Classic, Network;
        changes REVOKE_SECURITY_GROUP_INGRESS = "RevokeSecurityGroupIngress": Classic, Network;
        tags CREATE_TAGS = "CreateTags": Classic, Network;
        changes MODIFY_INSTANCE_ATTRIBUTE = "ModifyInstanceAttribute": Routes;
        changes_near MODIFY_NETWORK_INTERFACE_ATTRIBUTE = "ModifyNetworkInterfaceAttribute": Routes;
        changes CREATE_ROUTE = "CreateRoute": Routes;
        changes REPLACE_ROUTE = "ReplaceRoute": Routes;
        changes DELETE_ROUTE = "DeleteRoute": Routes;
    }
    Elb "elb" {
        // The other kind is looked for too: a Service may have changed its type.
        reads DESCRIBE_CLASSIC = "DescribeLoadBalancers": Classic, Network;
        reads DESCRIBE_CLASSIC_ATTRIBUTES = "DescribeLoadBalancerAttributes": Classic;
        reads DESCRIBE_CLASSIC_TAGS = "DescribeTags": Classic, Network;
        makes CREATE_CLASSIC = "CreateLoadBalancer": Classic;
        changes DELETE_CLASSIC = "DeleteLoadBalancer": Classic, Network;
        tags ADD_CLASSIC_TAGS = "AddTags": Classic;
        changes REGISTER_INSTANCES = "RegisterInstancesWithLoadBalancer": Classic;
        changes DEREGISTER_INSTANCES = "DeregisterInstancesFromLoadBalancer": Classic;
        changes CREATE_CLASSIC_POLICY = "CreateLoadBalancerPolicy": Classic;
        changes SET_BACKEND_POLICIES = "SetLoadBalancerPoliciesForBackendServer": Classic;
        changes SET_LISTENER_CERTIFICATE = "SetLoadBalancerListenerSSLCertificate": Classic;
        changes SET_LISTENER_POLICIES = "SetLoadBalancerPoliciesOfListener": Classic;
        changes ATTACH_SUBNETS = "AttachLoadBalancerToSubnets": Classic;
        changes DETACH_SUBNETS = "DetachLoadBalancerFromSubnets": Classic;
        changes CREATE_CLASSIC_LISTENERS = "CreateLoadBalancerListeners": Classic;
        changes DELETE_CLASSIC_LISTENERS = "DeleteLoadBalancerListeners": Classic;
        changes APPLY_SECURITY_GROUPS = "ApplySecurityGroupsToLoadBalancer": Classic;
        changes CONFIGURE_HEALTH_CHECK = "ConfigureHealthCheck": Classic;
        changes MODIFY_CLASSIC_ATTRIBUTES = "ModifyLoadBalancerAttributes": Classic;
    }
    ElbV2 "elbv2" {
        reads DESCRIBE_LOAD_BALANCERS = "DescribeLoadBalancers": Classic, Network;
        reads DESCRIBE_LISTENERS = "DescribeListeners": Network;
        reads DESCRIBE_TARGET_GROUPS = "DescribeTargetGroups": Classic, Network;
        reads DESCRIBE_TARGET_HEALTH = "DescribeTargetHealth": Network;
        reads DESCRIBE_LOAD_BALANCER_ATTRIBUTES = "DescribeLoadBalancerAttributes": Network;
        reads DESCRIBE_TARGET_GROUP_ATTRIBUTES = "DescribeTargetGroupAttributes": Network;
        reads DESCRIBE_TAGS = "DescribeTags": Classic, Network;
        makes CREATE_LOAD_BALANCER = "CreateLoadBalancer": Network;
        changes DELETE_LOAD_BALANCER = "DeleteLoadBalancer": Classic, Network;
        changes SET_SECURITY_GROUPS = "SetSecurityGroups": Network;
        changes MODIFY_LOAD_BALANCER_ATTRIBUTES = "ModifyLoadBalancerAttributes": Network;
        makes CREATE_TARGET_GROUP = "CreateTargetGroup": Network;
        changes MODIFY_TARGET_GROUP = "ModifyTargetGroup": Network;
        changes MODIFY_TARGET_GROUP_ATTRIBUTES = "ModifyTargetGroupAttributes": Network;
        changes DELETE_TARGET_GROUP = "DeleteTargetGroup": Classic, Network;
        changes REGISTER_TARGETS = "RegisterTargets": Network;
        changes DEREGISTER_TARGETS = "DeregisterTargets": Network;
        makes CREATE_LISTENER = "CreateListener": Network;
        changes MODIFY_LISTENER = "ModifyListener": Network;
        changes DELETE_LISTENER = "DeleteListener": Network;
        tags ADD_TAGS = "AddTags": Network;
    }
    Sts "sts" {
        reads ASSUME_ROLE = "AssumeRole": Role;
    }
}
