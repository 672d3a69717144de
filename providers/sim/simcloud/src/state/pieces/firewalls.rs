//! Firewalls, and the rules in them.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::table::{Asked, Body, New, Piece, id_of};
use super::{
    Cx, ListAsk, Listed, Made, MemberAsk, Pieces, Refusal, check_name, check_new, check_new_tags,
    checked,
};
use crate::api::{
    AddRule, CLUSTER_TAG, CreateFirewall, Etag, Firewall, FirewallId, PieceKind, Quota,
    ReplaceRules, Rule, RuleId, RuleSpec, Timestamp, UpdateFirewall,
};
use crate::state::ids;

/// The prefix of rules' IDs.
const PREFIX: &str = "r";

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FirewallBody {
    /// Counts up with every change of the rules.
    form: u64,
    /// By their number.
    pub(super) rules: Arc<BTreeMap<u64, KeptRule>>,
}

/// A rule with the request that added it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct KeptRule {
    pub(super) spec: RuleSpec,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    asked: Option<Asked>,
}

impl FirewallBody {
    fn etag(&self) -> Etag {
        Etag::new(format!("v{}", self.form))
    }

    /// Puts other rules in place.
    pub(super) fn replace(&mut self, rules: BTreeMap<u64, KeptRule>) {
        self.form += 1;
        self.rules = Arc::new(rules);
    }
}

impl Body for FirewallBody {
    const KIND: PieceKind = PieceKind::Firewall;
    type Shown = Firewall;

    fn show(piece: &Piece<Self>, number: u64, time: Timestamp) -> Firewall {
        Firewall {
            id: FirewallId::new(id_of(Self::KIND, number)),
            name: piece.name.clone(),
            tags: piece.tags.clone(),
            state: piece.state(time),
            etag: piece.body.etag(),
            rule_count: piece.body.rules.len() as u64,
            created_at: piece.created_at,
        }
    }
}

impl Pieces {
    pub(crate) fn firewall(&self, cx: &Cx<'_>, id: &str) -> Result<Firewall, Refusal> {
        self.firewalls.get(cx, id)
    }

    pub(crate) fn list_firewalls(&self, cx: &Cx<'_>, ask: &ListAsk<'_>) -> Listed<Firewall> {
        self.firewalls.list(cx, ask, |_| true)
    }

    pub(crate) fn create_firewall(
        &mut self,
        cx: &Cx<'_>,
        wanted: CreateFirewall,
    ) -> Result<Made<Firewall>, Refusal> {
        check_new(&wanted.name, &wanted.tags, wanted.client_token.as_ref())?;
        let asked = Asked::new(wanted.client_token.as_ref(), &wanted);
        if let Some(number) = self.firewalls.repeated(cx, asked.as_ref())? {
            return Ok(Made { piece: self.firewalls.shown(cx, number), is_new: false });
        }
        self.check_cluster(cx, &wanted.tags, None)?;
        let body = FirewallBody { form: 1, rules: Arc::default() };
        let new = New { name: wanted.name, tags: wanted.tags, asked, body };
        let number = self.firewalls.insert(cx, new)?;
        self.changes += 1;
        Ok(Made { piece: self.firewalls.shown(cx, number), is_new: true })
    }

    pub(crate) fn update_firewall(
        &mut self,
        cx: &Cx<'_>,
        id: &str,
        update: UpdateFirewall,
    ) -> Result<Firewall, Refusal> {
        check_new_tags(update.tags.as_ref())?;
        let (number, _) = self.firewalls.changeable(cx, id)?;
        if let Some(tags) = &update.tags {
            self.check_cluster(cx, tags, Some(number))?;
        }
        let differs = self.firewalls.change(cx, number, |piece| {
            if let Some(tags) = update.tags {
                piece.tags = tags;
            }
        });
        self.changes += u64::from(differs);
        Ok(self.firewalls.shown(cx, number))
    }

