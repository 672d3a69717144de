//! The kit against routes that break their promises, one each: somebody has to notice. The provider
//! has one table that all nodes share, and writes many of its lines at once.

#![allow(clippy::unwrap_used, reason = "this is a test")]

mod toy;

use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use ccm_conformance::{
    Cluster, Fault, Harness, Path, Placed, ReadFault, RouteHarness, RouteMark, Unsupported,
    WriteFault, routes, run,
};
use ccm_core::cloud::{CloudProvider, NodeIdentity, NodeName, Uid};
use ipnet::IpNet;

use self::toy::{Broken, Cloud, Entry, Provider, State};

struct Memory(Arc<Cloud>);

impl Memory {
    fn new(broken: Broken) -> Self {
        Self(Arc::new(Cloud {
            broken,
            state: Mutex::new(State::default()),
            mutations: Mutex::default(),
            writes: Mutex::default(),
            reads: Mutex::default(),
            denied: Mutex::default(),
        }))
    }

    fn provider(&self, cluster: Cluster, ranges: &[IpNet]) -> Arc<dyn CloudProvider> {
        let (cloud, cluster) = (Arc::clone(&self.0), name_of(cluster));
        Arc::new(Provider { cloud, cluster, ranges: ranges.to_vec() })
    }
}

fn name_of(cluster: Cluster) -> &'static str {
    match cluster {
        Cluster::Ours => "ours",
        Cluster::Another => "another",
    }
}

#[async_trait]
impl Harness for Memory {
    fn cloud(&self) -> Arc<dyn CloudProvider> {
        self.provider(Cluster::Ours, &[])
    }

    async fn launch(&self) -> NodeIdentity {
        let mut state = self.0.state();
        let name = format!("node-{:03}", state.machines.len());
        state.machines.insert(name.clone(), true);
        NodeIdentity {
            name: NodeName::from(name.as_str()),
            uid: Uid::from(format!("uid-of-{name}")),
            created: SystemTime::now(),
            provider_id: None,
            system_uuid: None,
            addresses: vec![],
            labels: [].into(),
            annotations: [].into(),
            is_initialized: false,
        }
    }

    async fn stop(&self, _: &NodeIdentity) {}

    async fn start(&self, _: &NodeIdentity) {}

    async fn terminate(&self, node: &NodeIdentity) {
        self.0.state().machines.insert(node.name.to_string(), false);
    }

    async fn forget(&self, node: &NodeIdentity) {
        self.terminate(node).await;
    }

    async fn replace(&self, node: &NodeIdentity) -> NodeIdentity {
        node.clone()
    }

    async fn inject(&self, _: Fault) -> Result<(), Unsupported> {
        Err(Unsupported)
    }

    async fn heal(&self) {
        *self.0.writes.lock().unwrap() = None;
        *self.0.reads.lock().unwrap() = None;
        *self.0.denied.lock().unwrap() = None;
    }
}

#[async_trait]
impl RouteHarness for Memory {
    fn process(
        &self,
        cluster: Cluster,
        ranges: &[IpNet],
    ) -> Result<Arc<dyn CloudProvider>, Unsupported> {
        Ok(self.provider(cluster, ranges))
    }

    async fn snapshot(&self, cluster: Cluster) -> Vec<String> {
        let table = &self.0.state().table;
        let ours = table.iter().filter(|it| it.cluster == name_of(cluster));
        ours.map(|it| format!("{it:?}")).collect()
    }

    async fn paths(&self) -> Vec<Path> {
        let state = self.0.state();
        let is_there = |name: &&String| state.machines.get(*name) == Some(&true);
        let path = |it: &Entry| Path {
            destination: it.destination,
            node: Some(&it.target).filter(is_there).map(|name| NodeName::from(name.as_str())),
        };
        state.table.iter().map(path).collect()
    }

    async fn mutations(&self) -> u64 {
        *self.0.mutations.lock().unwrap()
    }

    async fn put(&self, route: &Placed<'_>) -> Result<(), Unsupported> {
        let (cluster, owner) = match &route.mark {
            RouteMark::Ours(owner) => ("ours", owner.as_str()),
            RouteMark::Another => ("a third", "somebody"),
            RouteMark::Nobody => ("", ""),
        };
        let target = route.node.name.to_string();
        let (cluster, owner) = (cluster.to_owned(), owner.to_owned());
        let table = &mut self.0.state().table;
        table.push(Entry { destination: route.destination, target, cluster, owner });
        table.sort();
        Ok(())
    }

    async fn remove(&self, destination: IpNet) {
        self.0.state().table.retain(|it| it.destination != destination);
    }

