//! Everything that is watched over, and what is due: cases, budgets, and the pace of telling. Pure:
//! time and nodes are handed in, and what comes out is to be asked and written by others.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::budget::{Budget, DOMAIN, Limit};
use super::case::{Case, Fate, Permit, Token};
use super::decide::{Next, Rules, Write, is_open, news, next};
use crate::cloud::{Ask, NodeName, Observation, Uid};
use crate::cluster::keys;
use crate::cluster::node::{Node, Version};
use crate::fleet::Sighting;

/// Looks fall on beats that are common to all nodes, so that they share calls. Also how often the
/// cases are gone through while there are any.
const BEAT: Duration = Duration::from_secs(1);

/// From one look at a node to the next, where there are so many that the calls would be more than one
/// a second.
const LONGEST_PERIOD: Duration = Duration::from_secs(30);

/// From one look to the next at a node that works, and on which something stands that may not hold
/// any more.
const UNHURRIED: Duration = Duration::from_secs(30);

/// Between two nodes that are told something.
const PACE: Duration = Duration::from_millis(100);

/// A Node whose deletion was accepted, and is still there, is deleted again after this time.
const DELETED_BY_THEN: Duration = Duration::from_secs(30);

/// What does not change while the process runs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Terms {
    pub(super) rules: Rules,
    /// From one look at a node that is not ready to the next.
    pub(super) period: Duration,
    /// How many deletions nobody announced may be; `None` for as many as there are.
    pub(super) limit: Option<Limit>,
    /// Nodes that one call is about.
    pub(super) batch: usize,
}

/// All cases.
#[derive(Debug)]
pub(super) struct Ward {
    terms: Terms,
    start: Instant,
    /// All nodes: for their age, and to be counted.
    nodes: HashMap<NodeName, Entry>,
    cases: HashMap<NodeName, Case>,
    domains: HashMap<Arc<str>, Domain>,
    tell_at: Instant,
}

#[derive(Debug)]
struct Entry {
    uid: Uid,
    born: Instant,
    /// `None` for a node that is not ours.
    domain: Option<Arc<str>>,
}

#[derive(Debug, Default)]
struct Domain {
    nodes: usize,
    budget: Option<Budget>,
}

/// What is to be done now.
#[derive(Debug, Default)]
pub(super) struct Plan {
    /// To be looked at.
    pub(super) looks: Vec<Arc<Node>>,
    /// To be asked about directly.
    pub(super) confirms: Vec<Arc<Node>>,
    /// To be written.
    pub(super) writes: Vec<(Arc<Node>, Write)>,
    /// Nodes whose annotation is not understood, to be told once.
    pub(super) misread: Vec<Arc<Node>>,
    /// When to plan again, if nothing happens before.
    pub(super) again: Option<Instant>,
}

/// How a write ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It was done, and made this version, if it made one.
    Done(Option<Version>),
    /// There is no such Node any more.
    Gone,
    /// It was not sent.
    NotSent,
    /// It was refused; nothing has changed.
    Refused,
    /// It may have been done or not.
    Unanswered,
}

/// What the metrics say.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Figures {
    /// Nodes that the budget holds.
    pub(super) held: usize,
    /// Tokens that can be taken.
    pub(super) left: f64,
    /// Tokens of full budgets.
    pub(super) capacity: u64,
}

impl Ward {
    pub(super) fn new(terms: Terms, now: Instant) -> Self {
        Self {
            terms,
            start: now,
            nodes: HashMap::new(),
            cases: HashMap::new(),
            domains: HashMap::new(),
            tell_at: now,
        }
    }

    /// A Node is there or has changed; `age` is how old it is if it was not known before.
    ///
    /// So the wall clock, which may jump, is looked at no more than once for each.
    pub(super) fn seen(&mut self, node: &Node, is_ours: bool, age: Duration, now: Instant) {
        if self.nodes.get(&node.name).is_some_and(|entry| entry.uid != node.uid) {
            self.gone(&node.name);
        }
        let domain = is_ours.then(|| self.domain(DOMAIN(node)));
        let entry = self.nodes.entry(node.name.clone()).or_insert_with(|| Entry {
            uid: node.uid.clone(),
            // Before the machine was started there is no time; then it is as old as the machine.
            born: now.checked_sub(age).unwrap_or(now),
            domain: None,
        });
        let before = std::mem::replace(&mut entry.domain, domain.clone());
        let born = entry.born;
        self.count(before.as_ref(), false);
        self.count(domain.as_ref(), true);
        if !is_ours || !is_open(node) {
            return self.close(&node.name);
        }
        let beat = self.beat(now);
        self.cases
            .entry(node.name.clone())
            .or_insert_with(|| Case::new(node.uid.clone(), born, beat));
    }