    pub(crate) fn delete_firewall(&mut self, cx: &Cx<'_>, id: &str) -> Result<Firewall, Refusal> {
        let (number, piece) = self.firewalls.existing(cx, id)?;
        let rules = piece.body.rules.len();
        if rules > 0 {
            return Err(Refusal::Conflict(format!("firewall {id} has rules: {rules}")));
        }
        let begins = self.firewalls.delete(cx, number);
        self.changes += u64::from(begins);
        Ok(self.firewalls.shown(cx, number))
    }

    /// A page of the rules of a firewall, as readers see them, and the etag that they are of.
    pub(crate) fn list_rules(
        &self,
        cx: &Cx<'_>,
        id: &str,
        ask: &MemberAsk,
        owner: Option<&str>,
    ) -> Result<(Listed<Rule>, Etag), Refusal> {
        let (_, piece) = self.firewalls.seen(cx, id)?;
        let mut found = piece
            .body
            .rules
            .range(ask.after.saturating_add(1)..)
            .filter(|(_, rule)| owner.is_none_or(|owner| rule.spec.owner == owner));
        let page: Vec<_> = found.by_ref().take(ask.size).collect();
        let next = found.next().and_then(|_| page.last().map(|(number, _)| **number));
        let items = page.into_iter().map(|(number, rule)| shown_rule(*number, rule)).collect();
        Ok((Listed { items, next }, piece.body.etag()))
    }

    pub(crate) fn add_rule(
        &mut self,
        cx: &Cx<'_>,
        firewall: &str,
        wanted: AddRule,
    ) -> Result<Made<Rule>, Refusal> {
        let token = wanted.client_token.as_ref();
        checked(token.map_or(Ok(()), |token| check_name("client_token", token)))?;
        let asked = Asked::new(token, &wanted);
        let spec = normal("spec", wanted.spec)?;
        let (number, piece) = self.firewalls.changeable(cx, firewall)?;
        if let Some(asked) = &asked {
            for (number, rule) in piece.body.rules.iter() {
                if asked.repeats(rule.asked.as_ref())? {
                    return Ok(Made { piece: shown_rule(*number, rule), is_new: false });
                }
            }
        }
        let mut others = piece.body.rules.iter();
        if let Some((other, _)) = others.find(|(_, rule)| rule.spec == spec) {
            let other = rule_id(*other);
            return Err(Refusal::Conflict(format!("spec: rule {other} says the same")));
        }
        cx.check_quota(Quota::RulesOfFirewall, piece.body.rules.len() + 1)?;
        let mut rules = BTreeMap::clone(&piece.body.rules);
        self.newest_rule += 1;
        let rule = KeptRule { spec, asked };
        let shown = shown_rule(self.newest_rule, &rule);
        rules.insert(self.newest_rule, rule);
        self.firewalls.change(cx, number, |piece| piece.body.replace(rules));
        self.changes += 1;
        Ok(Made { piece: shown, is_new: true })
    }

    pub(crate) fn remove_rule(
        &mut self,
        cx: &Cx<'_>,
        firewall: &str,
        rule: &str,
    ) -> Result<Rule, Refusal> {
        let (number, piece) = self.firewalls.changeable(cx, firewall)?;
        let mut rules = BTreeMap::clone(&piece.body.rules);
        let removed = rule_number(rule).and_then(|number| Some((number, rules.remove(&number)?)));
        let (rule_number, removed) = removed.ok_or_else(|| Refusal::not_found("rule", rule))?;
        self.firewalls.change(cx, number, |piece| piece.body.replace(rules));
        self.changes += 1;
        Ok(shown_rule(rule_number, &removed))
    }

