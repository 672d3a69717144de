//! A bare client of the simulated cloud.

use std::time::Duration;

use reqwest::{Method, RequestBuilder};
use rustls::crypto::aws_lc_rs;
use rustls::{ClientConfig, RootCertStore};
use serde::de::{DeserializeOwned, IgnoredAny};
use simcloud::api::{
    AddRule, ChangeTargets, DescribeInstances, FirewallId, InstanceId, ListPieces, NewPiece, Page,
    Piece, Rule, RulePage, Target, TargetGroup, TargetGroupId, path,
};

use super::{Error, NAME};

/// Longer than any answer takes.
const DEADLINE: Duration = Duration::from_mins(1);

/// The client. Answers are parsed as whole as a provider parses them.
#[derive(Clone)]
pub(super) struct Cloud {
    http: reqwest::Client,
    url: String,
    token: String,
}

impl Cloud {
    pub(super) fn new(url: &str, token: &str) -> Result<Self, Error> {
        // The cloud speaks plain HTTP; the client wants to know whom to trust all the same.
        let tls = ClientConfig::builder_with_provider(aws_lc_rs::default_provider().into())
            .with_safe_default_protocol_versions()?
            .with_root_certificates(RootCertStore::empty())
            .with_no_client_auth();
        let http = reqwest::Client::builder()
            .tls_backend_preconfigured(tls)
            .user_agent(NAME)
            .timeout(DEADLINE)
            .no_proxy()
            .build()?;
        Ok(Self { http, url: url.to_owned(), token: token.trim().to_owned() })
    }

    /// `ListAddresses` and so on, all pages of it.
    pub(super) async fn list<P: Piece>(&self, mut ask: ListPieces) -> Result<Vec<P>, Error> {
        let mut all = Vec::new();
        loop {
            let request = self.request(Method::GET, path::pieces(P::KIND)).query(&ask.to_query());
            let page: Page<P> = answer(request).await?;
            all.extend(page.items);
            match page.next_page_token {
                Some(next) => ask.page_token = Some(next),
                None => return Ok(all),
            }
        }
    }

    /// `GetAddress` and so on.
    pub(super) async fn get<P: Piece>(&self, id: &P::Id) -> Result<P, Error> {
        answer(self.request(Method::GET, &path::piece(P::KIND, id))).await
    }

    /// `CreateAddress` and so on.
    pub(super) async fn create<N: NewPiece>(&self, wanted: &N) -> Result<N::Piece, Error> {
        answer(self.request(Method::POST, path::pieces(N::Piece::KIND)).json(wanted)).await
    }

    /// `ListTargets`, one page.
    pub(super) async fn targets(&self, group: &TargetGroupId) -> Result<Vec<Target>, Error> {
        let request = self.request(Method::GET, &path::targets(group));
        Ok(answer::<Page<Target>>(request).await?.items)
    }

    /// `ChangeTargets`.
    pub(super) async fn add_targets(
        &self,
        group: &TargetGroupId,
        add: &[InstanceId],
    ) -> Result<TargetGroup, Error> {
        let change = ChangeTargets { add: add.to_vec(), remove: Vec::new() };
        answer(self.request(Method::POST, &path::targets(group)).json(&change)).await
    }

    /// `ListRules`, one page.
    pub(super) async fn rules(&self, firewall: &FirewallId) -> Result<Vec<Rule>, Error> {
        let request = self.request(Method::GET, &path::rules(firewall));
        Ok(answer::<RulePage>(request).await?.items)
    }

    /// `AddRule`.
    pub(super) async fn add_rule(
        &self,
        firewall: &FirewallId,
        rule: &AddRule,
    ) -> Result<Rule, Error> {
        answer(self.request(Method::POST, &path::rules(firewall)).json(rule)).await
    }

    /// `DescribeInstances`.
    pub(super) async fn describe(&self, ids: &[InstanceId]) -> Result<(), Error> {
        let ask = DescribeInstances { ids: ids.to_vec(), names: Vec::new() };
        let request = self.request(Method::POST, path::DESCRIBE_INSTANCES).json(&ask);
        answer::<IgnoredAny>(request).await.map(drop)
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("{}{path}", self.url)).bearer_auth(&self.token)
    }
}

async fn answer<T: DeserializeOwned>(request: RequestBuilder) -> Result<T, Error> {
    let bytes = request.send().await?.error_for_status()?.bytes().await?;
    Ok(serde_json::from_slice(&bytes)?)
}
