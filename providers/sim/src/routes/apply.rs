//! Carries one change out, and says what the unit is now where the answer tells.

use ccm_core::cloud::{CloudError, Kind, Learnt, Uid, Write};
use ipnet::IpNet;
use simcloud::api::{
    CreateRoute, InstanceId, PieceKind, PieceState, Route, RouteId, RunState, UpdateRoute,
};

use super::change::{RouteChange, What};
use super::observe::Observed;
use super::{SimRoutes, marks};
use crate::load_balancers::piece_token;

/// Sends the change.
pub(crate) async fn apply(
    routes: &SimRoutes,
    cx: &Write,
    change: &RouteChange,
    observed: &Observed,
) -> Result<Learnt<Observed>, CloudError> {
    let RouteChange { node, destination, what } = change;
    let (target, sent) = match what {
        What::Create { target } => {
            (target, create(routes, cx, &node.uid, *destination, target).await)
        }
        What::Retarget { target } => {
            let update = UpdateRoute { target: Some(target.clone()), ..UpdateRoute::default() };
            (target, set(routes, cx, *destination, observed, update).await)
        }
        What::TakeOver { target, .. } => {
            let there = find(*destination, observed)?;
            // Tags of others stay.
            let mut tags = there.tags.clone();
            tags.extend(routes.scope.marks.of(&node.uid));
            let update = UpdateRoute { target: Some(target.clone()), tags: Some(tags), etag: None };
            (target, set(routes, cx, *destination, observed, update).await)
        }
        What::Delete { id } => return delete(routes, cx, id, observed).await,
    };
    match sent {
        Ok(route) => Ok(Learnt::Now(observed.with(route))),
        Err(err) if err.kind() == Kind::Conflict => Err(why(routes, cx, target, err).await),
        Err(err) => Err(err),
    }
}

async fn create(
    routes: &SimRoutes,
    cx: &Write,
    owner: &Uid,
    destination: IpNet,
    target: &InstanceId,
) -> Result<Route, CloudError> {
    let mut wanted = CreateRoute {
        table: Some(routes.scope.table.clone()),
        tags: routes.scope.marks.of(owner),
        ..CreateRoute::named(marks::name(owner, destination), destination, target.clone())
    };
    wanted.client_token = Some(piece_token(owner, PieceKind::Route, &wanted));
    routes.client.create(cx, &wanted).await
}

/// Changes the route there, if it still is as it was seen.
async fn set(
    routes: &SimRoutes,
    cx: &Write,
    destination: IpNet,
    observed: &Observed,
    update: UpdateRoute,
) -> Result<Route, CloudError> {
    let there = find(destination, observed)?;
    let update = UpdateRoute { etag: Some(there.etag.clone()), ..update };
    routes.client.update::<Route>(cx, &there.id, &update).await
}

/// Deletes a route, if it still is as it was seen: somebody may have taken it over meanwhile.
async fn delete(
    routes: &SimRoutes,
    cx: &Write,
    id: &RouteId,
    observed: &Observed,
) -> Result<Learnt<Observed>, CloudError> {
    // What is not there any more is gone, which is what was wanted.
    if let Some(there) = observed.routes.iter().find(|route| route.id == *id) {
        routes.client.delete_route(cx, id, &there.etag).await?;
    }
    Ok(Learnt::LookAgain)
}

/// The route with this destination.
fn find(destination: IpNet, observed: &Observed) -> Result<&Route, CloudError> {
    let is_it =
        |route: &&Route| route.destination == destination && route.state != PieceState::Deleting;
    observed.routes.iter().find(is_it).ok_or_else(|| {
        CloudError::new(Kind::Conflict, format!("route {destination} is not there any more"))
    })
}

/// Why the cloud says that something is not as it was seen: to look again does not help where the
/// instance is gone.
async fn why(routes: &SimRoutes, cx: &Write, target: &InstanceId, err: CloudError) -> CloudError {
    let is_gone = match routes.client.get_instance(cx, target).await {
        Ok(record) => record.instance.is_ok_and(|one| one.state == RunState::Terminated),
        Err(err) => err.kind() == Kind::NotFound,
    };
    if !is_gone {
        return err;
    }
    let message = format!("the node's instance {target} is gone: there is nowhere to route to");
    CloudError::new(Kind::NotFound, message).with_source(err)
}
