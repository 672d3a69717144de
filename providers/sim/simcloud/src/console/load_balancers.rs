//! The pieces of load balancers: as any caller has them, and by the operator's hand.

use std::collections::BTreeMap;
use std::fmt::Display;

use reqwest::Method;

use super::{Console, Result, answer, done};
use crate::api::{
    AddRule, ChangeRule, ChangeTargets, Firewall, FirewallId, ListPieces, ListRules, ListTargets,
    LoadBalancer, LoadBalancerId, NewPiece, Page, Piece, ReplaceRules, Rule, RuleId, RulePage,
    SetLoadBalancerState, Snapshot, Target, TargetGroup, TargetGroupId, TargetPage, path,
};

impl Console {
    /// Makes a piece.
    pub async fn create_piece<N: NewPiece>(&self, wanted: &N) -> Result<N::Piece> {
        let path = path::pieces(N::Piece::KIND);
        answer(self.cloud(Method::POST, path).json(wanted)).await
    }

    /// Looks one piece up.
    pub async fn piece<P: Piece>(&self, id: &P::Id) -> Result<P> {
        answer(self.cloud(Method::GET, &path::piece(P::KIND, id))).await
    }

    /// One page of a list of pieces.
    pub async fn list_pieces<P: Piece>(&self, ask: &ListPieces) -> Result<Page<P>> {
        answer(self.cloud(Method::GET, path::pieces(P::KIND)).query(&ask.to_query())).await
    }

    /// All pages of a list of pieces.
    pub async fn all_pieces<P: Piece>(&self, mut ask: ListPieces) -> Result<Vec<P>> {
        let mut all = Vec::new();
        loop {
            let page = self.list_pieces(&ask).await?;
            all.extend(page.items);
            match page.next_page_token {
                Some(next) => ask.page_token = Some(next),
                None => return Ok(all),
            }
        }
    }

    /// Changes what is given of a piece.
    pub async fn update_piece<P: Piece>(&self, id: &P::Id, update: &P::Update) -> Result<P> {
        answer(self.cloud(Method::PATCH, &path::piece(P::KIND, id)).json(update)).await
    }

    /// Deletes a piece that nobody uses; shows it on its way out.
    pub async fn delete_piece<P: Piece>(&self, id: &P::Id) -> Result<P> {
        answer(self.cloud(Method::DELETE, &path::piece(P::KIND, id))).await
    }

    /// One page of the targets of a group.
    pub async fn list_targets(&self, id: &TargetGroupId, ask: &ListTargets) -> Result<TargetPage> {
        answer(self.cloud(Method::GET, &path::targets(id)).query(&ask.to_query())).await
    }

    /// All targets of a group.
    pub async fn all_targets(&self, id: &TargetGroupId) -> Result<Vec<Target>> {
        let mut ask = ListTargets::default();
        let mut all = Vec::new();
        loop {
            let page = self.list_targets(id, &ask).await?;
            all.extend(page.items);
            match page.next_page_token {
                Some(next) => ask.page_token = Some(next),
                None => return Ok(all),
            }
        }
    }

    /// Adds and removes targets, all or none.
    pub async fn change_targets(
        &self,
        id: &TargetGroupId,
        change: &ChangeTargets,
    ) -> Result<TargetGroup> {
        answer(self.cloud(Method::POST, &path::targets(id)).json(change)).await
    }

    /// One page of the rules of a firewall.
    pub async fn list_rules(&self, id: &FirewallId, ask: &ListRules) -> Result<RulePage> {
        answer(self.cloud(Method::GET, &path::rules(id)).query(&ask.to_query())).await
    }

    /// All rules of a firewall.
    pub async fn all_rules(&self, id: &FirewallId) -> Result<Vec<Rule>> {
        let mut ask = ListRules::default();
        let mut all = Vec::new();
        loop {
            let page = self.list_rules(id, &ask).await?;
            all.extend(page.items);
            match page.next_page_token {
                Some(next) => ask.page_token = Some(next),
                None => return Ok(all),
            }
        }
    }

    /// Adds a rule to a firewall.
    pub async fn add_rule(&self, id: &FirewallId, wanted: &AddRule) -> Result<Rule> {
        answer(self.cloud(Method::POST, &path::rules(id)).json(wanted)).await
    }

    /// Removes a rule from a firewall.
    pub async fn remove_rule(&self, id: &FirewallId, rule: &RuleId) -> Result<Rule> {
        answer(self.cloud(Method::DELETE, &path::rule(id, rule))).await
    }

    /// Puts other rules in place of all, if they are still those that the etag is of.
    pub async fn replace_rules(&self, id: &FirewallId, wanted: &ReplaceRules) -> Result<Firewall> {
        answer(self.cloud(Method::PUT, &path::rules(id)).json(wanted)).await
    }

    /// Removes a piece or a rule at once by the operator's hand, with what cannot be without it: a
    /// load balancer with its listeners, a target group with the listeners that point there. An
    /// address is taken off its load balancer.
    pub async fn remove_by_hand(&self, id: impl Display) -> Result<()> {
        done(self.control(Method::DELETE, &path::forced_piece(id))).await
    }

    /// Changes a rule where it stands, by the operator's hand.
    pub async fn change_rule_by_hand(&self, id: &RuleId, change: &ChangeRule) -> Result<Rule> {
        answer(self.control(Method::PATCH, &path::forced_rule(id)).json(change)).await
    }

    /// Lets a load balancer fail, or work again, by the operator's hand.
    pub async fn set_load_balancer_state(
        &self,
        id: &LoadBalancerId,
        wanted: &SetLoadBalancerState,
    ) -> Result<LoadBalancer> {
        answer(self.control(Method::PUT, &path::forced_state(id)).json(wanted)).await
    }

    /// Every piece and rule with these tags as it is now, whatever readers see.
    pub async fn snapshot(&self, tags: &BTreeMap<String, String>) -> Result<Snapshot> {
        let tags: Vec<_> =
            tags.iter().map(|(key, value)| ("tag", format!("{key}={value}"))).collect();
        answer(self.control(Method::GET, path::SNAPSHOT).query(&tags)).await
    }
}
