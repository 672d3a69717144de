//! What a call is about: for the log, and for faults that strike only certain things.

use crate::api::{CreateRoute, InstanceId, OWNER_TAG, PieceKind};
use crate::state::{Cloud, Cx};

use super::{NewOne, PieceRequest, PieceUpdate, Request, Shown};

impl Request {
    /// Instances that it is about; a list is about none in particular.
    pub(crate) fn instances(&self) -> u64 {
        let many = match self {
            Self::Describe(ask) => ask.ids.len() + ask.names.len(),
            Self::List(_) => 0,
            Self::BatchCreate(batch) => batch.instances.len(),
            Self::Get(_)
            | Self::Create(_)
            | Self::Update(..)
            | Self::Start(_)
            | Self::Stop(_)
            | Self::Replace(_)
            | Self::Terminate(_) => 1,
            Self::Piece(request) => request.instances().count(),
        };
        many as u64
    }

    /// The ID in its path, or the name of the one thing that it makes.
    pub(crate) fn resource(&self) -> Option<&str> {
        match self {
            Self::Describe(_) | Self::List(_) | Self::BatchCreate(_) => None,
            Self::Create(wanted) => Some(&wanted.name),
            Self::Get(id)
            | Self::Update(id, _)
            | Self::Start(id)
            | Self::Stop(id)
            | Self::Replace(id)
            | Self::Terminate(id) => Some(id.as_str()),
            Self::Piece(request) => request.resource(),
        }
    }

    /// Whether it is about the instance of this name or ID.
    pub(crate) fn is_about_instance(&self, cloud: &Cloud, instance: &str) -> bool {
        let fleet = &cloud.fleet;
        let is_it = |id: &InstanceId| id.as_str() == instance || fleet.is_named(id, instance);
        match self {
            Self::Describe(ask) => {
                ask.names.iter().any(|name| name == instance)
                    || ask.ids.iter().any(is_it)
                    // Asked for by name, meant by ID.
                    || ask.names.iter().any(|name| fleet.is_named(&instance.into(), name))
            }
            Self::List(_) => true,
            Self::Create(wanted) => wanted.name == instance,
            Self::BatchCreate(batch) => batch.instances.iter().any(|one| one.name == instance),
            Self::Get(id)
            | Self::Update(id, _)
            | Self::Start(id)
            | Self::Stop(id)
            | Self::Replace(id)
            | Self::Terminate(id) => is_it(id),
            Self::Piece(request) => {
                matches!(**request, PieceRequest::ListTargets(..)) || request.instances().any(is_it)
            }
        }
    }

    /// Whether it is about the piece of this ID, this name or this value of a tag.
    pub(crate) fn is_about_piece(&self, cloud: &Cloud, cx: &Cx<'_>, word: &str) -> bool {
        match self {
            Self::Piece(request) => request.is_about(cloud, cx, word),
            Self::Describe(_)
            | Self::List(_)
            | Self::Get(_)
            | Self::Create(_)
            | Self::BatchCreate(_)
            | Self::Update(..)
            | Self::Start(_)
            | Self::Stop(_)
            | Self::Replace(_)
            | Self::Terminate(_) => false,
        }
    }
}

impl PieceRequest {
    /// The instances that are to become targets or to cease.
    fn instances(&self) -> impl Iterator<Item = &InstanceId> {
        let targets: Vec<_> = match self {
            Self::ChangeTargets(_, change) => change.add.iter().chain(&change.remove).collect(),
            Self::Create(NewOne::Route(wanted)) => vec![&wanted.target],
            Self::CreateRoutes(batch) => batch.routes.iter().map(|one| &one.target).collect(),
            Self::Update(_, PieceUpdate::Route(update)) => update.target.iter().collect(),
            Self::List(..)
            | Self::Get(..)
            | Self::Create(_)
            | Self::Update(..)
            | Self::Delete(..)
            | Self::ListTargets(..)
            | Self::ListRules(..)
            | Self::AddRule(..)
            | Self::RemoveRule { .. }
            | Self::ReplaceRules(..)
            | Self::DescribeRoutes(_)
            | Self::DescribeVolumes(_) => Vec::new(),
        };
        targets.into_iter()
    }

