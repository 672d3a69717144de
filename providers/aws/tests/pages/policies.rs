//! The IAM policies, by the part of the program that needs them.

use std::collections::BTreeSet;
use std::fmt::Write;

use ccm_provider_aws::actions::{ALL, Action, Guard, User};
use serde_json::{Value, json};

use crate::book;

/// What stands for the cluster's ID in policies.
const CLUSTER: &str = "CLUSTER";

/// What stands for the ID of its VPC.
const VPC: &str = "VPC";

/// A part of the program that can be left out, with what it is called in the book.
pub(crate) const PARTS: [(&str, &str, &[User]); 8] = [
    (
        "Nodes",
        "Always. At the start it looks up its own machine, unless the configuration says where the \
         cluster is.",
        &[User::Start, User::Nodes],
    ),
    ("Nodes on Fargate", "Where pods run on Fargate.", &[User::Fargate]),
    ("Classic Load Balancers", "The controller `service`.", &[User::Classic]),
    ("Network Load Balancers", "The controller `service`.", &[User::Network]),
    ("Routes", "The controller `route`, with `--configure-cloud-routes`.", &[User::Routes]),
    ("Volumes", "The controller `cloud-volume`.", &[User::Volumes]),
    (
        "The role that assumes another",
        "Where the configuration has a `RoleARN`: for the program's own role, the others for that which it \
         assumes. `Resource` is better the role's ARN.",
        &[User::Role],
    ),
    ("All of them", "What one policy for everything holds.", &[]),
];

/// What needs a tag, and how some of it gets one.
const BEFORE: &str = r#"
## What was there before

The cluster's tag, or a statement without the condition, is needed by

- a node's security group, for `AuthorizeSecurityGroupIngress` and `RevokeSecurityGroupIngress`;
- a route table that the configuration names with `RouteTableID`, for the routes' actions;
- a load balancer or a security group of the cluster's that has lost its tag: only who may tag anything can give it back;
- a target group or a listener of a Network Load Balancer that an older Go program made without tags. It is taken over and serves on,
  but it cannot be changed: no node is registered with such a target group, or taken out of it.

These commands, by somebody who may tag anything, print those that tag such target groups and listeners. Look at what they print, and
run it:

```sh
key=kubernetes.io/cluster/CLUSTER
tags() {
  aws elbv2 describe-tags --resource-arns "$1" --query "TagDescriptions[0].Tags[?$2].$3" --output text
}
for balancer in $(aws elbv2 describe-load-balancers \
  --query "LoadBalancers[?Type=='network'].LoadBalancerArn" --output text)
do
  [ -n "$(tags "$balancer" "Key=='$key'" Key)" ] || continue
  service=$(tags "$balancer" "Key=='kubernetes.io/service-name'" Value)
  [ -n "$service" ] || continue
  for arn in \
    $(aws elbv2 describe-target-groups --load-balancer-arn "$balancer" \
      --query "TargetGroups[?starts_with(TargetGroupName, 'k8s-')].TargetGroupArn" --output text) \
    $(aws elbv2 describe-listeners --load-balancer-arn "$balancer" \
      --query "Listeners[].ListenerArn" --output text)
  do
    [ -n "$(tags "$arn" "starts_with(Key, 'kubernetes.io/')" Key)" ] ||
      echo aws elbv2 add-tags --resource-arns "$arn" \
        --tags "Key=$key,Value=owned" "Key=kubernetes.io/service-name,Value=$service"
  done
done
```

Both tags are needed: a target group with the cluster's tag and no Service's counts as somebody else's, and is left alone.
"#;

#[test]
fn policies() {
    let mut page = "# IAM policies for AWS\n\
         \n\
         <!-- Generated from the declaration of the API actions that the provider calls. -->\n\
         \n\
         What the program may do, by the part that needs it. The policies grant what is called and nothing \
         else: a test holds the declaration against the calls of a whole run. Put the cluster's ID in the \
         place of `CLUSTER`; it is the end of the tag key `kubernetes.io/cluster/<id>`. `VPC` is the ID of the \
         cluster's VPC.\n\
         \n\
         Every creation sends the cluster's tag in the same request, so that a policy may ask for it; and \
         tags go to what is being made and to what has the cluster's tag, so that nothing else can be made \
         the cluster's. [What was there before](#what-was-there-before) needs the tag too.\n\
         \n\
         Network interfaces do not get their instance's tags, so that `ModifyNetworkInterfaceAttribute`, which \
         nodes with several interfaces need for routes, is bound to the VPC. `ModifyInstanceAttribute`, with which the \
         source/destination check is switched off for routes, lets every attribute of the cluster's instances be \
         changed, their user data among them: AWS has a condition key for the attribute, `ec2:Attribute`; with which \
         values it works has not been tried here. With `--configure-cloud-routes=false` the right is \
         not needed. The first load balancer in an account needs \
         `iam:CreateServiceLinkedRole` once, by whomever. A cluster that bears the older tag \
         `KubernetesCluster` may put that key and `CLUSTER` into the conditions instead.\n\
         \n\
         The conditions are written after AWS' [reference](https://docs.aws.amazon.com/service-authorization/latest/reference/reference_policies_actions-resources-contextkeys.html) \
         and have not been [proved](aws-proof.md) against AWS itself.\n"
        .to_owned();
    page += BEFORE;
    for (title, when, users) in PARTS {
        let is_used = |action: &&Action| {
            let is_all = users.is_empty() && action.users != [User::Role];
            is_all || action.users.iter().any(|user| users.contains(user))
        };
        let actions: Vec<_> = ALL.iter().filter(is_used).collect();
        let policy = serde_json::to_string_pretty(&policy(&actions)).unwrap();
        write!(page, "\n## {title}\n\n{when}\n\n```json\n{policy}\n```\n").unwrap();
    }
    book::holds("reference/aws-iam.md", &page);
}

