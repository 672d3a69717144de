//! What the cloud has of a node's routes.

use std::collections::BTreeMap;

use ccm_core::cloud::{CloudError, Owned, Read, RouteSpec, Uid, Want};
use ipnet::IpNet;
use simcloud::api::{DescribeRoutes, ListPieces, PieceKind, Route};

use super::{SimRoutes, marks};

/// What one look asks about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Key {
    /// Routes with this owner.
    Owner(Uid),
    /// The route there.
    To(IpNet),
}

/// The routes with a node's mark, and those of anybody to where it wants some; oldest first.
#[derive(Clone, Debug, Default)]
pub(crate) struct Observed {
    pub(crate) routes: Vec<Route>,
}

/// Looks at one node's routes, together with others who look now.
pub(crate) async fn own(
    routes: &SimRoutes,
    cx: &Read,
    want: &Want<RouteSpec>,
) -> Result<Observed, CloudError> {
    let owner = &want.id().uid;
    let destinations = match want {
        Want::Present(spec) => &*spec.destinations,
        Want::Absent(_) | Want::Keep(_) => &[],
    };
    let mut keys = vec![Key::Owner(owner.clone())];
    keys.extend(destinations.iter().copied().map(Key::To));
    let all = routes.looks.ask(cx, keys, |keys| describe(routes, cx, keys)).await?;
    let is_asked = |route: &&Route| {
        destinations.contains(&route.destination) || marks::owner(route).as_ref() == Some(owner)
    };
    let mut found: Vec<_> = all.iter().filter(is_asked).cloned().collect();
    if found.is_empty() && matches!(want, Want::Absent(_)) {
        // The word of one answer is not enough to say that nothing is left.
        let tags = routes.scope.marks.of(owner);
        let table = Some(routes.scope.table.clone());
        found =
            routes.client.pieces(cx, ListPieces { tags, table, ..ListPieces::default() }).await?;
    }
    Ok(Observed { routes: found })
}

async fn describe(routes: &SimRoutes, cx: &Read, keys: Vec<Key>) -> Result<Vec<Route>, CloudError> {
    let mut ask = DescribeRoutes { table: Some(routes.scope.table.clone()), ..Default::default() };
    for key in keys {
        match key {
            Key::Owner(owner) => ask.owners.push(owner.as_str().to_owned()),
            Key::To(destination) => ask.destinations.push(destination),
        }
    }
    routes.client.describe_routes(cx, &ask).await
}

/// Every route with the cluster's mark, in our table and to the cluster's ranges.
pub(crate) async fn inventory(routes: &SimRoutes, cx: &Read) -> Result<Vec<Owned>, CloudError> {
    let scope = &routes.scope;
    let (tags, table) = (scope.marks.cluster(), Some(scope.table.clone()));
    let ask = ListPieces { tags, table, ..ListPieces::default() };
    let mut all: Vec<Route> = routes.client.pieces(cx, ask).await?;
    all.retain(|route| scope.contains(route.destination));
    let kind = PieceKind::Route.words();
    let owned = |route: &Route| Owned {
        kind,
        id: route.id.to_string(),
        owner: marks::owner(route),
        object: None,
    };
    Ok(all.iter().map(owned).collect())
}

impl Observed {
    /// The same with this route in place of its earlier form, or as a new one.
    pub(crate) fn with(&self, route: Route) -> Self {
        let mut all: BTreeMap<_, _> =
            self.routes.iter().map(|one| (one.id.clone(), one.clone())).collect();
        all.insert(route.id.clone(), route);
        Self { routes: all.into_values().collect() }
    }
}