    fn resource(&self) -> Option<&str> {
        match self {
            Self::List(..)
            | Self::DescribeRoutes(_)
            | Self::CreateRoutes(_)
            | Self::DescribeVolumes(_) => None,
            Self::Create(wanted) => Some(wanted.name()),
            Self::Get(_, id)
            | Self::Update(id, _)
            | Self::Delete(_, id, _)
            | Self::ListTargets(id, _)
            | Self::ChangeTargets(id, _)
            | Self::ListRules(id, _)
            | Self::AddRule(id, _)
            | Self::RemoveRule { firewall: id, .. }
            | Self::ReplaceRules(id, _) => Some(id),
        }
    }

    fn is_about(&self, cloud: &Cloud, cx: &Cx<'_>, word: &str) -> bool {
        let pieces = &cloud.pieces;
        let is = |kind, id: &str| id == word || pieces.is_known_as(cx, kind, id, word);
        match self {
            Self::List(_, ask) => {
                let of = ask.load_balancer.as_ref();
                let to = ask.destination.map(|destination| destination.to_string());
                let is_narrow = ask.name.is_some()
                    || of.is_some()
                    || to.is_some()
                    || ask.tags.contains_key(OWNER_TAG);
                !is_narrow
                    || ask.name.as_deref() == Some(word)
                    || ask.tags.values().any(|value| value == word)
                    || of.is_some_and(|id| is(PieceKind::LoadBalancer, id.as_str()))
                    || to.as_deref() == Some(word)
            }
            Self::Create(wanted) => {
                wanted.name() == word
                    || wanted.tags().any(|value| value == word)
                    || matches!(wanted, NewOne::Listener(listener)
                        if is(PieceKind::LoadBalancer, listener.load_balancer.as_str()))
                    || matches!(wanted, NewOne::Route(route) if is_new_route(route, word))
            }
            Self::Get(kind, id) | Self::Delete(kind, id, _) => is(*kind, id),
            Self::Update(id, update) => is(update.kind(), id),
            Self::ListTargets(id, _) | Self::ChangeTargets(id, _) => is(PieceKind::TargetGroup, id),
            Self::ListRules(id, ask) => match &ask.owner {
                Some(owner) => owner == word || id == word,
                None => true,
            },
            Self::AddRule(id, wanted) => wanted.spec.owner == word || is(PieceKind::Firewall, id),
            Self::RemoveRule { firewall, rule } => {
                rule == word
                    || pieces.owner_of(cx, rule).is_some_and(|owner| owner == word)
                    || is(PieceKind::Firewall, firewall)
            }
            Self::ReplaceRules(id, wanted) => {
                wanted.rules.iter().any(|rule| rule.owner == word) || is(PieceKind::Firewall, id)
            }
            Self::DescribeRoutes(ask) => {
                let found = pieces.describe_routes(cx, &cloud.fleet, ask).unwrap_or_default();
                ask.owners.iter().any(|owner| owner == word)
                    || ask.destinations.iter().any(|one| one.to_string() == word)
                    || found.into_iter().any(|route| Shown::Route(route).is_piece(word))
            }
            Self::CreateRoutes(batch) => batch.routes.iter().any(|one| is_new_route(one, word)),
            Self::DescribeVolumes(ask) => {
                ask.ids.iter().any(|id| is(PieceKind::Volume, id.as_str()))
            }
        }
    }
}

/// Whether a route to be made has this name, this destination or this value of a tag.
fn is_new_route(wanted: &CreateRoute, word: &str) -> bool {
    wanted.name == word
        || wanted.destination.to_string() == word
        || wanted.tags.values().any(|value| value == word)
}

impl NewOne {
    fn name(&self) -> &str {
        match self {
            Self::Address(wanted) => &wanted.name,
            Self::TargetGroup(wanted) => &wanted.name,
            Self::LoadBalancer(wanted) => &wanted.name,
            Self::Listener(wanted) => &wanted.name,
            Self::Firewall(wanted) => &wanted.name,
            Self::Route(wanted) => &wanted.name,
            Self::Volume(wanted) => &wanted.name,
        }
    }

    fn tags(&self) -> impl Iterator<Item = &String> {
        let tags = match self {
            Self::Address(wanted) => &wanted.tags,
            Self::TargetGroup(wanted) => &wanted.tags,
            Self::LoadBalancer(wanted) => &wanted.tags,
            Self::Listener(wanted) => &wanted.tags,
            Self::Firewall(wanted) => &wanted.tags,
            Self::Route(wanted) => &wanted.tags,
            Self::Volume(wanted) => &wanted.tags,
        };
        tags.values()
    }
}