/// A statement of a policy, if it grants anything.
fn statement(sid: &str, actions: &[String], resource: &Value, condition: Value) -> Option<Value> {
    let mut statement = json!({
        "Sid": sid,
        "Effect": "Allow",
        "Action": actions,
        "Resource": resource,
    });
    if !condition.is_null() {
        statement["Condition"] = condition;
    }
    (!actions.is_empty()).then_some(statement)
}

fn policy(actions: &[&Action]) -> Value {
    let tag = format!("kubernetes.io/cluster/{CLUSTER}");
    let with = |guard: Guard, prefix: &str| -> Vec<String> {
        let fits = actions.iter().filter(|it| it.guard == guard && it.api.prefix() == prefix);
        let names: BTreeSet<_> = fits.map(|it| format!("{prefix}:{}", it.name)).collect();
        names.into_iter().collect()
    };
    let all = |guard| [with(guard, "ec2"), with(guard, "elasticloadbalancing")].concat();
    let looks = [all(Guard::Anything), with(Guard::Anything, "sts")].concat();

    let created = all(Guard::TagOfRequest);
    let group: Vec<_> = created.iter().filter(|it| it.starts_with("ec2:")).cloned().collect();
    let request_tag = json!({"StringEquals": {format!("aws:RequestTag/{tag}"): "owned"}});
    let has_tag = json!({"Null": {format!("aws:ResourceTag/{tag}"): "false"}});
    // As the API spells those that make something of this policy's.
    let by = |prefix: &str| {
        let made = with(Guard::TagOfRequest, prefix);
        let made: Vec<_> = made.iter().filter_map(|it| it.split(':').nth(1)).collect();
        json!({"StringEquals": {format!("{prefix}:CreateAction"): made}})
    };
    let groups = json!("arn:*:ec2:*:*:security-group/*");
    let balancers = json!([
        "arn:*:elasticloadbalancing:*:*:loadbalancer/*",
        "arn:*:elasticloadbalancing:*:*:targetgroup/*",
        "arn:*:elasticloadbalancing:*:*:listener/*",
    ]);
    let [tags, tags_of_balancers] =
        ["ec2", "elasticloadbalancing"].map(|prefix| with(Guard::TagsOfOwn, prefix));
    let interfaces = json!("arn:*:ec2:*:*:network-interface/*");
    let in_vpc = json!({"ArnLike": {"ec2:Vpc": format!("arn:*:ec2:*:*:vpc/{VPC}")}});
    let (any, vpc) = (json!("*"), json!(format!("arn:*:ec2:*:*:vpc/{VPC}")));
    let statements = [
        statement("Look", &looks, &any, Value::Null),
        statement("MakeWithTheClustersTag", &created, &any, request_tag),
        statement("MakeGroupsInTheVpc", &group, &vpc, Value::Null),
        statement("TagNewGroups", &tags, &groups, by("ec2")),
        statement("TagTheClustersGroups", &tags, &groups, has_tag.clone()),
        statement(
            "TagNewLoadBalancers",
            &tags_of_balancers,
            &balancers,
            by("elasticloadbalancing"),
        ),
        statement("TagTheClustersLoadBalancers", &tags_of_balancers, &balancers, has_tag.clone()),
        statement("ChangeTheClustersOwn", &all(Guard::TagOfResource), &any, has_tag),
        statement("ChangeInterfacesInTheVpc", &all(Guard::Vpc), &interfaces, in_vpc),
    ];
    let statements: Vec<_> = statements.into_iter().flatten().collect();
    json!({"Version": "2012-10-17", "Statement": statements})
}

#[test]
fn every_action_has_a_user_and_stands_once() {
    let mut seen = BTreeSet::new();
    for action in ALL {
        assert!(!action.users.is_empty(), "{action:?}");
        assert!(seen.insert((action.api, action.name)), "{} stands twice", action.name);
        let reads = action.name.starts_with("Describe") || action.name == "AssumeRole";
        assert_eq!(action.mutates, !reads, "{action:?}");
    }
}