    fn domain(&mut self, name: &str) -> Arc<str> {
        if let Some((known, _)) = self.domains.get_key_value(name) {
            return Arc::clone(known);
        }
        let name: Arc<str> = name.into();
        let budget = self.terms.limit.map(|limit| Budget::new(limit, self.start));
        self.domains.insert(Arc::clone(&name), Domain { nodes: 0, budget });
        name
    }

    fn count(&mut self, domain: Option<&Arc<str>>, more: bool) {
        if let Some(domain) = domain.and_then(|name| self.domains.get_mut(name)) {
            domain.nodes = if more { domain.nodes + 1 } else { domain.nodes.saturating_sub(1) };
        }
    }

    /// A Node is gone.
    pub(super) fn gone(&mut self, name: &NodeName) {
        self.close(name);
        if let Some(entry) = self.nodes.remove(name) {
            self.count(entry.domain.as_ref(), false);
        }
    }

    /// There is nothing to be watched over. A token that was not used goes back.
    fn close(&mut self, name: &NodeName) {
        if self.cases.remove(name).is_some_and(|case| case.token == Token::Held)
            && let Some(budget) = budget_of(&self.nodes, &mut self.domains, name)
        {
            budget.give_back();
        }
    }

    /// The first beat after now.
    fn beat(&self, now: Instant) -> Instant {
        let since = now.saturating_duration_since(self.start).as_millis();
        let beats = since / BEAT.as_millis() + 1;
        self.start + BEAT * u32::try_from(beats).unwrap_or(u32::MAX)
    }

    /// From one look to the next at a node that is not ready: as the flag says, or longer while so
    /// many are not ready that it would be more than one call a second.
    fn period(&self) -> Duration {
        let calls = self.cases.len().div_ceil(self.terms.batch.max(1));
        let needed = BEAT * u32::try_from(calls).unwrap_or(u32::MAX);
        needed.min(LONGEST_PERIOD).max(self.terms.period)
    }

    /// What is due now. Whatever is handed out is under way until its end is told.
    pub(super) fn plan(
        &mut self,
        find: impl Fn(&NodeName) -> Option<Arc<Node>>,
        now: Instant,
    ) -> Plan {
        for domain in self.domains.values_mut() {
            let nodes = domain.nodes;
            if let Some(budget) = &mut domain.budget {
                budget.refill(nodes, now);
            }
        }
        let mut plan = Plan::default();
        let mut closed = Vec::new();
        for name in self.in_order() {
            let node = find(&name);
            let Some(case) = self.cases.get_mut(&name) else { continue };
            // Its end, or its successor, is on its way to us.
            let Some(node) = node.filter(|node| node.uid == case.uid) else { continue };
            if case.busy || waits_for_cache(case, &node) {
                continue;
            }
            if let Some(known) = news(&node, case, &self.terms.rules, now)
                && case.write_at <= now
                && self.tell_at <= now
            {
                self.tell_at = now + PACE;
                case.busy = true;
                plan.writes.push((node, Write::Tell(known)));
                continue;
            }
            match next(&node, case, &self.terms.rules, now) {
                Next::Leave => closed.push(name),
                Next::Write(write) if case.write_at <= now => {
                    case.busy = true;
                    if is_budgeted(&write) {
                        case.token = Token::Used;
                    }
                    plan.writes.push((node, write));
                }
                Next::Confirm { wants_token } if case.confirm_at <= now => {
                    let budget = budget_of(&self.nodes, &mut self.domains, &name);
                    if wants_token && !budget.is_none_or(Budget::take) {
                        hold(case, &node, now, &mut plan);
                        look_if_due(case, node, now, &mut plan);
                        continue;
                    }
                    if wants_token {
                        case.token = Token::Held;
                    }
                    case.held = None;
                    case.busy = true;
                    plan.confirms.push(node);
                }
                Next::Look | Next::Confirm { .. } => look_if_due(case, node, now, &mut plan),
                Next::Write(_) => {}
            }
        }
        for name in closed {
            self.close(&name);
        }
        plan.again = (!self.cases.is_empty()).then(|| self.again(now));
        plan
    }

    /// Those that have been gone for longest come first.
    fn in_order(&self) -> Vec<NodeName> {
        let since = |case: &Case| match case.fate {
            Fate::Suspected { first, .. } | Fate::Confirmed { first, .. } => Some(first),
            Fate::Unasked | Fate::Lives { .. } => None,
        };
        let order: BTreeSet<_> =
            self.cases.iter().map(|(name, case)| (since(case), name)).collect();
        order.into_iter().map(|(_, name)| name.clone()).collect()
    }

    fn again(&self, now: Instant) -> Instant {
        if self.tell_at > now { self.tell_at } else { self.beat(now) }
    }

