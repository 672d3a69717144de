//! Metrics: one struct per area, handed to whoever counts; no globals.
//!
//! Names are upstream's where upstream has one. prometheus-client adds `_total` to counters by
//! itself; the tests look at the names on the wire.

mod access;
mod api;
mod cloud;
mod converge;
mod node;
mod node_ipam;
mod node_lifecycle;
mod process;
mod queue;
mod route;
mod service;
mod usage;
mod volume;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;

pub use self::access::AccessMetrics;
pub use self::api::ApiMetrics;
pub use self::cloud::CloudMetrics;
pub use self::converge::ConvergeMetrics;
pub use self::node::NodeMetrics;
pub use self::node_ipam::IpamMetrics;
pub use self::node_lifecycle::LifecycleMetrics;
pub use self::process::ProcessMetrics;
pub use self::queue::QueueMetrics;
pub(crate) use self::queue::{Backlog, Load};
pub use self::route::RouteMetrics;
pub use self::service::ServiceMetrics;
pub use self::volume::VolumeMetrics;

type Histograms<L> = Family<L, Histogram, fn() -> Histogram>;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabel {
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct WriteLabel {
    write: &'static str,
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use prometheus_client::encoding::text::encode;
    use prometheus_client::registry::Registry;

    use super::*;
    use crate::cloud::{Bucket, Effect, Kind, Operation};

    #[test]
    fn names_on_the_wire_are_what_dashboards_expect() {
        let mut registry = Registry::default();
        let queues = QueueMetrics::register(&mut registry);
        let cloud = CloudMetrics::register(&mut registry, "cloudprovider_sim")
            .named(&[("DescribeInstances", "describe_instance")]);
        let node = NodeMetrics::register(&mut registry, &queues);
        let lifecycle = LifecycleMetrics::register(&mut registry);
        let service = ServiceMetrics::register(&mut registry, &queues);
        let converge = ConvergeMetrics::register(&mut registry, &queues).of("route");
        let route = RouteMetrics::register(&mut registry, &queues);
        service.hosts_updated(Duration::from_millis(1500));
        service.hosts_not_updated(Duration::from_secs(3));
        service.nodes_passed(Duration::from_mins(150));
        service.balancers("Ready", 2);
        service.addressed(Duration::from_secs(3));
        service.drifted();
        service.orphans("firewall", 3);
        service.write("status");
        service.refused("changed");
        converge.ended("Done", Duration::from_millis(30));
        converge.change(Effect::Create, Ok(()), Duration::from_millis(30));
        converge.units(7);
        converge.begun();
        converge.begun();
        route.synced("node_change", "changed");
        route.nodes("Reachable", 3);
        route.reached(Duration::from_secs(3));
        route.drifted();
        route.strays(2);
        route.write();
        route.refused("changed");
        cloud.bucket(Bucket("reads"), 4, None);
        cloud.not_sent(Bucket("reads"), "paused");
        lifecycle.looked(Duration::from_millis(3));
        lifecycle.asked("success");
        lifecycle.write("taint");
        lifecycle.refused("changed");
        lifecycle.deleted("absent", "budget");
        lifecycle.budget(4, 0.5, 3);
        cloud.request(Operation("Describe"), Duration::from_millis(3), Err(Kind::Unavailable));
        let describe = Operation("DescribeInstances");
        cloud.request(describe, Duration::from_millis(3), Ok(()));
        cloud.waiting(Bucket("reads"), 2);
        node.initialized(Duration::from_secs(3));
        node.waiting("PermissionDenied", 1);
        node.write("status");
        node.refused("forbidden");

        let mut text = String::new();
        encode(&mut text, &registry).unwrap();
        for line in [
            r#"cloudprovider_sim_api_request_duration_seconds_count{request="Describe"} 1"#,
            r#"cloudprovider_sim_api_request_duration_seconds_count{request="describe_instance"} 1"#,
            r#"cloudprovider_sim_api_request_errors_total{request="Describe",reason="CloudUnavailable"} 1"#,
            r#"ccm_cloud_requests_waiting{bucket="reads"} 2"#,
            r#"ccm_cloud_bucket_permits{bucket="reads"} 4"#,
            r#"ccm_cloud_bucket_paused_until_timestamp_seconds{bucket="reads"} 0.0"#,
            r#"ccm_cloud_requests_not_sent_total{bucket="reads",reason="paused"} 1"#,
            r#"cloud_node_lifecycle_controller_monitor_nodes_duration_seconds_bucket{le="0.004"} 1"#,
            r#"cloud_node_lifecycle_controller_cloud_provider_calls_total{operation="instance_exists",result="success"} 1"#,
            r#"ccm_node_lifecycle_writes_total{write="taint"} 1"#,
            r#"ccm_node_lifecycle_writes_refused_total{reason="changed"} 1"#,
            r#"ccm_node_deletions_total{evidence="absent",permit="budget"} 1"#,
            "ccm_node_deletions_held 4",
            "ccm_node_deletion_budget_left 0.5",
            "ccm_node_deletion_budget_size 3",
            r#"node_controller_cloud_provider_taint_removal_delay_seconds_bucket{le="4.0"} 1"#,
            "node_controller_initial_node_sync_delay_seconds_count 1",
            r#"ccm_nodes_waiting{reason="PermissionDenied"} 1"#,
            r#"ccm_node_writes_total{write="status"} 1"#,
            r#"ccm_node_writes_refused_total{reason="forbidden"} 1"#,
            "service_controller_loadbalancer_sync_total 2",
            "service_controller_nodesync_error_total 1",
            r#"service_controller_nodesync_latency_seconds_bucket{le="16384.0"} 1"#,
            r#"service_controller_update_loadbalancer_host_latency_seconds_bucket{le="2.0"} 1"#,
            r#"ccm_load_balancers{state="Ready"} 2"#,
            r#"ccm_load_balancer_address_delay_seconds_bucket{le="5.0"} 1"#,
            "ccm_load_balancer_drift_total 1",
            r#"ccm_load_balancer_orphans{kind="firewall"} 3"#,
            r#"ccm_service_writes_total{what="status"} 1"#,
            r#"ccm_service_writes_refused_total{reason="changed"} 1"#,
            r#"ccm_converge_passes_total{what="route",outcome="Done"} 1"#,
            r#"ccm_converge_pass_duration_seconds_bucket{le="0.05",what="route"} 1"#,
            r#"ccm_converge_changes_total{what="route",effect="create",outcome="Done"} 1"#,
            r#"ccm_converge_units{what="route"} 7"#,
            r#"ccm_converge_units_under_way{what="route"} 1"#,
            r#"route_controller_route_sync_total{trigger="node_change",outcome="changed"} 1"#,
            r#"ccm_route_nodes{state="Reachable"} 3"#,
            r#"ccm_route_delay_seconds_bucket{le="5.0"} 1"#,
            "ccm_route_drift_total 1",
            "ccm_route_strays 2",
            "ccm_route_writes_total 1",
            r#"ccm_route_writes_refused_total{reason="changed"} 1"#,
        ] {
            assert!(text.contains(line), "{line} not in\n{text}");
        }
    }

    #[test]
    fn names_of_the_process_on_the_wire_are_upstreams() {
        let mut registry = Registry::default();
        let process = ProcessMetrics::register(&mut registry);
        process.leads("cloud-controller-manager", true);
        process.runs("cloud-node", true);
        process.slow_paths("cloud-controller-manager").inc();
        process.feature("ComponentFlagz", "BETA", true);

        let mut text = String::new();
        encode(&mut text, &registry).unwrap();
        for line in [
            r#"leader_election_master_status{name="cloud-controller-manager"} 1"#,
            r#"kubernetes_build_info{git_version="v"#,
            r#"leader_election_slowpath_total{name="cloud-controller-manager"} 1"#,
            r#"kubernetes_feature_enabled{name="ComponentFlagz",stage="BETA"} 1"#,
            r#"running_managed_controllers{name="cloud-node",manager="cloud-controller-manager"} 1"#,
        ] {
            assert!(text.contains(line), "{line} not in\n{text}");
        }
    }

    #[test]
    fn names_of_requests_on_the_wire_are_upstreams() {
        let mut registry = Registry::default();
        let access = AccessMetrics::register(&mut registry);
        let api = ApiMetrics::register(&mut registry);
        access.authenticated(Some("jane@example.com"), Duration::from_millis(3));
        access.authenticated(None, Duration::from_millis(3));
        access.authorized("allowed", Duration::from_millis(3));
        let took = Duration::from_millis(30);
        api.paced(&http::Method::GET, "10.96.0.1:443", took);
        api.request(&http::Method::GET, "10.96.0.1:443", Some(http::StatusCode::OK), took);
        api.request(&http::Method::PATCH, "10.96.0.1:443", None, took);

        let mut text = String::new();
        encode(&mut text, &registry).unwrap();
        for line in [
            r#"authentication_attempts_total{result="success"} 1"#,
            r#"authentication_attempts_total{result="error"} 1"#,
            r#"authenticated_user_requests_total{username="email_id"} 1"#,
            r#"authentication_duration_seconds_bucket{le="0.004",result="success"} 1"#,
            r#"authorization_attempts_total{result="allowed"} 1"#,
            r#"authorization_duration_seconds_count{result="allowed"} 1"#,
            r#"rest_client_requests_total{code="200",method="GET",host="10.96.0.1:443"} 1"#,
            r#"rest_client_requests_total{code="<error>",method="PATCH",host="10.96.0.1:443"} 1"#,
            r#"rest_client_rate_limiter_duration_seconds_bucket{le="0.1",verb="GET",host="10.96.0.1:443"} 1"#,
            r#"rest_client_request_duration_seconds_bucket{le="0.1",verb="GET",host="10.96.0.1:443"} 1"#,
        ] {
            assert!(text.contains(line), "{line} not in\n{text}");
        }
    }

    #[test]
    fn names_of_ipam_on_the_wire_are_upstreams() {
        let mut registry = Registry::default();
        let ipam = IpamMetrics::register(&mut registry, &QueueMetrics::unread());
        let range = "10.244.0.0/16".parse().unwrap();
        ipam.pool(&range, 256.0);
        ipam.allocated(&range, 3, 0.25);
        ipam.released(&range, 1, 0.125);
        ipam.tries(&range, 1);
        ipam.waiting("exhausted", 2);
        ipam.write("ranges");
        ipam.refused("changed");

        let mut text = String::new();
        encode(&mut text, &registry).unwrap();
        for line in [
            r#"node_ipam_controller_cidrset_cidrs_allocations_total{clusterCIDR="10.244.0.0/16"} 3"#,
            r#"node_ipam_controller_cidrset_cidrs_releases_total{clusterCIDR="10.244.0.0/16"} 1"#,
            r#"node_ipam_controller_cidrset_usage_cidrs{clusterCIDR="10.244.0.0/16"} 0.125"#,
            r#"node_ipam_controller_cirdset_max_cidrs{clusterCIDR="10.244.0.0/16"} 256.0"#,
            r#"node_ipam_controller_cidrset_allocation_tries_per_request_bucket{le="1.0",clusterCIDR="10.244.0.0/16"} 1"#,
            r#"node_ipam_controller_cidrset_allocation_tries_per_request_bucket{le="625.0",clusterCIDR="10.244.0.0/16"} 1"#,
            r#"ccm_node_ipam_nodes_waiting{reason="exhausted"} 2"#,
            r#"ccm_node_ipam_writes_total{write="ranges"} 1"#,
            r#"ccm_node_ipam_writes_refused_total{reason="changed"} 1"#,
        ] {
            assert!(text.contains(line), "{line} not in\n{text}");
        }
    }
}
