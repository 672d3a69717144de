//! The configuration as upstream's programs show it: the object that flags fill there.
//!
//! <https://github.com/kubernetes/cloud-provider/blob/master/config/v1alpha1/types.go>. Its types
//! have no names for JSON, so fields begin with capitals, except in parts that others share.

use std::time::Duration;

use serde_json::{Value, json};

use crate::app::flags::{Given, go_duration};
use crate::app::migration::Migration;

const GROUP: &str = "cloudcontrollermanager.config.k8s.io";

/// The page. What no flag of ours says is left at what upstream would show for "nothing".
pub(super) fn page(given: &Given) -> String {
    let text = |flag: &str| Value::from(given.value(flag));
    let number = |flag: &str| {
        let text = given.value(flag);
        let whole = text.parse::<i64>().map(Value::from);
        whole.or_else(|_| text.parse::<f64>().map(Value::from)).unwrap_or_else(|_| 0.into())
    };
    let boolean = |flag: &str| {
        Value::from(matches!(given.value(flag), "1" | "t" | "T" | "true" | "TRUE" | "True"))
    };
    let list = |flag: &str| {
        let values = given.value(flag).split(',').filter(|value| !value.is_empty());
        values.map(str::to_owned).collect::<Vec<_>>()
    };
    let duration = |flag: &str| Value::from(time(go_duration(given.value(flag))));
    let configuration = json!({
        "kind": "CloudControllerManagerConfiguration",
        "apiVersion": format!("{GROUP}/v1alpha1"),
        "Generic": {
            "Port": number("secure-port"),
            "Address": text("bind-address"),
            "MinResyncPeriod": duration("min-resync-period"),
            "ClientConnection": {
                "kubeconfig": text("kubeconfig"),
                "acceptContentTypes": "",
                "contentType": text("kube-api-content-type"),
                "qps": number("kube-api-qps"),
                "burst": number("kube-api-burst"),
            },
            "ControllerStartInterval": duration("controller-start-interval"),
            "LeaderElection": {
                "leaderElect": boolean("leader-elect"),
                "leaseDuration": duration("leader-elect-lease-duration"),
                "renewDeadline": duration("leader-elect-renew-deadline"),
                "retryPeriod": duration("leader-elect-retry-period"),
                "resourceLock": text("leader-elect-resource-lock"),
                "resourceName": text("leader-elect-resource-name"),
                "resourceNamespace": text("leader-elect-resource-namespace"),
            },
            "Controllers": list("controllers"),
            "Debugging": {
                "enableProfiling": boolean("profiling"),
                "enableContentionProfiling": boolean("contention-profiling"),
            },
            "LeaderMigrationEnabled": boolean("enable-leader-migration"),
            "LeaderMigration": leader_migration(given.migration()),
        },
        "KubeCloudShared": {
            "CloudProvider": {
                "Name": text("cloud-provider"),
                "CloudConfigFile": text("cloud-config"),
            },
            "ExternalCloudVolumePlugin": text("external-cloud-volume-plugin"),
            "UseServiceAccountCredentials": boolean("use-service-account-credentials"),
            "AllowUntaggedCloud": boolean("allow-untagged-cloud"),
            "RouteReconciliationPeriod": duration("route-reconciliation-period"),
            "NodeMonitorPeriod": duration("node-monitor-period"),
            "ClusterName": text("cluster-name"),
            "ClusterCIDR": text("cluster-cidr"),
            "AllocateNodeCIDRs": boolean("allocate-node-cidrs"),
            "CIDRAllocatorType": text("cidr-allocator-type"),
            "ConfigureCloudRoutes": boolean("configure-cloud-routes"),
            "NodeSyncPeriod": duration("node-sync-period"),
        },
        "NodeController": {
            "ConcurrentNodeSyncs": number("concurrent-node-syncs"),
            "ConcurrentNodeStatusUpdates": number("concurrent-node-status-updates"),
        },
        "ServiceController": {"ConcurrentServiceSyncs": number("concurrent-service-syncs")},
        "NodeLifecycleController": {
            "NodeMonitorPeriod": duration("node-monitor-period"),
            "ConcurrentNodeLifecycleSyncs": number("concurrent-node-lifecycle-syncs"),
        },
        "NodeStatusUpdateFrequency": duration("node-status-update-frequency"),
        "Webhook": {"Webhooks": list("webhooks")},
    });
    json!({GROUP: configuration}).to_string()
}