    /// The cloud has answered about a node.
    pub(super) fn saw(&mut self, node: &Node, ask: Ask, sighting: &Sighting, now: Instant) {
        let period = if node.is_ready() { UNHURRIED } else { self.period() };
        let beat = self.beat(now);
        let Some(case) = self.cases.get_mut(&node.name).filter(|case| case.uid == node.uid) else {
            return;
        };
        case.busy = false;
        let wished = case.saw(ask, sighting, now);
        let pause = wished.map_or(period, |pause| pause.max(period));
        // The beat before the one after it.
        case.look_at = beat + pause.saturating_sub(BEAT);
        let confirmed = matches!(*sighting.observation, Observation::Gone(_));
        if ask == Ask::Confirm && !confirmed && case.token == Token::Held {
            case.token = Token::None;
            let budget = budget_of(&self.nodes, &mut self.domains, &node.name);
            budget.into_iter().for_each(Budget::give_back);
        }
    }

    /// Whether a write that was planned is still right, for the Node as it is now.
    pub(super) fn is_still_right(&self, node: &Node, write: &Write, now: Instant) -> bool {
        let Some(case) = self.cases.get(&node.name).filter(|case| case.uid == node.uid) else {
            return false;
        };
        match write {
            Write::Tell(known) => news(node, case, &self.terms.rules, now)
                .is_some_and(|news| news.reason == known.reason),
            _ => next(node, case, &self.terms.rules, now) == Next::Write(write.clone()),
        }
    }

    /// A write has ended. Says how often in a row it has failed.
    pub(super) fn wrote(
        &mut self,
        node: &Node,
        write: &Write,
        outcome: Outcome,
        now: Instant,
    ) -> u32 {
        let deletes = matches!(write, Write::Delete { .. });
        let unused = is_budgeted(write)
            && matches!(outcome, Outcome::Gone | Outcome::NotSent | Outcome::Refused);
        let Some(case) = self.cases.get_mut(&node.name).filter(|case| case.uid == node.uid) else {
            if unused {
                let budget = budget_of(&self.nodes, &mut self.domains, &node.name);
                budget.into_iter().for_each(Budget::give_back);
            }
            return 0;
        };
        case.busy = false;
        if is_budgeted(write) {
            case.token = if unused { Token::Held } else { Token::None };
        }
        match outcome {
            Outcome::Done(version) => {
                case.wrote(version);
                if deletes {
                    case.write_at = now + DELETED_BY_THEN;
                }
                0
            }
            Outcome::Gone | Outcome::NotSent => {
                // The watch says the rest.
                case.write_at = now + BEAT;
                0
            }
            Outcome::Refused | Outcome::Unanswered => case.not_written(now),
        }
    }

    /// What the metrics say.
    pub(super) fn figures(&self) -> Figures {
        let budgets = self.domains.values().filter_map(|domain| domain.budget.as_ref());
        let mut figures = Figures {
            held: self.cases.values().filter(|case| case.held.is_some()).count(),
            ..Figures::default()
        };
        for budget in budgets {
            figures.left += budget.left();
            figures.capacity += budget.capacity();
        }
        figures
    }

    /// What is known of a node, for tests.
    #[cfg(test)]
    pub(super) fn case(&self, name: &NodeName) -> Option<&Case> {
        self.cases.get(name)
    }
}

/// The budget that a node is counted in; `None` where there is no limit.
fn budget_of<'a>(
    nodes: &HashMap<NodeName, Entry>,
    domains: &'a mut HashMap<Arc<str>, Domain>,
    name: &NodeName,
) -> Option<&'a mut Budget> {
    domains.get_mut(nodes.get(name)?.domain.as_ref()?)?.budget.as_mut()
}

/// Whether the write costs a token.
fn is_budgeted(write: &Write) -> bool {
    matches!(write, Write::Delete { permit: Permit::Budget, .. })
}

/// Whether our last write has not come back yet.
fn waits_for_cache(case: &mut Case, node: &Node) -> bool {
    let waits = case.written.as_ref().is_some_and(|written| node.version.is_older_than(written));
    if !waits {
        case.written = None;
    }
    waits
}

/// The budget has nothing left for it.
fn hold(case: &mut Case, node: &Arc<Node>, now: Instant, plan: &mut Plan) {
    case.held.get_or_insert(now);
    // Had it been right, the node would not be held.
    let given = node.annotations.get(keys::ALLOW_DELETION);
    if given != case.misread.as_deref() {
        case.misread = given.map(Into::into);
        if given.is_some() {
            plan.misread.push(Arc::clone(node));
        }
    }
}

fn look_if_due(case: &mut Case, node: Arc<Node>, now: Instant, plan: &mut Plan) {
    if case.look_at <= now {
        case.busy = true;
        plan.looks.push(node);
    }
}
