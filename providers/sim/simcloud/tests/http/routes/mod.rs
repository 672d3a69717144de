//! Routes.

mod faults;
mod life;
mod refusals;

use std::collections::BTreeMap;

use simcloud::api::{CreateRoute, InstanceId, Route, RouteId, UpdateRoute};

fn tags(owner: &str) -> BTreeMap<String, String> {
    BTreeMap::from([("cluster".into(), "a".into()), ("owner".into(), owner.into())])
}

fn instance(number: u64) -> InstanceId {
    InstanceId::new(format!("i-{number:016x}"))
}

/// A route to the instance of this number: 10.1.<number>.0/24.
fn new_route(number: u8) -> CreateRoute {
    let destination = format!("10.1.{number}.0/24").parse().unwrap();
    let route =
        CreateRoute::named(format!("u-{number}-ipv4"), destination, instance(number.into()));
    CreateRoute { tags: tags(&format!("u-{number}")), ..route }
}

fn retarget(number: u64) -> UpdateRoute {
    UpdateRoute { target: Some(instance(number)), ..UpdateRoute::default() }
}

fn id() -> RouteId {
    "rt-0000000000000001".into()
}

fn names(routes: &[Route]) -> Vec<&str> {
    routes.iter().map(|one| one.name.as_str()).collect()
}
