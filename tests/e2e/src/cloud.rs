//! The simulated cloud, a process of its own.

use std::ops::Deref;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use simcloud::api::{
    CallEntry, CreateInstance, DescribeInstances, FaultKind, FaultSpec, Instance, Operation,
    OperationFilter, RunState, SettingsPatch,
};
use simcloud::console::Console;

use crate::binaries::locate;
use crate::process::Process;
use crate::wait::{SOON, wait_until};

/// How the cloud names the program under test.
pub(crate) const CALLER: &str = "cloud-controller-manager";

/// The token of the program under test; the cloud calls it `default`.
pub(crate) const TOKEN: &str = "token-of-the-ccm";

const CONSOLE_TOKEN: &str = "token-of-the-console";
const CONTROL_TOKEN: &str = "token-of-the-controls";

/// A running cloud, and the operator's hands on it.
#[derive(Debug)]
pub struct Cloud {
    console: Console,
    _process: Process,
}

impl Deref for Cloud {
    type Target = Console;

    fn deref(&self) -> &Console {
        &self.console
    }
}

impl Cloud {
    pub(crate) async fn start(dir: &Path) -> Self {
        let (tokens, control) = (dir.join("cloud-tokens"), dir.join("cloud-control-token"));
        std::fs::write(&tokens, format!("default {TOKEN}\nconsole {CONSOLE_TOKEN}\n")).unwrap();
        std::fs::write(&control, CONTROL_TOKEN).unwrap();
        let address = dir.join("cloud-address");
        let mut command = Command::new(locate("simcloud"));
        command.arg("--token-file").arg(tokens).arg("--control-token-file").arg(control);
        command.arg("--print-address-file").arg(&address);
        let mut process = Process::start("simcloud", dir, &mut command);
        let url = wait_until("the cloud's address", SOON, async || {
            process.expect_running();
            std::fs::read_to_string(&address)
        })
        .await;
        let console = Console::new(url.trim(), CONSOLE_TOKEN, CONTROL_TOKEN).unwrap();
        Self { console, _process: process }
    }

    /// Makes an instance of this name, all else as the cloud likes.
    pub async fn instance_named(&self, name: &str) -> Instance {
        self.create_instance(&CreateInstance::named(name)).await.unwrap()
    }

    /// Makes many in one call.
    pub async fn instances_named(&self, names: impl IntoIterator<Item = String>) -> Vec<Instance> {
        self.create_instances(names.into_iter().map(CreateInstance::named).collect()).await.unwrap()
    }

    /// Lets this happen to the next so many looks of the program under test.
    pub async fn spoil(&self, kind: FaultKind, calls: u64) {
        let spec = FaultSpec::next_calls(looks(), kind, calls);
        self.add_fault(&of_ccm(spec)).await.unwrap();
    }

    /// Lets this happen to all looks of the program under test, until faults are cleared.
    pub async fn break_down(&self, kind: FaultKind) {
        self.add_fault(&of_ccm(FaultSpec::always(looks(), kind))).await.unwrap();
    }

    /// Lets this happen to all calls of the program under test that it can happen to, until faults
    /// are cleared.
    pub async fn break_down_all(&self, kind: FaultKind) {
        self.break_down_some(kind, 1.0).await;
    }

    /// Lets this happen to a share of all calls of the program under test that it can happen to,
    /// drawn with the cloud's seed.
    pub async fn break_down_some(&self, kind: FaultKind, share: f64) {
        // What is cut are lists of machines: a cloud that shows none of what it was asked to make
        // cannot be told from one that has lost it.
        let operation =
            if kind.applies_to(Operation::GetInstance) { OperationFilter::Any } else { looks() };
        let mut spec = FaultSpec::always(operation, kind);
        spec.extent.share = Some(share);
        self.add_fault(&of_ccm(spec)).await.unwrap();
    }

    /// Every look takes this long.
    pub async fn slow_down(&self, by: Duration) {
        self.slow_down_calls(Operation::DescribeInstances, by).await;
    }

    /// Every call of this operation takes this long, all others none.
    pub async fn slow_down_calls(&self, operation: Operation, by: Duration) {
        let fixed_ms = u64::try_from(by.as_millis()).unwrap();
        let latency = simcloud::api::Latency { fixed_ms, jitter_ms: 0 };
        let patch = SettingsPatch {
            operation_latency: Some([(operation, latency)].into()),
            ..SettingsPatch::default()
        };
        self.change_settings(&patch).await.unwrap();
    }

    /// Machines that are terminated from now on leave no record.
    pub async fn keep_no_records(&self) {
        let patch = SettingsPatch { terminated_retention_ms: Some(0), ..SettingsPatch::default() };
        self.change_settings(&patch).await.unwrap();
    }

    /// The machine of this name; there must be one that is not terminated.
    pub async fn machine(&self, name: &str) -> Instance {
        let ask =
            DescribeInstances { names: vec![name.to_owned()], ..DescribeInstances::default() };
        let found = self.describe_instances(&ask).await.unwrap();
        let lives = |machine: &Instance| machine.state != RunState::Terminated;
        found.into_iter().find(lives).unwrap_or_else(|| panic!("the cloud has no machine {name}"))
    }

    /// Stops the machine of this name.
    pub async fn stop(&self, name: &str) {
        self.stop_instance(&self.machine(name).await.id).await.unwrap();
    }

    /// Terminates the machine of this name.
    pub async fn terminate(&self, name: &str) {
        self.terminate_instance(&self.machine(name).await.id).await.unwrap();
    }

    /// The ended calls of one operation by the program under test.
    pub async fn calls_of(&self, operation: Operation) -> Vec<CallEntry> {
        let mut calls = self.calls_of_ccm().await;
        calls.retain(|call| call.operation == operation);
        calls
    }

    /// The ended calls of the program under test, in the order in which they came.
    pub async fn calls_of_ccm(&self) -> Vec<CallEntry> {
        let log = self.call_log(0).await.unwrap();
        let mut calls: Vec<_> =
            log.entries.into_iter().filter(|entry| entry.caller == CALLER).collect();
        calls.sort_by_key(|call| call.received_at);
        calls
    }

    /// How many calls of the program under test are under way.
    pub async fn calls_in_flight(&self) -> u64 {
        let calls = self.calls().await.unwrap();
        let ours = calls.counts.iter().filter(|count| count.caller == CALLER);
        ours.map(|count| count.in_flight).sum()
    }
}

fn looks() -> OperationFilter {
    OperationFilter::One(Operation::DescribeInstances)
}

pub(crate) fn of_ccm(spec: FaultSpec) -> FaultSpec {
    FaultSpec { caller: Some(CALLER.to_owned()), ..spec }
}