    async fn mislead(&self, destination: IpNet, to: &NodeIdentity) -> Result<(), Unsupported> {
        let table = &mut self.0.state().table;
        let entry = table.iter_mut().find(|it| it.destination == destination);
        entry.unwrap().target = to.name.to_string();
        Ok(())
    }

    async fn inject_on_writes(&self, fault: WriteFault, pass: usize) -> Result<(), Unsupported> {
        *self.0.writes.lock().unwrap() = Some((fault, pass));
        Ok(())
    }

    async fn inject_on_route(&self, destination: IpNet) -> Result<(), Unsupported> {
        *self.0.denied.lock().unwrap() = Some(destination);
        Ok(())
    }

    async fn inject_on_reads(&self, fault: ReadFault) -> Result<(), Unsupported> {
        *self.0.reads.lock().unwrap() = Some(fault);
        Ok(())
    }

    fn many_nodes(&self) -> usize {
        50
    }

    fn patience(&self) -> Duration {
        Duration::from_secs(5)
    }
}

mod a_good_provider {
    use super::*;

    ccm_conformance::conformance!(routes, Memory::new(Broken::nothing));
}

macro_rules! noticed {
    ($($broken:ident: $($behaviour:ident $says:literal),+;)+) => {
        $(
            mod $broken {
                use super::*;

                $(
                    #[test]
                    #[should_panic(expected = $says)]
                    fn $behaviour() {
                        let harness = async { Memory::new(Broken::$broken) };
                        run(harness, routes::$behaviour);
                    }
                )+
            }
        )+
    };
}

noticed! {
    asks_by_changing:
        nothing_is_sent_when_nothing_differs "requests that took effect behind the engine";
    plans_what_is_there:
        a_new_node_is_routed "does not converge";
    remembers_what_it_made:
        a_restart_sends_nothing "sent by a process that finds all as it should be",
        what_another_program_left_is_taken_over "sent for what another program left",
        a_crash_while_taking_away_leaves_no_trace "crashed at change 1";
    leaks:
        a_node_that_goes_leaves_nothing "its route is left";
    keeps_former_ranges:
        another_range_is_followed "the route to the former range is left";
    knows_one_family:
        a_node_of_two_families_gets_both "one route to fd00:244:0:2::/64";
    looks_at_no_target:
        another_machine_is_followed "where it leads",
        what_somebody_else_changed_is_put_right "led elsewhere by hand";
    makes_all_anew:
        another_machine_is_followed "packets are lost";
    leaves_lost_routes:
        a_route_to_a_lost_machine_goes_with_its_node "a route to nowhere is left";
    ends_by_the_range:
        a_range_passes_to_another_node "not settled";
    counts_only_the_first_page:
        many_nodes_are_routed "not all are in the inventory";
    goes_by_the_order:
        plans_do_not_depend_on_the_order "another plan from nodes in another order";
    sends_two_in_one:
        a_change_is_one_request_at_most "requests took effect for";
    takes_everybodys:
        a_foreign_route_in_the_way_stops_that_node_alone "is in no trouble";
    fails_for_all:
        a_foreign_route_in_the_way_stops_that_node_alone "is somebody else's";
    complains_vaguely:
        a_foreign_route_in_the_way_stops_that_node_alone "does not name 10.244.1.0/24";
    sweeps_outside:
        routes_outside_the_clusters_ranges_are_left_alone "outside the cluster's, is gone";
    lists_what_is_outside:
        routes_outside_the_clusters_ranges_are_left_alone "outside the cluster's ranges is listed";
    lists_everybodys:
        routes_of_others_are_left_alone "only ours are listed",
        the_inventory_is_complete_and_only_ours "with a route of nobody's";
    knows_no_clusters:
        another_clusters_routes_are_left_alone "the other cluster has nothing";
    takes_kept_for_absent:
        what_is_kept_loses_nothing "one route to 10.244.1.0/24";
    hides_denial:
        a_denied_change_says_so_and_heals "another kind of failure",
        a_failing_node_stops_nobody_else "another kind of failure";
    hides_quotas:
        an_exhausted_quota_says_so_and_heals "another kind of failure";
    hides_outages:
        an_outage_says_so_and_heals "another kind of failure";
    does_not_say_how_long:
        throttled_changes_say_how_long_to_wait "another kind of failure";
    adds_without_a_look:
        another_machine_is_followed "does not converge";
    takes_outages_for_success:
        an_outage_says_so_and_heals "another kind of failure";
    takes_denial_for_nothing:
        denied_looks_change_nothing "another kind of failure";
    believes_short_answers:
        short_answers_change_nothing "after a short answer",
        a_short_answer_hides_nothing_that_is_to_go "gone after a short answer";
}
