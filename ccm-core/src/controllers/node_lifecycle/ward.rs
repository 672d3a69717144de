//! Everything that is watched over, and what is due: cases, budgets, and the pace of telling. Pure:
//! time and nodes are handed in, and what comes out is to be asked and written by others.

use std::collections::{BTreeSet, HashMap, HashSet};
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

/// The same, where nobody knows whether it was accepted.
const PERHAPS_DELETED_BY_THEN: Duration = Duration::from_secs(5);

/// A node that could not be told something is told again after this time.
const TELL_AGAIN: Duration = Duration::from_secs(30);

/// Direct questions under way at once. Some clouds answer them one by one, and each has its deadline.
const MOST_ASKED: usize = 200;

/// Between two looks at budgets that fill while there is nothing else to do.
const IDLE: Duration = Duration::from_secs(10);

/// What does not change while the process runs.
#[derive(Clone, Copy, Debug)]
pub(in crate::controllers) struct Terms {
    pub(in crate::controllers) rules: Rules,
    /// From one look at a node that is not ready to the next.
    pub(in crate::controllers) period: Duration,
    /// How many deletions nobody announced may be; `None` for as many as there are.
    pub(in crate::controllers) limit: Option<Limit>,
    /// Nodes that one call is about.
    pub(in crate::controllers) batch: usize,
}

/// All cases.
#[derive(Debug)]
pub(in crate::controllers) struct Ward {
    terms: Terms,
    start: Instant,
    /// All nodes: for their age, and to be counted.
    nodes: HashMap<NodeName, Entry>,
    cases: HashMap<NodeName, Case>,
    /// Nodes about which a question or a write is under way. Not a matter of the case: one that was
    /// closed and opened again meanwhile must not take the end of the old thing for that of a new one.
    under_way: HashSet<Uid>,
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
pub(in crate::controllers) struct Plan {
    /// To be looked at.
    pub(in crate::controllers) looks: Vec<Arc<Node>>,
    /// To be asked about directly.
    pub(in crate::controllers) confirms: Vec<Arc<Node>>,
    /// To be written.
    pub(in crate::controllers) writes: Vec<(Arc<Node>, Write)>,
    /// Nodes whose annotation is not understood, to be told once.
    pub(in crate::controllers) misread: Vec<Arc<Node>>,
    /// When to plan again, if nothing happens before.
    pub(in crate::controllers) again: Option<Instant>,
}

/// How a write ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::controllers) enum Outcome {
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
pub(in crate::controllers) struct Figures {
    /// Nodes that are watched over.
    pub(in crate::controllers) open: usize,
    /// Nodes that the budget holds.
    pub(in crate::controllers) held: usize,
    /// Tokens that can be taken.
    pub(in crate::controllers) left: f64,
    /// Tokens of full budgets.
    pub(in crate::controllers) capacity: u64,
}

impl Ward {
    pub(in crate::controllers) fn new(terms: Terms, now: Instant) -> Self {
        Self {
            terms,
            start: now,
            nodes: HashMap::new(),
            cases: HashMap::new(),
            under_way: HashSet::new(),
            domains: HashMap::new(),
            tell_at: now,
        }
    }

