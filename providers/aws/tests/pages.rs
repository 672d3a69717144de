//! Pages of the book that follow from the provider's declarations. `CCM_BLESS=1` writes them.

#![allow(clippy::unwrap_used, reason = "this is a test")]

use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::Path;

use ccm_core::cloud::annotations::reference;
use ccm_provider_aws::actions::{ALL, Action, Guard, User};
use ccm_provider_aws::registration;
use serde_json::{Value, json};

/// What stands for the cluster's ID in policies.
const CLUSTER: &str = "CLUSTER";

fn holds(page: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/src/reference").join(page);
    if std::env::var_os("CCM_BLESS").is_some() {
        std::fs::write(&path, text).unwrap();
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        found == text,
        "{page} is stale: run `CCM_BLESS=1 cargo test -p ccm-provider-aws --test pages`"
    );
}

#[test]
fn annotations() {
    let page = format!(
        "# Annotations of AWS\n\
         \n\
         <!-- Generated from the provider's declaration. -->\n\
         \n\
         What `--cloud-provider=aws` reads of an object's annotations. The keys, values and defaults are \
         those of the Go AWS cloud-controller-manager; [From the Go AWS \
         CCM](../how-to/from-go-aws.md) says where a value means more or less here. A value that is not \
         accepted is told on the object, all of them at once, and what the object has stays as it is. \
         Kubernetes' own `service.beta.kubernetes.io/load-balancer-source-ranges` is read for every \
         provider.\n\
         \n\
         {}",
        reference("Services of type LoadBalancer", &registration().service_annotations)
    );
    holds("annotations-aws.md", &page);
}

/// A part of the program that can be left out, with what it is called in the book.
const PARTS: [(&str, &str, &[User]); 8] = [
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
    ("Volumes", "The controller `volume`.", &[User::Volumes]),
    (
        "The role that assumes another",
        "Where the configuration has a `RoleARN`: for the program's own role, the others for that which it \
         assumes. `Resource` is better the role's ARN.",
        &[User::Role],
    ),
    ("All of them", "What one policy for everything holds.", &[]),
];

#[test]
fn policies() {
    let mut page = "# IAM policies for AWS\n\
         \n\
         <!-- Generated from the declaration of the API actions that the provider calls. -->\n\
         \n\
         What the program may do, by the part that needs it. The policies grant what is called and nothing \
         else: a test holds the declaration against the calls of a whole run. Put the cluster's ID in the \
         place of `CLUSTER`; it is the end of the tag key `kubernetes.io/cluster/<id>`.\n\
         \n\
         Every creation sends the cluster's tag in the same request, so that a policy may ask for it. Where \
         a node's only security group does not bear the cluster's tag, tag it, or leave the condition of \
         `AuthorizeSecurityGroupIngress` and `RevokeSecurityGroupIngress` away. The first load balancer in an account needs \
         `iam:CreateServiceLinkedRole` once, by whomever. A cluster that bears the older tag \
         `KubernetesCluster` may put that key and `CLUSTER` into the conditions instead.\n"
        .to_owned();
    for (title, when, users) in PARTS {
        let is_used = |action: &&Action| {
            let is_all = users.is_empty() && action.users != [User::Role];
            is_all || action.users.iter().any(|user| users.contains(user))
        };
        let actions: Vec<_> = ALL.iter().filter(is_used).collect();
        let policy = serde_json::to_string_pretty(&policy(&actions)).unwrap();
        write!(page, "\n## {title}\n\n{when}\n\n```json\n{policy}\n```\n").unwrap();
    }
    holds("aws-iam.md", &page);
}

fn policy(actions: &[&Action]) -> Value {
    let tag = format!("kubernetes.io/cluster/{CLUSTER}");
    let with = |guard: Guard| -> BTreeSet<String> {
        let is_so = |action: &&&Action| action.guard() == guard;
        let name = |action: &&Action| format!("{}:{}", action.api.prefix(), action.name);
        actions.iter().filter(is_so).map(name).collect()
    };
    let mut statements = vec![json!({
        "Sid": "Look",
        "Effect": "Allow",
        "Action": with(Guard::Anything),
        "Resource": "*",
    })];
    let mut add = |sid: &str, actions: BTreeSet<String>, resource: Value, condition: Value| {
        if actions.is_empty() {
            return;
        }
        let mut statement = json!({
            "Sid": sid,
            "Effect": "Allow",
            "Action": actions,
            "Resource": resource,
        });
        if !condition.is_null() {
            statement["Condition"] = condition;
        }
        statements.push(statement);
    };
    let created = with(Guard::TagOfRequest);
    let makes_groups = created.contains("ec2:CreateSecurityGroup");
    let request_tag = json!({"StringEquals": {format!("aws:RequestTag/{tag}"): "owned"}});
    add("MakeWithTheClustersTag", created, json!("*"), request_tag);
    if makes_groups {
        let group = BTreeSet::from(["ec2:CreateSecurityGroup".to_owned()]);
        add("MakeGroupsInAnyVpc", group, json!("arn:*:ec2:*:*:vpc/*"), Value::Null);
    }
    let has_tag = json!({"Null": {format!("aws:ResourceTag/{tag}"): "false"}});
    add("ChangeTheClustersOwn", with(Guard::TagOfResource), json!("*"), has_tag);
    let tags = with(Guard::TagsOfCreation);
    let (groups, balancers): (BTreeSet<_>, BTreeSet<_>) =
        tags.into_iter().partition(|action| action.starts_with("ec2:"));
    add("TagGroups", groups, json!("arn:*:ec2:*:*:security-group/*"), Value::Null);
    let resources = json!([
        "arn:*:elasticloadbalancing:*:*:loadbalancer/*",
        "arn:*:elasticloadbalancing:*:*:targetgroup/*",
        "arn:*:elasticloadbalancing:*:*:listener/*",
    ]);
    add("TagLoadBalancers", balancers, resources, Value::Null);
    json!({"Version": "2012-10-17", "Statement": statements})
}

/// Another program's policy is a subset in one respect only: what it lacked is said in the book.
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