/// Empty without a migration.
fn leader_migration(migration: &Migration) -> Value {
    if migration.leader_name.is_empty() {
        return json!({"leaderName": "", "resourceLock": "", "controllerLeaders": null});
    }
    let leaders = migration.leaders.iter();
    let leaders = leaders.map(|(name, component)| json!({"name": name, "component": component}));
    json!({
        "leaderName": migration.leader_name,
        "resourceLock": "leases",
        "controllerLeaders": leaders.collect::<Vec<_>>(),
    })
}

/// As Go prints a duration: `5m0s`, `1h0m0s`, `300ms`.
fn time(duration: Option<Duration>) -> String {
    let duration = duration.unwrap_or_default();
    if duration.is_zero() {
        return "0s".to_owned();
    }
    let nanoseconds = duration.as_nanos();
    if nanoseconds < 1_000_000_000 {
        let (unit, size) = match nanoseconds {
            0..1_000 => ("ns", 1),
            1_000..1_000_000 => ("µs", 1_000),
            _ => ("ms", 1_000_000),
        };
        return format!("{}{unit}", decimal(nanoseconds, size));
    }
    let (minutes, rest) = (nanoseconds / 60_000_000_000, nanoseconds % 60_000_000_000);
    let seconds = format!("{}s", decimal(rest, 1_000_000_000));
    match (minutes / 60, minutes % 60) {
        (0, 0) => seconds,
        (0, minutes) => format!("{minutes}m{seconds}"),
        (hours, minutes) => format!("{hours}h{minutes}m{seconds}"),
    }
}

/// `value / size` without trailing zeros.
fn decimal(value: u128, size: u128) -> String {
    let (whole, mut rest) = (value / size, value % size);
    let mut text = whole.to_string();
    if rest > 0 {
        text.push('.');
        let mut size = size;
        while rest > 0 {
            size /= 10;
            text.push_str(&(rest / size).to_string());
            rest %= size;
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::app::flags::{Command, Program, parse};

    fn generic(flags: &[&str], migration: Migration) -> Value {
        let program = Program { name: "ccm", version: "0", commit: None, providers: vec![] };
        let line = ["ccm", "--cloud-provider=toy"].iter().chain(flags);
        let Ok(Command::Run(options)) = parse(&program, line) else { panic!("{flags:?}") };
        let page = page(&options.given.with_migration(migration));
        let page: Value = serde_json::from_str(&page).unwrap();
        page[GROUP]["Generic"].clone()
    }

    #[rstest]
    #[case::nothing_said(&[], json!(["*"]))]
    #[case::none_at_all(&["--controllers="], json!([]))]
    #[case::some(&["--controllers=*,-route"], json!(["*", "-route"]))]
    fn controllers_are_those_that_were_asked_for(#[case] flags: &[&str], #[case] want: Value) {
        assert_eq!(generic(flags, Migration::default())["Controllers"], want);
    }

    #[test]
    fn a_migration_is_shown_as_it_is() {
        let none = json!({"leaderName": "", "resourceLock": "", "controllerLeaders": null});
        assert_eq!(generic(&[], Migration::default())["LeaderMigration"], none);
        let migration = Migration {
            leader_name: "m".to_owned(),
            leaders: vec![("service".to_owned(), "*".to_owned())],
            ..Migration::default()
        };
        assert_eq!(
            generic(&["--enable-leader-migration"], migration)["LeaderMigration"],
            json!({
                "leaderName": "m",
                "resourceLock": "leases",
                "controllerLeaders": [{"name": "service", "component": "*"}],
            })
        );
    }

    #[rstest]
    #[case(Duration::ZERO, "0s")]
    #[case(Duration::from_mins(5), "5m0s")]
    #[case(Duration::from_hours(1), "1h0m0s")]
    #[case(Duration::from_secs(15), "15s")]
    #[case(Duration::from_millis(1_500), "1.5s")]
    #[case(Duration::from_millis(300), "300ms")]
    #[case(Duration::from_micros(1_050), "1.05ms")]
    #[case(Duration::from_nanos(1), "1ns")]
    #[case(Duration::from_millis(3_661_020), "1h1m1.02s")]
    fn durations_are_gos(#[case] duration: Duration, #[case] want: &str) {
        assert_eq!(time(Some(duration)), want);
        assert_eq!(go_duration(want), Some(duration));
    }
}
