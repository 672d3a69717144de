//! Reads that the API server had no time for are sent again.

use http::Request;
use kube::Client;
use kube::client::Body;
use kube::client::retry::RetryPolicy;
use tower::retry::RetryLayer;
use tower::{BoxError, Layer, service_fn};

/// Has what `client` sends be sent again where the answer is 429, 503 or 504, by kube's own rules.
///
/// kube would do it by itself, but inside of everything that we add: tries were neither counted nor paced.
pub(super) fn client(client: Client) -> Client {
    let namespace = client.default_namespace().to_owned();
    let sent = service_fn(move |request: Request<Body>| {
        let client = client.clone();
        async move { client.send(request).await.map_err(BoxError::from) }
    });
    Client::new(RetryLayer::new(RetryPolicy::server_retry()).layer(sent), namespace)
}
