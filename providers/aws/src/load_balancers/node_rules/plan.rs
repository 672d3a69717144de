//! What has to change in the rules. Pure.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use ccm_core::cloud::LoadBalancerSpec;
use ccm_core::cloud::{Holds, Later, ObjectId, Plan, Report, Step, Verdict, World};

use super::super::annotations::Kind;
use super::super::change::AwsChange;
use super::super::groups;
use super::claim::{Claim, Place, Stance};
use super::observe::Seen;
use super::{CLIENT, MTU, RuleChange, Verb};
use crate::client::groups::{Peer, Rule, SecurityGroup, Traffic};
use crate::client::kept::LAG;

/// Plans what the nodes' security groups need.
pub(crate) fn plan(
    place: &Place<'_>,
    world: &World<LoadBalancerSpec>,
    seen: &Seen,
) -> Plan<AwsChange> {
    if place.config.keeps_off_node_groups {
        // Nothing here is anybody's.
        let reports =
            world.wants.iter().map(|want| Report::new(want.id(), Holds::Nothing, Verdict::Done));
        return Plan { reports: reports.collect(), ..Plan::default() };
    }
    let claims: Vec<_> = world.wants.iter().map(|want| Claim::of(place, want, seen)).collect();
    let strict = strict(place, &claims, seen);
    let mut draft = Draft::default();
    for group in &seen.groups {
        draft.group(place, &claims, &strict, group);
    }
    let reports = claims.iter().map(|claim| draft.report(claim)).collect();
    let is_unseen =
        |claim: &Claim<'_>| matches!(claim.stance, Stance::Keeps { is_unseen: true, .. });
    let later = claims.iter().any(is_unseen).then(|| {
        let waits_for = "load balancers to be seen that were just made".to_owned();
        Later { waits_for, look_again: LAG }
    });
    let stage = |changes: Vec<(Vec<ObjectId>, RuleChange)>| -> Vec<_> {
        changes
            .into_iter()
            .map(|(wanted_by, change)| Step { wanted_by, ..Step::new(AwsChange::Rules(change)) })
            .collect()
    };
    let stages = [stage(draft.room), stage(draft.authorize), stage(draft.revoke)];
    let stages = stages.into_iter().filter(|stage| !stage.is_empty()).collect();
    Plan { stages, later: later.into_iter().collect(), reports }
}

/// Load balancers that have rules which the Go program would leave, though nothing needs them, or lack one
/// that it would not make: whether that is put right depends on more than the rules.
pub(super) fn left_to_others(
    place: &Place<'_>,
    claims: &[Claim<'_>],
    seen: &Seen,
) -> BTreeSet<String> {
    let has_soft = |claim: &&Claim<'_>| {
        let Stance::Wants { rules, .. } = &claim.stance else { return false };
        seen.groups.iter().any(|group| {
            if place.is_operators(&group.id) {
                return group.ingress.iter().any(|rule| claim.is_in_the_way(rule));
            }
            let wanted = rules.get(&group.id);
            let is_soft =
                |rule: &Rule| claim.has(rule) && !is_wanted(wanted, rule) && claim.leaves(rule);
            let there = group.ingress.iter().map(|rule| (bare(rule), rule)).collect();
            group.ingress.iter().any(is_soft) || !claim.lacks_path_mtu(group, &there).is_empty()
        })
    };
    claims.iter().filter(has_soft).map(|claim| claim.balancer.clone()).collect()
}

/// Load balancers whose rules are put right even where the Go program would leave them: those that we
/// have made or changed, and those whose rules change anyhow.
fn strict<'a>(place: &Place<'_>, claims: &'a [Claim<'_>], seen: &Seen) -> BTreeSet<&'a str> {
    let mut draft = Draft::default();
    let nobody = BTreeSet::new();
    for group in &seen.groups {
        draft.group(place, claims, &nobody, group);
    }
    let changed: BTreeSet<_> = [&draft.room, &draft.authorize, &draft.revoke]
        .into_iter()
        .flatten()
        .map(|(_, change)| change.balancer.as_str())
        .collect();
    let is_strict = |name: &&str| seen.managed.contains(*name) || changed.contains(*name);
    claims.iter().map(|claim| claim.balancer.as_str()).filter(is_strict).collect()
}

