//! Plans, on a cloud that is a value.

mod adoption;
mod changes;
mod model;
mod namesakes;
mod properties;
mod refusals;

use ccm_core::cloud::{LoadBalancerSpec, Plan, Report, Verdict, World};

use super::super::super::AwsLoadBalancers;
use super::super::super::change::AwsChange;
use model::Cloud;

fn lines(plan: &Plan<AwsChange>) -> Vec<Vec<String>> {
    let line = |stage: &Vec<ccm_core::cloud::Step<AwsChange>>| {
        stage.iter().map(|step| step.change.to_string()).collect()
    };
    plan.stages.iter().map(line).collect()
}

fn report(plan: &Plan<AwsChange>) -> &Report {
    &plan.reports[0]
}

/// What has to be done, all in one list.
fn steps(cloud: &Cloud, at: &AwsLoadBalancers, world: &World<LoadBalancerSpec>) -> Vec<String> {
    lines(&cloud.plan(at, world)).concat()
}

/// The reasons of all notes.
fn notes(plan: &Plan<AwsChange>) -> Vec<&'static str> {
    report(plan).notes.iter().map(|note| note.reason).collect()
}

fn refusal(plan: &Plan<AwsChange>) -> &ccm_core::cloud::CloudError {
    match &report(plan).verdict {
        Verdict::Refused(err) => err,
        other => panic!("{other:?}"),
    }
}
