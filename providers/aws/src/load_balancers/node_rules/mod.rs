//! Rules of the nodes' security groups: one unit that all load balancers share.
//!
//! A Network Load Balancer's traffic comes to the nodes from its clients' addresses, and its health
//! checks from its subnets; each rule says in its description whose it is. A Classic Load Balancer's
//! comes from its own security group. One more rule, which all Network Load Balancers share, lets
//! senders learn that their packets are too large.
//!
//! The rules are the Go program's, to the description, so that what it left needs no change. What is
//! different is who looks after them: it changed the rules of one load balancer at a time and
//! could take away what another one needed.

mod claim;
mod observe;
mod plan;
#[cfg(test)]
mod tests;

pub(crate) use self::claim::Place;
pub(crate) use self::observe::{Balancers, Seen, observe};
pub(crate) use self::plan::plan;

use std::collections::BTreeSet;
use std::fmt;

use ccm_core::cloud::{CloudError, Effect, Write};

use super::groups::lines;
use crate::client::Client;
use crate::client::groups::Rule;

/// Before the load balancer's name in a rule for its clients.
const CLIENT: &str = "kubernetes.io/rule/nlb/client=";
/// Before the load balancer's name in a rule for its health checks.
const HEALTH: &str = "kubernetes.io/rule/nlb/health=";
/// The rule that all Network Load Balancers share.
const MTU: &str = "kubernetes.io/rule/nlb/mtu";

/// A change of one group's rules for one load balancer.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct RuleChange {
    /// `sg-…`.
    pub(crate) group: String,
    /// The load balancer's name.
    pub(crate) balancer: String,
    pub(crate) verb: Verb,
    pub(crate) rules: BTreeSet<Rule>,
}

/// What is done with rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Verb {
    Authorize,
    Revoke,
}

impl RuleChange {
    pub(crate) fn effect(&self) -> Effect {
        match self.verb {
            Verb::Authorize => Effect::Create,
            Verb::Revoke => Effect::Delete,
        }
    }
}

impl fmt::Display for RuleChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { group, balancer, verb, rules } = self;
        let verb = match verb {
            Verb::Authorize => "allow",
            Verb::Revoke => "revoke",
        };
        write!(f, "{verb} in the nodes' security group {group} for {balancer}: {}", lines(rules))
    }
}

/// Sends a change.
pub(crate) async fn apply(
    client: &Client,
    cx: &Write,
    change: &RuleChange,
) -> Result<(), CloudError> {
    match change.verb {
        Verb::Authorize => client.authorize(cx, &change.group, &change.rules).await,
        Verb::Revoke => client.revoke(cx, &change.group, &change.rules).await,
    }
}
