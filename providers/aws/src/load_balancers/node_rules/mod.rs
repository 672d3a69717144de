//! Rules of the nodes' security groups, which all load balancers share.

use std::collections::BTreeSet;
use std::fmt;

use ccm_core::cloud::Effect;

use super::groups::lines;
use crate::client::groups::{Rule, SecurityGroup};

/// What was seen.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    pub(crate) groups: Vec<SecurityGroup>,
}

/// A change of one group's rules for one load balancer.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct RuleChange {
    /// `sg-…`.
    pub(crate) group: String,
    /// The load balancer's name. Empty: of all of them.
    pub(crate) balancer: String,
    pub(crate) what: Verb,
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
        match self.what {
            Verb::Authorize => Effect::Create,
            Verb::Revoke => Effect::Delete,
        }
    }
}

impl fmt::Display for RuleChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { group, balancer, what, rules } = self;
        let verb = match what {
            Verb::Authorize => "allow",
            Verb::Revoke => "revoke",
        };
        write!(f, "{verb} in the nodes' security group {group} for {balancer}: {}", lines(rules))
    }
}
