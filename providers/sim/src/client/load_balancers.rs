//! The calls about load balancers and what they are made of.

use ccm_core::cloud::{CloudError, Kind, Operation, Read, Write};
use reqwest::Url;
use serde::de::IgnoredAny;
use simcloud::api::{
    self, AddRule, ChangeTargets, Etag, FirewallId, ListPieces, ListRules, ListTargets, NewPiece,
    Page, Piece, PieceKind, Rule, RuleId, RulePage, Target, TargetGroup, TargetGroupId, path,
};

use super::{Client, READS, WRITES, unknown_call, with_body};

/// Times that a list which changes from page to page is begun anew.
const MOST_RESTARTS: usize = 3;

const fn named(operation: api::Operation) -> Operation {
    Operation(operation.as_str())
}

const fn list(kind: PieceKind) -> Operation {
    named(api::Operation::list(kind))
}

const LIST_TARGETS: Operation = named(api::Operation::ListTargets);
const CHANGE_TARGETS: Operation = named(api::Operation::ChangeTargets);
const LIST_RULES: Operation = named(api::Operation::ListRules);
const ADD_RULE: Operation = named(api::Operation::AddRule);
const REMOVE_RULE: Operation = named(api::Operation::RemoveRule);

impl Client {
    /// `ListAddresses` and so on: all pieces that fit, oldest first, on however many pages.
    pub(crate) async fn pieces<P: Piece>(
        &self,
        cx: &Read,
        mut ask: ListPieces,
    ) -> Result<Vec<P>, CloudError> {
        let operation = list(P::KIND);
        let mut all = Vec::new();
        loop {
            let url = self.query(path::pieces(P::KIND), &ask.to_query());
            let send = self.send(operation, self.http.get(url));
            let page: Page<P> = cx.call(operation, READS, send).await.map_err(unknown_call)?;
            all.extend(page.items);
            match page.next_page_token {
                Some(next) => ask.page_token = Some(next),
                None => return Ok(all),
            }
        }
    }

    /// `GetAddress` and so on. `None` when the cloud says that there is no such piece.
    pub(crate) async fn piece<P: Piece>(
        &self,
        cx: &Read,
        id: &P::Id,
    ) -> Result<Option<P>, CloudError> {
        let operation = named(api::Operation::get(P::KIND));
        let request = self.http.get(self.endpoint.url(&path::piece(P::KIND, id)));
        found(cx.call(operation, READS, self.send(operation, request)).await)
    }

    /// `CreateAddress` and so on.
    pub(crate) async fn create<N: NewPiece>(
        &self,
        cx: &Write,
        wanted: &N,
    ) -> Result<N::Piece, CloudError> {
        let kind = N::Piece::KIND;
        let operation = named(api::Operation::create(kind));
        let request = self.http.post(self.endpoint.url(path::pieces(kind)));
        let request = with_body(request, wanted);
        cx.call(operation, WRITES, self.send(operation, request)).await.map_err(unknown_call)
    }

    /// `UpdateAddress` and so on. [`Kind::Conflict`] when there is no such piece any more.
    pub(crate) async fn update<P: Piece>(
        &self,
        cx: &Write,
        id: &P::Id,
        update: &P::Update,
    ) -> Result<P, CloudError> {
        let operation = named(api::Operation::update(P::KIND));
        let request = self.http.patch(self.endpoint.url(&path::piece(P::KIND, id)));
        let request = with_body(request, update);
        cx.call(operation, WRITES, self.send(operation, request)).await.map_err(vanished)
    }

    /// `DeleteAddress` and so on: the piece on its way out. `None` when it is gone already.
    pub(crate) async fn delete<P: Piece>(
        &self,
        cx: &Write,
        id: &P::Id,
    ) -> Result<Option<P>, CloudError> {
        let operation = named(api::Operation::delete(P::KIND));
        let request = self.http.delete(self.endpoint.url(&path::piece(P::KIND, id)));
        found(cx.call(operation, WRITES, self.send(operation, request)).await)
    }

