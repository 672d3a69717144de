//! Load balancers in the cloud, as its operator sees and breaks them.

use std::collections::BTreeSet;
use std::time::Duration;

use simcloud::api::{
    CLUSTER_TAG, FaultExtent, FaultKind, FaultSpec, OWNER_TAG, Operation, OperationClass,
    OperationFilter, PieceKind, SettingsPatch,
};

use crate::cloud::{CALLER, Cloud, of_ccm};
use crate::wait::wait_until;
use crate::world::CLUSTER;

impl Cloud {
    /// Everything of the cluster, in lines that can be compared.
    pub async fn lines(&self) -> Vec<String> {
        let tags = [(CLUSTER_TAG.to_owned(), CLUSTER.to_owned())].into();
        self.snapshot(&tags).await.unwrap().pieces
    }

    /// The pieces and rules of one Service.
    pub async fn lines_of(&self, uid: &str) -> Vec<String> {
        let tags = [(OWNER_TAG.to_owned(), uid.to_owned())].into();
        self.snapshot(&tags).await.unwrap().pieces
    }

    /// The names of the targets of a Service, which all its target groups have alike once all is
    /// done.
    pub async fn targets_of(&self, uid: &str) -> BTreeSet<String> {
        let mut groups = self.targets_by_group(uid).await;
        assert!(groups.len() <= 1, "groups of one Service differ: {groups:?}");
        groups.pop().unwrap_or_default()
    }

    /// The same of each of its target groups, those that are alike once. They follow one after the
    /// other.
    async fn targets_by_group(&self, uid: &str) -> Vec<BTreeSet<String>> {
        let lines = self.lines_of(uid).await;
        let targets = |line: &String| {
            let (_, rest) = line.split_once(" targets [")?;
            let (names, _) = rest.split_once(']')?;
            Some(names.split(", ").filter(|name| !name.is_empty()).map(str::to_owned).collect())
        };
        let mut groups: Vec<BTreeSet<String>> = lines.iter().filter_map(targets).collect();
        groups.dedup();
        groups
    }

    /// Waits until a Service has just these targets.
    pub async fn targets_are(&self, uid: &str, names: &[String], bound: Duration) {
        let wanted: BTreeSet<String> = names.iter().cloned().collect();
        wait_until(&format!("{} targets", wanted.len()), bound, async || {
            let mut groups = self.targets_by_group(uid).await;
            if groups.is_empty() {
                groups.push(BTreeSet::new());
            }
            let Some(found) = groups.into_iter().find(|found| *found != wanted) else {
                return Ok(());
            };
            let differs: Vec<_> = found.symmetric_difference(&wanted).take(5).cloned().collect();
            Err(format!("{} targets; differs in {differs:?}", found.len()))
        })
        .await;
    }

    /// Changes by the program under test so far.
    pub async fn mutations(&self) -> u64 {
        self.calls().await.unwrap().mutations_by(CALLER)
    }

    /// Changes of targets by the program under test so far.
    pub async fn target_updates(&self) -> u64 {
        let calls = self.calls().await.unwrap();
        let counts = calls.counts.iter().filter(|count| count.caller == CALLER);
        let counts = counts.filter(|count| count.operation == Operation::ChangeTargets);
        counts.map(|count| count.mutations).sum()
    }

    /// Calls about load balancers by the program under test so far, looks among them.
    pub async fn balancer_calls(&self) -> u64 {
        let calls = self.calls().await.unwrap();
        let counts = calls.counts.iter().filter(|count| count.caller == CALLER);
        let of_machines = [Operation::DescribeInstances, Operation::GetInstance];
        let counts = counts.filter(|count| !of_machines.contains(&count.operation));
        counts.map(|count| count.calls).sum()
    }

    /// Lets this happen to calls of the program under test. Gives the fault's ID.
    pub async fn strike(
        &self,
        operation: OperationFilter,
        kind: FaultKind,
        extent: FaultExtent,
        resource: Option<&str>,
    ) -> String {
        let resource = resource.map(str::to_owned);
        let spec = FaultSpec { extent, resource, ..FaultSpec::always(operation, kind) };
        self.add_fault(&of_ccm(spec)).await.unwrap().id
    }

    /// Lets the first so many changes of the program under test pass, and this happen to all after
    /// them.
    pub async fn strike_writes_after(&self, passed: u64, kind: FaultKind) -> String {
        let extent = FaultExtent { skip: Some(passed), share: Some(1.0), ..FaultExtent::default() };
        self.strike(OperationFilter::Class(OperationClass::Write), kind, extent, None).await
    }

    /// How many calls a fault has struck.
    pub async fn struck(&self, fault: &str) -> u64 {
        self.fault(fault).await.unwrap().uses
    }

    /// Waits until a fault has struck.
    pub async fn has_struck(&self, fault: &str, bound: Duration) {
        wait_until(&format!("fault {fault} strikes"), bound, async || {
            match self.struck(fault).await {
                0 => Err("not yet"),
                _ => Ok(()),
            }
        })
        .await;
    }

    /// Takes away the limits of calls, for tests that are about something else.
    pub async fn without_limits(&self) {
        let none = simcloud::api::RateLimit { per_second: 0.0, burst: 1 };
        let (read_rate, write_rate) = (Some(none), Some(none));
        let patch = SettingsPatch { read_rate, write_rate, ..SettingsPatch::default() };
        self.change_settings(&patch).await.unwrap();
    }

    /// Pieces of a kind take this long to be ready, and those of other kinds no time.
    pub async fn slow_creation(&self, kind: PieceKind, by: Duration) {
        let by = u64::try_from(by.as_millis()).unwrap();
        let creation_delay_ms = Some([(kind, by)].into());
        let patch = SettingsPatch { creation_delay_ms, ..SettingsPatch::default() };
        self.change_settings(&patch).await.unwrap();
    }
}
