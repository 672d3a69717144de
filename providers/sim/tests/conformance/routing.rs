//! The simulated cloud's routes, from behind the provider's back.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use ccm_conformance::{
    Cluster, Path, Placed, ReadFault, RouteHarness, RouteMark, Unsupported, WriteFault,
};
use ccm_core::cloud::{CloudProvider, NodeIdentity};
use ipnet::IpNet;
use simcloud::api::{
    CLUSTER_TAG, ChangeRoute, CreateRoute, FaultExtent, FaultKind, FaultSpec, ListPieces,
    MAIN_TABLE, OWNER_TAG, Operation, OperationClass, OperationFilter, Quota, Route,
};

use super::balancing::{cluster_tags, name_of};
use super::{CALLER, CLUSTER, SimHarness, instance, process};

impl SimHarness {
    /// Every route in the table.
    async fn routes(&self) -> Vec<Route> {
        let table = Some(MAIN_TABLE.to_owned());
        self.console.all_pieces(ListPieces { table, ..ListPieces::default() }).await.unwrap()
    }

    async fn route(&self, destination: IpNet) -> Route {
        let routes = self.routes().await;
        routes.into_iter().find(|route| route.destination == destination).unwrap()
    }
}

#[async_trait]
impl RouteHarness for SimHarness {
    fn process(
        &self,
        cluster: Cluster,
        ranges: &[IpNet],
    ) -> Result<Arc<dyn CloudProvider>, Unsupported> {
        Ok(process(self.console.url(), name_of(cluster), ranges))
    }

    async fn snapshot(&self, cluster: Cluster) -> Vec<String> {
        let snapshot = self.console.snapshot(&cluster_tags(name_of(cluster))).await.unwrap();
        // A route that is taken over keeps its name, which nothing depends on.
        let nameless = |line: &String| {
            let (kind, rest) = line.split_once(' ').unwrap();
            format!("{kind} {}", rest.split_once(' ').unwrap().1)
        };
        let mut lines: Vec<_> = snapshot.pieces.iter().map(nameless).collect();
        lines.sort();
        lines
    }

    async fn paths(&self) -> Vec<Path> {
        let routes = self.routes().await;
        let names = self.names.lock().unwrap();
        let path = |route: &Route| Path {
            destination: route.destination,
            node: names.get(&route.target).filter(|_| !route.blackhole).cloned(),
        };
        routes.iter().map(path).collect()
    }

    async fn mutations(&self) -> u64 {
        self.console.calls().await.unwrap().mutations_by(CALLER)
    }

    async fn put(&self, route: &Placed<'_>) -> Result<(), Unsupported> {
        let tag = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        let tags = match &route.mark {
            RouteMark::Ours(owner) => {
                vec![tag(CLUSTER_TAG, CLUSTER), tag(OWNER_TAG, owner.as_str())]
            }
            RouteMark::Another => vec![tag(CLUSTER_TAG, "a third"), tag(OWNER_TAG, "somebody")],
            RouteMark::Nobody => vec![],
        };
        let wanted = CreateRoute::named("left-behind", route.destination, instance(route.node));
        let wanted = CreateRoute { tags: tags.into_iter().collect(), ..wanted };
        self.console.create_piece(&wanted).await.unwrap();
        Ok(())
    }

    async fn remove(&self, destination: IpNet) {
        self.console.remove_by_hand(&self.route(destination).await.id).await.unwrap();
    }

    async fn mislead(&self, destination: IpNet, to: &NodeIdentity) -> Result<(), Unsupported> {
        let change = ChangeRoute { target: instance(to) };
        let route = self.route(destination).await.id;
        self.console.change_route_by_hand(&route, &change).await.unwrap();
        Ok(())
    }

    async fn inject_on_writes(&self, fault: WriteFault, pass: usize) -> Result<(), Unsupported> {
        self.fault_on_writes(fault, pass, Quota::RoutesOfTable).await;
        Ok(())
    }

    async fn inject_on_route(&self, destination: IpNet) -> Result<(), Unsupported> {
        let writes = OperationFilter::Class(OperationClass::Write);
        let spec = FaultSpec::always(writes, FaultKind::PermissionDenied);
        let (caller, resource) = (Some(CALLER.to_owned()), Some(destination.to_string()));
        self.console.add_fault(&FaultSpec { caller, resource, ..spec }).await.unwrap();
        Ok(())
    }

    async fn inject_on_reads(&self, fault: ReadFault) -> Result<(), Unsupported> {
        let once = FaultExtent { calls: Some(1), ..FaultExtent::default() };
        let always = FaultExtent { share: Some(1.0), ..FaultExtent::default() };
        let (operations, kind, extent) = match fault {
            ReadFault::Denied => (
                vec![Operation::DescribeRoutes, Operation::ListRoutes],
                FaultKind::PermissionDenied,
                always,
            ),
            ReadFault::Short => (vec![Operation::DescribeRoutes], FaultKind::EmptyPage, once),
        };
        for operation in operations {
            let spec = FaultSpec::always(OperationFilter::One(operation), kind);
            let spec = FaultSpec { extent, caller: Some(CALLER.to_owned()), ..spec };
            self.console.add_fault(&spec).await.unwrap();
        }
        Ok(())
    }

    fn patience(&self) -> Duration {
        Duration::from_secs(30)
    }
}