fn is_wanted(wanted: Option<&BTreeSet<Rule>>, rule: &Rule) -> bool {
    wanted.is_some_and(|wanted| wanted.iter().any(|it| it.bare() == rule.bare()))
}

impl Claim<'_> {
    /// Whether the Go program leaves such a rule of this Service where nothing needs it.
    fn leaves(&self, rule: &Rule) -> bool {
        let Stance::Wants { skips_health, kind, .. } = &self.stance else { return false };
        match kind {
            Kind::Network => self.is_reference(rule) || (*skips_health && self.is_health(rule)),
            // A group of its own that it does not have any more stays too, and what names it.
            Kind::Classic | Kind::Unheard | Kind::Elsewhere => {
                !self.is_reference(rule) || self.is_in_the_way(rule)
            }
        }
    }
}

/// Rules that one claim adds to a group or takes away.
type Changed<'c> = (&'c Claim<'c>, BTreeSet<Rule>);

/// A plan in the making.
#[derive(Debug, Default)]
struct Draft {
    /// What goes before anything comes, for there would be no room.
    room: Vec<(Vec<ObjectId>, RuleChange)>,
    authorize: Vec<(Vec<ObjectId>, RuleChange)>,
    /// What goes once all has come, so that nobody is shut out in between.
    revoke: Vec<(Vec<ObjectId>, RuleChange)>,
    /// Load balancers that have a rule somewhere.
    holding: BTreeSet<String>,
    /// Those whose rules change.
    changing: BTreeSet<String>,
}

