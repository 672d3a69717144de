//! What the cloud has to say.

use std::sync::Arc;

use serde::ser::SerializeMap as _;
use serde::{Serialize, Serializer};

use crate::api::{
    Address, Etag, Firewall, Instance, Listener, LoadBalancer, Route, Rule, Target, TargetGroup,
    Volume,
};

use super::query::token_of;

/// What the cloud has to say.
#[derive(Debug)]
pub(crate) enum Answer {
    /// One thing.
    One(Shown),
    /// One that is new.
    Made(Shown),
    /// Those that were found or made.
    List(List),
}

/// A thing on the wire.
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
pub(crate) enum Shown {
    Instance(Arc<Instance>),
    Address(Address),
    TargetGroup(TargetGroup),
    LoadBalancer(LoadBalancer),
    Listener(Listener),
    Firewall(Firewall),
    Target(Target),
    Rule(Rule),
    Route(Route),
    Volume(Volume),
}

/// All that was found, or a page of it.
#[derive(Debug)]
pub(crate) struct List {
    /// The name of the things on the wire.
    field: &'static str,
    pub(crate) items: Vec<Shown>,
    pub(crate) next_page_token: Option<String>,
    /// Of which form of a firewall the rules are.
    etag: Option<Etag>,
}

impl List {
    /// Instances; a page of them when there is a number after which the next one starts.
    pub(crate) fn of_instances(instances: Vec<Arc<Instance>>, next: Option<u64>) -> Self {
        let items = instances.into_iter().map(Shown::Instance).collect();
        Self { field: "instances", items, next_page_token: next.map(token_of), etag: None }
    }

    /// A page of anything else.
    pub(crate) fn of(items: impl Iterator<Item = Shown>, next: Option<u64>) -> Self {
        let next_page_token = next.map(token_of);
        Self { field: "items", items: items.collect(), next_page_token, etag: None }
    }

    /// As if it were the last page.
    pub(super) fn without_next(self) -> Self {
        Self { next_page_token: None, ..self }
    }

    /// As if there were nothing on it.
    pub(super) fn without_items(self) -> Self {
        Self { items: Vec::new(), ..self }
    }

    /// Says of which form of a firewall the rules are.
    pub(crate) fn with_etag(self, etag: Etag) -> Self {
        Self { etag: Some(etag), ..self }
    }
}

impl Shown {
    /// Whether it is the instance of this ID or name.
    pub(crate) fn is_instance(&self, word: &str) -> bool {
        match self {
            Self::Instance(instance) => instance.id.as_str() == word || instance.name == word,
            Self::Target(target) => target.instance.as_str() == word,
            Self::Address(_)
            | Self::TargetGroup(_)
            | Self::LoadBalancer(_)
            | Self::Listener(_)
            | Self::Firewall(_)
            | Self::Rule(_)
            | Self::Route(_)
            | Self::Volume(_) => false,
        }
    }

    /// Whether it is the piece of this ID, this name or this value of a tag.
    pub(crate) fn is_piece(&self, word: &str) -> bool {
        fn is(piece: &impl crate::api::Piece, word: &str) -> bool {
            piece.name() == word
                || piece.id().to_string() == word
                || piece.tags().values().any(|value| value == word)
        }
        match self {
            Self::Address(piece) => is(piece, word),
            Self::TargetGroup(piece) => is(piece, word),
            Self::LoadBalancer(piece) => is(piece, word),
            Self::Listener(piece) => is(piece, word),
            Self::Firewall(piece) => is(piece, word),
            Self::Route(piece) => is(piece, word) || piece.destination.to_string() == word,
            Self::Volume(piece) => is(piece, word),
            Self::Rule(rule) => rule.id.as_str() == word || rule.spec.owner == word,
            Self::Instance(_) | Self::Target(_) => false,
        }
    }

    /// What a refusal calls it, and its ID.
    pub(crate) fn what(&self) -> (&'static str, String) {
        fn of<P: crate::api::Piece>(piece: &P) -> (&'static str, String) {
            (P::KIND.words(), piece.id().to_string())
        }
        match self {
            Self::Instance(instance) => ("instance", instance.id.to_string()),
            Self::Address(piece) => of(piece),
            Self::TargetGroup(piece) => of(piece),
            Self::LoadBalancer(piece) => of(piece),
            Self::Listener(piece) => of(piece),
            Self::Firewall(piece) => of(piece),
            Self::Route(piece) => of(piece),
            Self::Volume(piece) => of(piece),
            Self::Target(target) => ("target", target.instance.to_string()),
            Self::Rule(rule) => ("rule", rule.id.to_string()),
        }
    }
}

impl Serialize for List {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry(self.field, &self.items)?;
        if let Some(etag) = &self.etag {
            map.serialize_entry("etag", etag)?;
        }
        if let Some(token) = &self.next_page_token {
            map.serialize_entry("next_page_token", token)?;
        }
        map.end()
    }
}
