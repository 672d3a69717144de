//! The calls about routes, beside those that all pieces share.

use ccm_core::cloud::{CloudError, Operation, Read, Write};
use simcloud::api::{self, DescribeRoutes, Etag, Items, PieceKind, Route, RouteId, path};

use super::load_balancers::found;
use super::{Client, READS, WRITES, unknown_call, with_body};

const DESCRIBE: Operation = Operation(api::Operation::DescribeRoutes.as_str());
const DELETE: Operation = Operation(api::Operation::DeleteRoute.as_str());

impl Client {
    /// `DescribeRoutes`: the routes of these owners and those with these destinations, each once;
    /// what the cloud does not know is missing.
    pub(crate) async fn describe_routes(
        &self,
        cx: &Read,
        ask: &DescribeRoutes,
    ) -> Result<Vec<Route>, CloudError> {
        let request = self.http.post(self.endpoint.url(path::DESCRIBE_ROUTES));
        let send = self.send(DESCRIBE, with_body(request, ask));
        let answer: Items<Route> = cx.call(DESCRIBE, READS, send).await.map_err(unknown_call)?;
        Ok(answer.items)
    }

    /// `DeleteRoute`: the route on its way out. `None` when it is gone already.
    /// [`Kind::Conflict`](ccm_core::cloud::Kind::Conflict) when it has another etag by now.
    pub(crate) async fn delete_route(
        &self,
        cx: &Write,
        id: &RouteId,
        etag: &Etag,
    ) -> Result<Option<Route>, CloudError> {
        let pairs = [("etag", etag.to_string())];
        let url = self.query(&path::piece(PieceKind::Route, id), &pairs);
        found(cx.call(DELETE, WRITES, self.send(DELETE, self.http.delete(url))).await)
    }
}