impl Draft {
    fn group(
        &mut self,
        place: &Place<'_>,
        claims: &[Claim<'_>],
        strict: &BTreeSet<&str>,
        group: &SecurityGroup,
    ) {
        let is_marked = place.cluster.has(&group.tags);
        // In the operator's own nothing is let in, and what goes takes along what bears its name or would
        // hold it up: somebody let it in before that group was the operator's.
        let is_operators = place.is_operators(&group.id);
        let mut there: BTreeMap<(Traffic, Peer), &Rule> =
            group.ingress.iter().map(|rule| (bare(rule), rule)).collect();
        let wanted: BTreeSet<_> = claims.iter().flat_map(|it| it.wanted(group)).map(bare).collect();
        let mut revoked: Vec<(&Claim<'_>, BTreeSet<Rule>)> = Vec::new();
        for claim in claims {
            // What several that go let through goes once.
            let is_there = |rule: &&Rule| there.contains_key(&bare(rule));
            let mine = group.ingress.iter().filter(is_there).filter(|rule| claim.has(rule));
            let mine: Vec<_> = mine.collect();
            let goes = |rule: &&&Rule| match &claim.stance {
                Stance::Keeps { .. } | Stance::Foreign => false,
                // That those in a group reach each other is nothing of a Service's alone.
                _ if rule.peer == Peer::Group(group.id.clone()) => false,
                Stance::Goes if is_operators => {
                    !claim.is_reference(rule) || claim.is_in_the_way(rule)
                }
                Stance::Wants { .. } if is_operators => {
                    claim.is_in_the_way(rule) && strict.contains(claim.balancer.as_str())
                }
                // What several let through stays while one of them needs it.
                _ if claim.is_reference(rule) && wanted.contains(&bare(rule)) => false,
                // In a group that is not the cluster's only what stands in the way of a deletion
                // goes: another may have made the rule.
                _ if claim.is_reference(rule) && !is_marked && !claim.is_in_the_way(rule) => false,
                Stance::Goes => true,
                Stance::Wants { rules, .. } => {
                    let is_left = claim.leaves(rule) && !strict.contains(claim.balancer.as_str());
                    !is_wanted(rules.get(&group.id), rule) && !is_left
                }
            };
            let goes: BTreeSet<Rule> =
                mine.iter().filter(goes).map(|rule| (*rule).clone()).collect();
            for rule in &goes {
                there.remove(&bare(rule));
            }
            let is_held = match claim.stance {
                Stance::Goes | Stance::Foreign => !goes.is_empty(),
                Stance::Keeps { .. } | Stance::Wants { .. } => !mine.is_empty(),
            };
            if is_held {
                self.holding.insert(claim.balancer.clone());
            }
            if !goes.is_empty() {
                revoked.push((claim, goes));
            }
        }
        let mut authorized: Vec<(&Claim<'_>, BTreeSet<Rule>)> = Vec::new();
        for claim in claims.iter().filter(|_| !is_operators) {
            let mut missing = BTreeSet::new();
            for rule in claim.wanted(group) {
                if matches!(rule.peer, Peer::Group(_)) && is_let_in(&there, &rule.peer) {
                    continue;
                }
                if let Entry::Vacant(place) = there.entry(bare(rule)) {
                    place.insert(rule);
                    missing.insert(rule.clone());
                }
            }
            if !missing.is_empty() {
                authorized.push((claim, missing));
            }
        }
        if !is_operators {
            path_mtu(group, claims, strict, &there, &mut revoked, &mut authorized);
        }
        let makes_room = needs_room(group, &revoked, &authorized);
        // What only goes with something else goes before it: afterwards it would be left.
        let parted = revoked.into_iter().map(|(claim, rules)| {
            let (soft, hard) = rules.into_iter().partition(|rule| claim.leaves(rule));
            ((claim, soft), (claim, hard))
        });
        let (soft, revoked): (Vec<Changed<'_>>, Vec<Changed<'_>>) = parted.unzip();
        let lists = [
            (Verb::Revoke, true, soft),
            (Verb::Revoke, makes_room, revoked),
            (Verb::Authorize, false, authorized),
        ];
        for (verb, is_first, list) in lists {
            for (claim, rules) in list.into_iter().filter(|(_, rules)| !rules.is_empty()) {
                // What goes with a Service shuts nobody out, and waits for nobody.
                let is_first = is_first || matches!(claim.stance, Stance::Goes);
                self.changing.insert(claim.balancer.clone());
                let (group, balancer) = (group.id.clone(), claim.balancer.clone());
                let change = RuleChange { group, balancer, verb, rules };
                let list = match verb {
                    Verb::Revoke if is_first => &mut self.room,
                    Verb::Revoke => &mut self.revoke,
                    Verb::Authorize => &mut self.authorize,
                };
                list.push((vec![claim.id.clone()], change));
            }
        }
    }

    fn report(&self, claim: &Claim<'_>) -> Report {
        let has_rules = self.holding.contains(&claim.balancer);
        let holds = if has_rules { Holds::Something } else { Holds::Nothing };
        let is_changing = self.changing.contains(&claim.balancer);
        let verdict = match &claim.stance {
            Stance::Goes if has_rules => {
                Verdict::Progressing("the nodes' security groups to be closed".to_owned())
            }
            Stance::Wants { .. } if is_changing => Verdict::Progressing(
                "the nodes' security groups to let its traffic through".to_owned(),
            ),
            Stance::Keeps { is_unseen: true, .. } => {
                Verdict::Progressing("its load balancer to be seen".to_owned())
            }
            Stance::Goes | Stance::Wants { .. } | Stance::Keeps { .. } | Stance::Foreign => {
                Verdict::Done
            }
        };
        Report::new(claim.id, holds, verdict)
    }
}

impl Claim<'_> {
    /// Whether a rule names the own group that is not used any more.
    fn is_in_the_way(&self, rule: &Rule) -> bool {
        matches!((&rule.peer, &self.leaving), (Peer::Group(id), Some(leaving)) if id == leaving)
    }

    /// The rules for path MTU that are missing beside its rules for clients.
    fn lacks_path_mtu(
        &self,
        group: &SecurityGroup,
        there: &BTreeMap<(Traffic, Peer), &Rule>,
    ) -> BTreeSet<Rule> {
        let bears_it = |rule: &&Rule| there.get(&bare(rule)).is_some_and(|it| needs_path_mtu(it));
        let needed = self.wanted(group).filter(bears_it).map(for_path_mtu);
        needed.filter(|rule| !there.contains_key(&bare(rule))).collect()
    }

    /// What is to be in a group.
    fn wanted(&self, group: &SecurityGroup) -> impl Iterator<Item = &Rule> {
        let rules = match &self.stance {
            Stance::Wants { rules, .. } | Stance::Keeps { rules, .. } => rules.get(&group.id),
            Stance::Goes | Stance::Foreign => None,
        };
        rules.into_iter().flatten()
    }
}

/// Whether a security group is let in somehow: people who say to which ports mean it, and the Go program
/// adds nothing beside.
fn is_let_in(there: &BTreeMap<(Traffic, Peer), &Rule>, group: &Peer) -> bool {
    there.keys().any(|(_, peer)| peer == group)
}

/// Whether what goes has to go first: because there is no room beside it, or because it is what comes but
/// for its description, which AWS does not take twice.
fn needs_room(group: &SecurityGroup, revoked: &[Changed<'_>], authorized: &[Changed<'_>]) -> bool {
    let rules = |list: &[Changed<'_>]| -> BTreeSet<_> {
        list.iter().flat_map(|(_, rules)| rules).map(bare).collect()
    };
    let (goes, comes) = (rules(revoked), rules(authorized));
    groups::is_tight(&group.ingress, goes.len(), comes.len()) || !goes.is_disjoint(&comes)
}

fn bare(rule: &Rule) -> (Traffic, Peer) {
    (rule.what.clone(), rule.peer.clone())
}

fn is_clients(rule: &Rule) -> bool {
    rule.description.as_deref().is_some_and(|text| text.starts_with(CLIENT))
}

/// ICMP is of IPv4 alone, and so are load balancers.
fn needs_path_mtu(rule: &Rule) -> bool {
    is_clients(rule) && !matches!(rule.peer, Peer::V6(_))
}

/// The rule that all share who let the same clients through.
fn for_path_mtu(client: &Rule) -> Rule {
    let (what, peer) = (Traffic::path_mtu(), client.peer.clone());
    Rule { what, peer, description: Some(MTU.to_owned()) }
}

/// The rule that all share follows the clients' ranges. It is changed together with the rules that it
/// follows, in one call, so that neither is ever without the other.
fn path_mtu<'c, 'w>(
    group: &SecurityGroup,
    claims: &'c [Claim<'w>],
    strict: &BTreeSet<&str>,
    there: &BTreeMap<(Traffic, Peer), &Rule>,
    revoked: &mut [(&'c Claim<'w>, BTreeSet<Rule>)],
    authorized: &mut Vec<(&'c Claim<'w>, BTreeSet<Rule>)>,
) {
    let clients: BTreeSet<&Peer> =
        there.values().filter(|rule| needs_path_mtu(rule)).map(|rule| &rule.peer).collect();
    // With the first whose rule brings the range.
    let mut coming: BTreeSet<(Traffic, Peer)> = BTreeSet::new();
    for (_, rules) in authorized.iter_mut() {
        let needed = rules.iter().filter(|rule| needs_path_mtu(rule)).map(for_path_mtu);
        let missing: Vec<_> = needed
            .filter(|rule| !there.contains_key(&bare(rule)) && coming.insert(bare(rule)))
            .collect();
        rules.extend(missing);
    }
    // One that somebody took away comes back with the first who needs it. The Go program makes it only
    // together with others.
    for claim in claims.iter().filter(|claim| strict.contains(claim.balancer.as_str())) {
        let mut missing = claim.lacks_path_mtu(group, there);
        missing.retain(|rule| coming.insert(bare(rule)));
        if missing.is_empty() {
            continue;
        }
        match authorized.iter_mut().find(|(other, _)| other.id == claim.id) {
            Some((_, rules)) => rules.extend(missing),
            None => authorized.push((claim, missing)),
        }
    }
    let is_surplus = |rule: &&Rule| {
        rule.description.as_deref() == Some(MTU)
            && rule.what == Traffic::path_mtu()
            && !clients.contains(&rule.peer)
    };
    if let Some((_, rules)) = revoked.iter_mut().find(|(_, rules)| rules.iter().any(is_clients)) {
        rules.extend(there.values().copied().filter(is_surplus).cloned());
    }
}