    /// `ListTargets`: all targets of a group. `None` when the cloud says that there is no such
    /// group.
    pub(crate) async fn targets(
        &self,
        cx: &Read,
        group: &TargetGroupId,
    ) -> Result<Option<Vec<Target>>, CloudError> {
        let mut ask = ListTargets::default();
        let mut all = Vec::new();
        loop {
            let url = self.query(&path::targets(group), &ask.to_query());
            let send = self.send(LIST_TARGETS, self.http.get(url));
            let page: Option<Page<Target>> = found(cx.call(LIST_TARGETS, READS, send).await)?;
            let Some(page) = page else { return Ok(None) };
            all.extend(page.items);
            match page.next_page_token {
                Some(next) => ask.page_token = Some(next),
                None => return Ok(Some(all)),
            }
        }
    }

    /// `ChangeTargets`. [`Kind::Conflict`] when there is no such group any more, or an instance
    /// that is to be added is gone.
    pub(crate) async fn change_targets(
        &self,
        cx: &Write,
        group: &TargetGroupId,
        change: &ChangeTargets,
    ) -> Result<TargetGroup, CloudError> {
        let request = self.http.post(self.endpoint.url(&path::targets(group)));
        let send = self.send(CHANGE_TARGETS, with_body(request, change));
        cx.call(CHANGE_TARGETS, WRITES, send).await.map_err(vanished)
    }

    /// `ListRules`: all rules of a firewall as they were at one time, and the form that they are
    /// of. `None` when the cloud says that there is no such firewall.
    pub(crate) async fn rules(
        &self,
        cx: &Read,
        firewall: &FirewallId,
    ) -> Result<Option<(Vec<Rule>, Etag)>, CloudError> {
        'anew: for _ in 0..=MOST_RESTARTS {
            let mut ask = ListRules::default();
            let mut etag = None;
            let mut all = Vec::new();
            loop {
                let url = self.query(&path::rules(firewall), &ask.to_query());
                let send = self.send(LIST_RULES, self.http.get(url));
                let page: Option<RulePage> = found(cx.call(LIST_RULES, READS, send).await)?;
                let Some(page) = page else { return Ok(None) };
                if etag.get_or_insert_with(|| page.etag.clone()) != &page.etag {
                    continue 'anew;
                }
                all.extend(page.items);
                match page.next_page_token {
                    Some(next) => ask.page_token = Some(next),
                    None => return Ok(Some((all, page.etag))),
                }
            }
        }
        let message = "somebody else keeps changing the firewall while it is read";
        Err(CloudError::new(Kind::Unavailable, message))
    }

    /// `AddRule`. [`Kind::Conflict`] when there is no such firewall any more, or the rule is there.
    pub(crate) async fn add_rule(
        &self,
        cx: &Write,
        firewall: &FirewallId,
        rule: &AddRule,
    ) -> Result<Rule, CloudError> {
        let request = self.http.post(self.endpoint.url(&path::rules(firewall)));
        let send = self.send(ADD_RULE, with_body(request, rule));
        cx.call(ADD_RULE, WRITES, send).await.map_err(vanished)
    }

    /// `RemoveRule`. No error when it is not there.
    pub(crate) async fn remove_rule(
        &self,
        cx: &Write,
        firewall: &FirewallId,
        rule: &RuleId,
    ) -> Result<(), CloudError> {
        let request = self.http.delete(self.endpoint.url(&path::rule(firewall, rule)));
        let send = self.send::<IgnoredAny>(REMOVE_RULE, request);
        found(cx.call(REMOVE_RULE, WRITES, send).await).map(|_| ())
    }

    pub(super) fn query(&self, path: &str, pairs: &[(&'static str, String)]) -> Url {
        let mut url = self.endpoint.url(path);
        url.query_pairs_mut().extend_pairs(pairs);
        url
    }
}

/// Absence as a value.
pub(super) fn found<T>(answer: Result<T, CloudError>) -> Result<Option<T>, CloudError> {
    match answer {
        Ok(it) => Ok(Some(it)),
        Err(err) if err.kind() == Kind::NotFound => Ok(None),
        Err(err) => Err(err),
    }
}

/// What was to be changed is not there any more: somebody was quicker, so look again.
fn vanished(err: CloudError) -> CloudError {
    if err.kind() == Kind::NotFound {
        return CloudError::new(Kind::Conflict, err.message()).with_source(err);
    }
    err
}