    /// Puts other rules in place of all, if they are still those that the caller knows.
    pub(crate) fn replace_rules(
        &mut self,
        cx: &Cx<'_>,
        firewall: &str,
        wanted: ReplaceRules,
    ) -> Result<Firewall, Refusal> {
        let specs = all_normal(wanted.rules)?;
        let (number, piece) = self.firewalls.changeable(cx, firewall)?;
        let etag = piece.body.etag();
        if etag != wanted.etag {
            let why = format!("etag: firewall {firewall} has {etag}, not {}", wanted.etag);
            return Err(Refusal::Conflict(why));
        }
        let before = Arc::clone(&piece.body.rules);
        if specs.len() > before.len() {
            cx.check_quota(Quota::RulesOfFirewall, specs.len())?;
        }
        let known: BTreeMap<_, _> =
            before.iter().map(|(number, rule)| (&rule.spec, *number)).collect();
        let mut rules = BTreeMap::new();
        for spec in specs {
            let known = known.get(&spec).copied();
            let number = known.unwrap_or_else(|| {
                self.newest_rule += 1;
                self.newest_rule
            });
            let rule = before.get(&number).cloned().unwrap_or(KeptRule { spec, asked: None });
            rules.insert(number, rule);
        }
        if rules != *before {
            self.firewalls.change(cx, number, |piece| piece.body.replace(rules));
            self.changes += 1;
        }
        Ok(self.firewalls.shown(cx, number))
    }

    /// Each firewall belongs to a cluster, and each cluster has one.
    fn check_cluster(
        &self,
        cx: &Cx<'_>,
        tags: &BTreeMap<String, String>,
        this: Option<u64>,
    ) -> Result<(), Refusal> {
        let Some(cluster) = tags.get(CLUSTER_TAG).filter(|value| !value.is_empty()) else {
            let why = format!("must have {CLUSTER_TAG:?}, which says whose firewall it is");
            return Err(Refusal::invalid("tags", why));
        };
        let mut others = self.firewalls.present(cx.now()).filter(|(other, _)| Some(*other) != this);
        match others.find(|(_, piece)| piece.tags.get(CLUSTER_TAG) == Some(cluster)) {
            Some((other, _)) => {
                let other = id_of(PieceKind::Firewall, other);
                let why = format!("tags: firewall {other} is that of {CLUSTER_TAG} {cluster:?}");
                Err(Refusal::Conflict(why))
            }
            None => Ok(()),
        }
    }
}

pub(super) fn rule_id(number: u64) -> RuleId {
    RuleId::new(ids::id_of(PREFIX, number))
}

pub(super) fn rule_number(id: &str) -> Option<u64> {
    ids::number_of(PREFIX, id)
}

pub(super) fn shown_rule(number: u64, rule: &KeptRule) -> Rule {
    Rule { id: rule_id(number), spec: rule.spec.clone() }
}

/// A rule in the form in which the cloud keeps it.
pub(super) fn normal(field: &str, mut spec: RuleSpec) -> Result<RuleSpec, Refusal> {
    let invalid = |name: &str, why: String| Err(Refusal::invalid(format!("{field}.{name}"), why));
    if let Err((_, why)) = check_name("owner", &spec.owner) {
        return invalid("owner", why);
    }
    let network = spec.source.trunc();
    if spec.source != network {
        return invalid("source", format!("{} has host bits; {network} has not", spec.source));
    }
    if spec.node_ports.is_empty() {
        return invalid("node_ports", "must have at least one".to_owned());
    }
    spec.node_ports.sort_unstable();
    spec.node_ports.dedup();
    Ok(spec)
}

fn all_normal(specs: Vec<RuleSpec>) -> Result<Vec<RuleSpec>, Refusal> {
    let mut seen = BTreeMap::new();
    let mut all = Vec::new();
    for (index, spec) in specs.into_iter().enumerate() {
        let field = format!("rules[{index}]");
        let spec = normal(&field, spec)?;
        if let Some(first) = seen.insert(spec.clone(), index) {
            return Err(Refusal::invalid(field, format!("says the same as rules[{first}]")));
        }
        all.push(spec);
    }
    Ok(all)
}
