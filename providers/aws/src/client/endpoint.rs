//! Endpoints that the configuration gives instead of the region's own.

use aws_smithy_runtime_api::client::endpoint::{
    EndpointFuture, EndpointResolverParams, ResolveEndpoint, SharedEndpointResolver,
};
use aws_smithy_types::endpoint::{Endpoint, EndpointAuthScheme};

use crate::config::{Overrides, Service};

/// The resolver for a service, where an override applies to it. Without one the SDK finds the
/// endpoint: from `AWS_ENDPOINT_URL…`, or by the region.
pub(super) fn resolver(
    overrides: &Overrides,
    service: Service,
    region: &str,
) -> Option<SharedEndpointResolver> {
    let given = overrides.find(service, region)?;
    let mut signing = EndpointAuthScheme::with_capacity("sigv4", 2)
        .put("signingRegion", given.signing_region.clone());
    if let Some(name) = &given.signing_name {
        signing = signing.put("signingName", name.clone());
    }
    // The SDK puts the path of a request behind.
    let url = given.url.as_str().trim_end_matches('/').to_owned();
    let endpoint = Endpoint::builder().url(url).auth_scheme(signing).build();
    Some(SharedEndpointResolver::new(Given(endpoint)))
}

/// Always the same endpoint.
#[derive(Debug)]
struct Given(Endpoint);

impl ResolveEndpoint for Given {
    fn resolve_endpoint<'a>(&'a self, _: &'a EndpointResolverParams) -> EndpointFuture<'a> {
        EndpointFuture::ready(Ok(self.0.clone()))
    }
}
