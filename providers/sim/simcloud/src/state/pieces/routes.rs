//! Routes. Whether one is a blackhole is no part of it: that is seen when it is shown.

use std::collections::BTreeSet;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::table::{Asked, Body, New, Piece, id_of};
use super::{
    Cx, ListAsk, Listed, Made, Pieces, Refusal, check_name, check_new, check_new_tags, checked,
};
use crate::api::{
    ChangeRoute, CreateRoute, CreateRoutes, DescribeRoutes, Etag, InstanceId, MAIN_TABLE,
    OWNER_TAG, PieceKind, PieceState, Quota, Route, RouteId, Timestamp, UpdateRoute,
};
use crate::state::{Fleet, instances};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RouteBody {
    pub(super) table: String,
    pub(super) destination: IpNet,
    /// Number of the instance.
    pub(super) target: u64,
    /// Counts up with every change.
    form: u64,
}

impl RouteBody {
    fn etag(&self) -> Etag {
        Etag::new(format!("v{}", self.form))
    }
}

impl Body for RouteBody {
    const KIND: PieceKind = PieceKind::Route;
    type Shown = Route;

    fn show(piece: &Piece<Self>, number: u64, time: Timestamp) -> Route {
        let state = piece.state(time);
        Route {
            id: RouteId::new(id_of(Self::KIND, number)),
            name: piece.name.clone(),
            tags: piece.tags.clone(),
            state,
            failure: piece.failure.clone().filter(|_| state == PieceState::Failed),
            table: piece.body.table.clone(),
            destination: piece.body.destination,
            target: instances::id_of(piece.body.target),
            blackhole: false,
            etag: piece.body.etag(),
            created_at: piece.created_at,
        }
    }
}

/// Which routes of a list are wanted, beside what all lists know.
#[derive(Debug, Default)]
pub(crate) struct RouteAsk<'a> {
    /// The table that a route must be in.
    pub(crate) table: Option<&'a str>,
    /// The destination that a route must have.
    pub(crate) destination: Option<IpNet>,
}

impl Pieces {
    pub(crate) fn route(&self, cx: &Cx<'_>, fleet: &Fleet, id: &str) -> Result<Route, Refusal> {
        Ok(judged(fleet, cx.moment.seen(), self.routes.get(cx, id)?))
    }

    /// A page of the routes.
    pub(crate) fn list_routes(
        &self,
        cx: &Cx<'_>,
        fleet: &Fleet,
        ask: &ListAsk<'_>,
        of: &RouteAsk<'_>,
    ) -> Listed<Route> {
        let Listed { items, next } = self.routes.list(cx, ask, |body| {
            of.table.is_none_or(|table| body.table == table)
                && of.destination.is_none_or(|destination| body.destination == destination)
        });
        let seen = cx.moment.seen();
        Listed { items: items.into_iter().map(|one| judged(fleet, seen, one)).collect(), next }
    }

    /// Those of these owners, and those with these destinations.
    pub(crate) fn describe_routes(
        &self,
        cx: &Cx<'_>,
        fleet: &Fleet,
        ask: &DescribeRoutes,
    ) -> Result<Vec<Route>, Refusal> {
        let (asked, limit) = (ask.owners.len() + ask.destinations.len(), cx.settings.batch_limit);
        if asked > limit {
            return Err(Refusal::BatchTooLarge { asked, limit });
        }
        for (index, destination) in ask.destinations.iter().enumerate() {
            check_network(&format!("destinations[{index}]"), *destination)?;
        }
        let owners: BTreeSet<&str> = ask.owners.iter().map(String::as_str).collect();
        let destinations: BTreeSet<IpNet> = ask.destinations.iter().copied().collect();
        let seen = cx.moment.seen();
        let found = self.routes.present(seen).filter(|(_, piece)| {
            ask.table.as_ref().is_none_or(|table| piece.body.table == *table)
                && (destinations.contains(&piece.body.destination)
                    || piece.tags.get(OWNER_TAG).is_some_and(|one| owners.contains(one.as_str())))
        });
        let shown = found.map(|(number, piece)| RouteBody::show(piece, number, seen));
        Ok(shown.map(|one| judged(fleet, seen, one)).collect())
    }

    pub(crate) fn create_route(
        &mut self,
        cx: &Cx<'_>,
        fleet: &Fleet,
        wanted: CreateRoute,
    ) -> Result<Made<Route>, Refusal> {
        check_new(&wanted.name, &wanted.tags, wanted.client_token.as_ref())?;
        check_network("destination", wanted.destination)?;
        let asked = Asked::new(wanted.client_token.as_ref(), &wanted);
        let table = wanted.table.unwrap_or_else(|| MAIN_TABLE.to_owned());
        checked(check_name("table", &table))?;
        if let Some(number) = self.routes.repeated(cx, asked.as_ref())? {
            let piece = judged(fleet, cx.now(), self.routes.shown(cx, number));
            return Ok(Made { piece, is_new: false });
        }
        let destination = wanted.destination;
        let mut of_table = 0;
        for (other, piece) in self.routes.present(cx.now()) {
            if piece.body.table != table {
                continue;
            }
            if piece.body.destination == destination {
                let other = id_of(PieceKind::Route, other);
                let why = format!("destination: route {other} has {destination} in table {table}");
                return Err(Refusal::Conflict(why));
            }
            of_table += 1;
        }
        let target = usable(fleet, cx.now(), &wanted.target)?;
        cx.check_quota(Quota::RoutesOfTable, of_table + 1)?;
        let body = RouteBody { table, destination, target, form: 1 };
        let new = New { name: wanted.name, tags: wanted.tags, asked, body };
        let number = self.routes.insert(cx, new)?;
        self.changes += 1;
        let piece = judged(fleet, cx.now(), self.routes.shown(cx, number));
        Ok(Made { piece, is_new: true })
    }

