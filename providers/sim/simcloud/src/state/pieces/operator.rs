//! What only the operator can do: break things, or change them where nobody may.

use std::collections::BTreeMap;

use super::firewalls::{normal, rule_number, shown_rule};
use super::table::{Body, Table};
use super::{Cx, Pieces, Refusal};
use crate::api::{ChangeRule, ForcedState, LoadBalancer, PieceState, Rule, SetLoadBalancerState};

impl Pieces {
    /// Removes a piece or a rule at once, and what cannot be without it: a load balancer with its
    /// listeners, a target group with the listeners that point there. An address is taken off its
    /// load balancer.
    pub(crate) fn remove(&mut self, cx: &Cx<'_>, id: &str) -> Result<(), Refusal> {
        if let Some(number) = rule_number(id) {
            return self.remove_any_rule(cx, id, number);
        }
        let now = cx.now();
        if let Ok((number, _)) = self.addresses.existing(cx, id) {
            let users: Vec<_> = self.load_balancers.present(now).map(|(user, _)| user).collect();
            for user in users {
                self.load_balancers.change(cx, user, |piece| {
                    piece.body.addresses.retain(|address| *address != number);
                });
            }
            self.addresses.vanish(number, now);
        } else if let Ok((number, _)) = self.target_groups.existing(cx, id) {
            self.remove_listeners(cx, |_, target_group| target_group == number);
            self.target_groups.vanish(number, now);
        } else if let Ok((number, piece)) = self.load_balancers.existing(cx, id) {
            let addresses = piece.body.addresses.clone();
            self.remove_listeners(cx, |load_balancer, _| load_balancer == number);
            self.use_addresses(cx, &addresses, None);
            self.load_balancers.vanish(number, now);
        } else {
            vanish_now(&mut self.listeners, cx, id)
                .or_else(|_| vanish_now(&mut self.firewalls, cx, id))
                .or_else(|_| vanish_now(&mut self.routes, cx, id))
                .or_else(|_| vanish_now(&mut self.volumes, cx, id))
                .map_err(|_| Refusal::not_found("piece", id))?;
        }
        Ok(())
    }

    fn remove_listeners(&mut self, cx: &Cx<'_>, goes: impl Fn(u64, u64) -> bool) {
        let listeners = self.listeners.present(cx.now());
        let gone = listeners
            .filter(|(_, piece)| goes(piece.body.load_balancer, piece.body.target_group))
            .map(|(number, _)| number);
        for number in gone.collect::<Vec<_>>() {
            self.listeners.vanish(number, cx.now());
        }
    }

    fn remove_any_rule(&mut self, cx: &Cx<'_>, id: &str, rule: u64) -> Result<(), Refusal> {
        let firewall = self.firewall_of(cx, id, rule)?;
        self.firewalls.change(cx, firewall, |piece| {
            let mut rules = BTreeMap::clone(&piece.body.rules);
            rules.remove(&rule);
            piece.body.replace(rules);
        });
        Ok(())
    }

    /// Changes a rule where it stands.
    pub(crate) fn change_rule(
        &mut self,
        cx: &Cx<'_>,
        id: &str,
        change: ChangeRule,
    ) -> Result<Rule, Refusal> {
        let number = rule_number(id).ok_or_else(|| Refusal::not_found("rule", id))?;
        let firewall = self.firewall_of(cx, id, number)?;
        let piece = self.firewalls.by_number(cx.now(), firewall);
        let mut rules = piece.map(|piece| BTreeMap::clone(&piece.body.rules)).unwrap_or_default();
        let rule = rules.get_mut(&number).ok_or_else(|| Refusal::not_found("rule", id))?;
        let mut spec = rule.spec.clone();
        if let Some(owner) = change.owner {
            spec.owner = owner;
        }
        if let Some(source) = change.source {
            spec.source = source;
        }
        if let Some(protocol) = change.protocol {
            spec.protocol = protocol;
        }
        if let Some(port) = change.port {
            spec.port = port;
        }
        if let Some(node_ports) = change.node_ports {
            spec.node_ports = node_ports;
        }
        rule.spec = normal("spec", spec)?;
        let shown = shown_rule(number, rule);
        self.firewalls.change(cx, firewall, |piece| piece.body.replace(rules));
        Ok(shown)
    }

    /// Whose rule it is, if it is one.
    pub(crate) fn owner_of(&self, cx: &Cx<'_>, rule: &str) -> Option<&str> {
        let number = rule_number(rule)?;
        let mut firewalls = self.firewalls.present(cx.now());
        firewalls.find_map(|(_, piece)| Some(piece.body.rules.get(&number)?.spec.owner.as_str()))
    }

    /// Number of the firewall that has a rule.
    fn firewall_of(&self, cx: &Cx<'_>, id: &str, rule: u64) -> Result<u64, Refusal> {
        let mut firewalls = self.firewalls.present(cx.now());
        firewalls
            .find(|(_, piece)| piece.body.rules.contains_key(&rule))
            .map(|(number, _)| number)
            .ok_or_else(|| Refusal::not_found("rule", id))
    }

    /// Lets a load balancer fail, or work again.
    pub(crate) fn set_load_balancer_state(
        &mut self,
        cx: &Cx<'_>,
        id: &str,
        wanted: SetLoadBalancerState,
    ) -> Result<LoadBalancer, Refusal> {
        let (number, piece) = self.load_balancers.existing(cx, id)?;
        if piece.state(cx.now()) == PieceState::Deleting {
            return Err(Refusal::Conflict(format!("load balancer {id} is deleting")));
        }
        self.load_balancers.change(cx, number, |piece| {
            piece.ready_at = piece.ready_at.min(cx.now());
            piece.failure = match wanted.state {
                ForcedState::Active => None,
                ForcedState::Failed => {
                    Some(wanted.failure.unwrap_or_else(|| "the operator broke it".to_owned()))
                }
            };
        });
        Ok(self.load_balancers.shown(cx, number))
    }
}

fn vanish_now<B: Body>(table: &mut Table<B>, cx: &Cx<'_>, id: &str) -> Result<(), Refusal> {
    let (number, _) = table.existing(cx, id)?;
    table.vanish(number, cx.now());
    Ok(())
}
