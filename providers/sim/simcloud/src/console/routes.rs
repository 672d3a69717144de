//! Routes: as any caller has them, and by the operator's hand. What all pieces have in common is with
//! the load balancers.

use reqwest::Method;

use super::{Console, Result, answer};
use crate::api::{
    ChangeRoute, CreateRoute, CreateRoutes, DescribeRoutes, Etag, Items, PieceKind, Route, RouteId,
    path,
};

impl Console {
    /// Looks routes up by owner or destination; unknown ones are missing.
    pub async fn describe_routes(&self, ask: &DescribeRoutes) -> Result<Vec<Route>> {
        let found: Items<Route> =
            answer(self.cloud(Method::POST, path::DESCRIBE_ROUTES).json(ask)).await?;
        Ok(found.items)
    }

    /// Makes many routes in one call, all or none.
    pub async fn create_routes(&self, routes: Vec<CreateRoute>) -> Result<Vec<Route>> {
        let batch = CreateRoutes { routes };
        let made: Items<Route> =
            answer(self.cloud(Method::POST, path::BATCH_CREATE_ROUTES).json(&batch)).await?;
        Ok(made.items)
    }

    /// Deletes a route, if it still is of this form; shows it on its way out.
    pub async fn delete_route(&self, id: &RouteId, etag: &Etag) -> Result<Route> {
        let request = self.cloud(Method::DELETE, &path::piece(PieceKind::Route, id));
        answer(request.query(&[("etag", etag.as_str())])).await
    }

    /// Lets the packets of a route go elsewhere, by the operator's hand.
    pub async fn change_route_by_hand(&self, id: &RouteId, change: &ChangeRoute) -> Result<Route> {
        answer(self.control(Method::PATCH, &path::forced_route(id)).json(change)).await
    }
}