    /// Makes routes: all, or none when one cannot be had.
    pub(crate) fn create_routes(
        &mut self,
        cx: &Cx<'_>,
        fleet: &Fleet,
        batch: CreateRoutes,
    ) -> Result<Vec<Route>, Refusal> {
        let (asked, limit) = (batch.routes.len(), cx.settings.batch_limit);
        if asked > limit {
            return Err(Refusal::BatchTooLarge { asked, limit });
        }
        let (routes, changes) = (self.routes.clone(), self.changes);
        let mut made = Vec::with_capacity(asked);
        for (index, wanted) in batch.routes.into_iter().enumerate() {
            match self.create_route(cx, fleet, wanted) {
                Ok(route) => made.push(route.piece),
                Err(refusal) => {
                    (self.routes, self.changes) = (routes, changes);
                    return Err(refusal.within(&format!("routes[{index}]")));
                }
            }
        }
        Ok(made)
    }

    pub(crate) fn update_route(
        &mut self,
        cx: &Cx<'_>,
        fleet: &Fleet,
        id: &str,
        update: UpdateRoute,
    ) -> Result<Route, Refusal> {
        check_new_tags(update.tags.as_ref())?;
        let (number, piece) = self.routes.changeable(cx, id)?;
        check_etag(id, &piece.body, update.etag.as_ref())?;
        let target = match &update.target {
            Some(target) => Some(usable(fleet, cx.now(), target)?),
            None => None,
        };
        let differs = self.routes.change(cx, number, |piece| {
            let before = piece.clone();
            if let Some(tags) = update.tags {
                piece.tags = tags;
            }
            if let Some(target) = target {
                piece.body.target = target;
            }
            piece.body.form += u64::from(*piece != before);
        });
        self.changes += u64::from(differs);
        Ok(judged(fleet, cx.now(), self.routes.shown(cx, number)))
    }

    /// Deletes a route, if it still is as the caller knows it.
    pub(crate) fn delete_route(
        &mut self,
        cx: &Cx<'_>,
        fleet: &Fleet,
        id: &str,
        etag: Option<&Etag>,
    ) -> Result<Route, Refusal> {
        let (number, piece) = self.routes.existing(cx, id)?;
        check_etag(id, &piece.body, etag)?;
        let begins = self.routes.delete(cx, number);
        self.changes += u64::from(begins);
        Ok(judged(fleet, cx.now(), self.routes.shown(cx, number)))
    }

    /// Lets packets go elsewhere, by the operator's hand.
    pub(crate) fn change_route(
        &mut self,
        cx: &Cx<'_>,
        fleet: &Fleet,
        id: &str,
        change: &ChangeRoute,
    ) -> Result<Route, Refusal> {
        let (number, _) = self.routes.existing(cx, id)?;
        let why = || format!("{} is no ID of an instance", change.target);
        let target = instances::number_of(&change.target)
            .ok_or_else(|| Refusal::invalid("target", why()))?;
        self.routes.change(cx, number, |piece| {
            piece.body.form += u64::from(piece.body.target != target);
            piece.body.target = target;
        });
        Ok(judged(fleet, cx.now(), self.routes.shown(cx, number)))
    }
}

/// The route with what is to be said of its target at a time.
fn judged(fleet: &Fleet, time: Timestamp, route: Route) -> Route {
    Route { blackhole: fleet.is_gone(time, &route.target), ..route }
}

/// The number of an instance that packets may go to from now on.
fn usable(fleet: &Fleet, now: Timestamp, target: &InstanceId) -> Result<u64, Refusal> {
    let there = instances::number_of(target).filter(|_| fleet.may_serve(now, target));
    let why = || format!("target: instance {target} is gone, or never was");
    there.ok_or_else(|| Refusal::Conflict(why()))
}

fn check_network(field: &str, destination: IpNet) -> Result<(), Refusal> {
    let network = destination.trunc();
    if destination == network {
        return Ok(());
    }
    Err(Refusal::invalid(field, format!("{destination} has host bits; {network} has not")))
}

fn check_etag(id: &str, body: &RouteBody, known: Option<&Etag>) -> Result<(), Refusal> {
    let etag = body.etag();
    match known {
        Some(known) if *known != etag => {
            Err(Refusal::Conflict(format!("etag: route {id} has {etag}, not {known}")))
        }
        Some(_) | None => Ok(()),
    }
}