    /// A Node is there or has changed; `age` is how old it is if it was not known before.
    ///
    /// So the wall clock, which may jump, is looked at no more than once for each.
    pub(in crate::controllers) fn seen(
        &mut self,
        node: &Node,
        is_ours: bool,
        age: Duration,
        now: Instant,
    ) {
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
        let case = self
            .cases
            .entry(node.name.clone())
            .or_insert_with(|| Case::new(node.uid.clone(), born, beat));
        let was_ready = std::mem::replace(&mut case.is_ready, node.is_ready());
        let came_back = node.is_ready() && !was_ready;
        if came_back {
            // It is watched over for what stands on it. What the cloud said before is of the past.
            let token = case.begin_anew(beat);
            if token == Token::Held {
                let budget = budget_of(&self.nodes, &mut self.domains, &node.name);
                budget.into_iter().for_each(Budget::give_back);
            }
        }
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
    pub(in crate::controllers) fn gone(&mut self, name: &NodeName) {
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
    pub(in crate::controllers) fn plan(
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
        // Domains in which a token may come back in a moment: nobody is told yet that there is none.
        let asking = |case: &Case| case.token == Token::Held && self.under_way.contains(&case.uid);
        let asked_now = self.cases.iter().filter(|(_, case)| asking(case)).map(|(name, _)| name);
        let mut lent: HashSet<_> =
            asked_now.filter_map(|name| domain_of(&self.nodes, name)).collect();
        let mut asking = self.cases.values().filter(|case| case.confirming).count();
        for name in self.in_order() {
            let node = find(&name);
            let Some(case) = self.cases.get_mut(&name) else { continue };
            // Its end, or its successor, is on its way to us.
            let Some(node) = node.filter(|node| node.uid == case.uid) else { continue };
            let is_busy = self.under_way.contains(&case.uid);
            if is_busy || case.deleted_until > now || waits_for_cache(case, &node) {
                continue;
            }
            let action = next(&node, case, &self.terms.rules, now);
            if let Next::Write(write) = &action
                && is_due(case, write, now)
            {
                if is_budgeted(write) {
                    case.token = Token::Used;
                }
                plan.writes.push((node, write.clone()));
                continue;
            }
            if case.tell_at <= now
                && self.tell_at <= now
                && let Some(known) = news(&node, case, &self.terms.rules, now)
            {
                self.tell_at = now + PACE;
                plan.writes.push((node, Write::Tell(known)));
                continue;
            }
            match action {
                Next::Leave => closed.push(name),
                Next::Confirm { wants_token }
                    if case.confirm_at <= now && case.write_at <= now && asking < MOST_ASKED =>
                {
                    let budget = budget_of(&self.nodes, &mut self.domains, &name);
                    if wants_token && !budget.is_none_or(Budget::take) {
                        if domain_of(&self.nodes, &name)
                            .is_none_or(|domain| !lent.contains(&domain))
                        {
                            hold(case, &node, now, &mut plan);
                        }
                        look_if_due(case, node, now, &mut plan);
                        continue;
                    }
                    if wants_token {
                        case.token = Token::Held;
                        lent.extend(domain_of(&self.nodes, &name));
                    }
                    asking += 1;
                    case.held = None;
                    case.confirming = true;
                    plan.confirms.push(node);
                }
                // What the API server does not take may not be right any more by the time it does.
                Next::Look | Next::Confirm { .. } | Next::Write(_) => {
                    look_if_due(case, node, now, &mut plan);
                }
            }
        }
        for name in closed {
            self.close(&name);
        }
        let written = plan.writes.iter().map(|(node, _)| node);
        let begun = plan.looks.iter().chain(&plan.confirms).chain(written);
        self.under_way.extend(begun.map(|node| node.uid.clone()));
        plan.again = self.again(now);
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

    fn again(&self, now: Instant) -> Option<Instant> {
        if !self.cases.is_empty() {
            return Some(if self.tell_at > now { self.tell_at } else { self.beat(now) });
        }
        // So that the metric does not stop at what it was when the last case was closed.
        let mut budgets = self.domains.values().filter_map(|domain| domain.budget.as_ref());
        budgets.any(|budget| !budget.is_full()).then(|| now + IDLE)
    }

    /// The cloud has answered about a node.
    pub(in crate::controllers) fn saw(
        &mut self,
        node: &Node,
        ask: Ask,
        sighting: &Sighting,
        now: Instant,
    ) {
        let period = if node.is_ready() { UNHURRIED } else { self.period() };
        let beat = self.beat(now);
        self.under_way.remove(&node.uid);
        let Some(case) = self.cases.get_mut(&node.name).filter(|case| case.uid == node.uid) else {
            return;
        };
        case.confirming = false;
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
    pub(in crate::controllers) fn is_still_right(
        &self,
        node: &Node,
        write: &Write,
        now: Instant,
    ) -> bool {
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
    pub(in crate::controllers) fn wrote(
        &mut self,
        node: &Node,
        write: &Write,
        outcome: Outcome,
        now: Instant,
    ) -> u32 {
        self.under_way.remove(&node.uid);
        let deletes = matches!(write, Write::Delete { .. });
        let unused = is_budgeted(write)
            && matches!(outcome, Outcome::Gone | Outcome::NotSent | Outcome::Refused);
        let mut case = self.cases.get_mut(&node.name).filter(|case| case.uid == node.uid);
        if is_budgeted(write) {
            // A case that was closed and opened again meanwhile knows nothing of this token.
            let owner = case.as_mut().filter(|case| case.token == Token::Used);
            let budget = self.domains.get_mut(DOMAIN(node)).and_then(|it| it.budget.as_mut());
            match (unused, owner) {
                (true, Some(case)) => case.token = Token::Held,
                (true, None) => budget.into_iter().for_each(Budget::give_back),
                (false, owner) => {
                    if let Some(budget) = budget {
                        budget.spend(now);
                    }
                    if let Some(case) = owner {
                        case.token = Token::None;
                    }
                }
            }
        }
        let Some(case) = case else { return 0 };
        match outcome {
            Outcome::Done(version) => {
                case.wrote(version);
                if deletes {
                    case.deleted_until = now + DELETED_BY_THEN;
                }
                0
            }
            Outcome::Refused | Outcome::Unanswered if matches!(write, Write::Tell(_)) => {
                case.tell_at = now + TELL_AGAIN;
                0
            }
            Outcome::Unanswered if deletes => {
                case.deleted_until = now + PERHAPS_DELETED_BY_THEN;
                case.not_written(now)
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
    pub(in crate::controllers) fn figures(&self) -> Figures {
        let budgets = self.domains.values().filter_map(|domain| domain.budget.as_ref());
        let mut figures = Figures {
            open: self.cases.len(),
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
    pub(in crate::controllers) fn case(&self, name: &NodeName) -> Option<&Case> {
        self.cases.get(name)
    }
}

/// The budget that a node is counted in; `None` where there is no limit.
fn budget_of<'a>(
    nodes: &HashMap<NodeName, Entry>,
    domains: &'a mut HashMap<Arc<str>, Domain>,
    name: &NodeName,
) -> Option<&'a mut Budget> {
    domains.get_mut(&domain_of(nodes, name)?)?.budget.as_mut()
}

fn domain_of(nodes: &HashMap<NodeName, Entry>, name: &NodeName) -> Option<Arc<str>> {
    nodes.get(name)?.domain.clone()
}

/// Whether the time for a write has come. Whether a machine is still stopped is looked at first, if it
/// was not for long.
fn is_due(case: &Case, write: &Write, now: Instant) -> bool {
    case.write_at <= now && !(*write == Write::AddTaint && case.look_at <= now)
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
    case.hold(now);
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
        plan.looks.push(node);
    }
}

#[cfg(test)]
mod tests;
