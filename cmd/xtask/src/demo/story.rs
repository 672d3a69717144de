//! What happens, told and checked.

mod network;
mod services;
mod volumes;

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::{Duration, Instant};

use ccm_core::cluster::keys;
use ccm_envtest::audit::{Event, Stage as AuditStage};
use simcloud::api::{
    CreateInstance, FaultKind, FaultSpec, Instance, Nic, Operation, OperationFilter, Outcome,
    SettingsPatch,
};
use tokio::time::sleep;

use super::picture::{NodeView, Picture};
use super::stage::{CALLER, Stage, TOKEN, is_initialized};
use crate::Error;
use crate::out::{Out, took};

/// An initialisation takes a fraction of a second.
const SOON: Duration = Duration::from_secs(30);

/// A waiting node is told so after ten seconds.
const TOLD: Duration = Duration::from_secs(30);

/// Doubt about a silent node is worth a word after half a minute, and comes some seconds later.
const TOLD_OF_DOUBT: Duration = Duration::from_secs(75);

/// A waiting node is looked at again after at most 45 seconds.
const LOOKED_AT_AGAIN: Duration = Duration::from_secs(75);

/// How the story is told.
#[derive(Clone, Copy, Debug)]
pub(super) struct Teller {
    pub(super) out: Out,
    /// Time to read what is going to happen before it does.
    pub(super) pause: Duration,
}

impl Teller {
    async fn chapter(self, title: &str, text: &str) {
        self.out.heading(title);
        self.out.text(text);
        self.out.line("");
        sleep(self.pause).await;
    }
}

/// Tells the whole story. The first expectation that is not met ends it.
pub(super) async fn tell(stage: &mut Stage, teller: Teller) -> Result<(), Error> {
    let mut machines = three_machines(stage, teller).await?;
    machines.push(one_more(stage, teller).await?);
    let waiting = revoked(stage, teller, &machines).await?;
    restored(stage, teller, &waiting).await?;
    machines.push(waiting);
    stopped(stage, teller, &machines[1]).await?;
    terminated(stage, teller, &machines[0]).await?;
    vanished(stage, teller, &machines[1..]).await?;
    lost(stage, teller, &machines[1..3]).await?;
    services::tell(stage, teller, &mut machines).await?;
    network::tell(stage, teller, &mut machines).await?;
    volumes::tell(stage, teller).await?;
    summary(stage, teller.out, &machines).await
}

async fn three_machines(stage: &mut Stage, teller: Teller) -> Result<Vec<Instance>, Error> {
    let text = format!(
        "The cloud has three machines. Their kubelets register Nodes with the taint {}: no pod \
         may come before the cloud has been asked about the machine. Expected: addresses first, \
         then labels and provider ID, and with them the taint goes.",
        keys::TAINT_UNINITIALIZED
    );
    teller.chapter("1. Three machines join", &text).await;
    let machines = stage.console.create_instances((1..=3).map(machine).collect()).await?;
    for machine in &machines {
        stage.boot(machine).await?;
    }
    let all = |picture: &Picture| machines.iter().all(|machine| is_initialized(picture, machine));
    stage.expect("the three nodes are as the cloud says", SOON, all).await?;
    teller.out.ok("three nodes have the addresses, labels and provider IDs of their machines");
    Ok(machines)
}

async fn one_more(stage: &mut Stage, teller: Teller) -> Result<Instance, Error> {
    let text =
        "As when an autoscaler adds one. Nothing is polled: the new Node itself is the signal.";
    teller.chapter("2. A machine joins while all is running", text).await;
    let machine = stage.console.create_instance(&machine(4)).await?;
    stage.boot(&machine).await?;
    let done = |picture: &Picture| is_initialized(picture, &machine);
    stage.expect("the new node is as the cloud says", SOON, done).await?;
    teller.out.ok(format_args!("{} is initialised", machine.name));
    Ok(machine)
}

async fn revoked(
    stage: &mut Stage,
    teller: Teller,
    working: &[Instance],
) -> Result<Instance, Error> {
    let text = "\
        The token of the cloud-controller-manager is revoked, and then another machine joins. \
         Nobody can say what machine it is, so its Node has to wait. A hiccup is not worth a word: \
         a node that has waited for 10 s is given the reason, as a condition and an event. The \
         nodes that work must not change: \"the cloud did not tell\" is not \"the machine is gone\".";
    teller.chapter("3. The cloud revokes our credentials", text).await;
    let versions = |picture: &Picture| -> Vec<_> {
        let version = |it: &Instance| picture.nodes.get(&it.name).map(|it| it.version.clone());
        working.iter().map(version).collect()
    };
    let before = versions(&stage.picture());
    stage.console.revoke_token(TOKEN).await?;
    let machine = stage.console.create_instance(&machine(5)).await?;
    stage.boot(&machine).await?;
    let (name, since) = (machine.name.clone(), Instant::now());
    let told = |picture: &Picture| {
        let Some(node) = picture.nodes.get(&name) else { return false };
        let known = node.known.as_ref();
        let about = ("Node".to_owned(), name.clone());
        let has_condition =
            known.is_some_and(|it| it.status == "Unknown" && it.reason == "PermissionDenied");
        let has_event = picture
            .events
            .iter()
            .any(|said| said.warning && said.about == about && said.reason == "PermissionDenied");
        node.uninitialized && has_condition && has_event
    };
    let what = "the new node keeps its taint and says PermissionDenied, by condition and event";
    stage.expect(what, TOLD, told).await?;
    if versions(&stage.picture()) != before {
        return Err("nodes that worked have changed while the credentials were revoked".into());
    }
    teller.out.ok(format_args!(
        "{name} waits and says why, after {}; the other nodes were not touched",
        took(since.elapsed())
    ));
    Ok(machine)
}

async fn restored(stage: &mut Stage, teller: Teller, waiting: &Instance) -> Result<(), Error> {
    let text = "\
        Nobody restarts or edits anything. The waiting node is looked at again at pauses that \
         grow from one second to half a minute, so this takes up to that long.";
    teller.chapter("4. The credentials are restored", text).await;
    let since = Instant::now();
    stage.console.restore_token(TOKEN).await?;
    let done = |picture: &Picture| is_initialized(picture, waiting);
    stage.expect("the node that waited is as the cloud says", LOOKED_AT_AGAIN, done).await?;
    teller.out.ok(format_args!(
        "{} is initialised, {} after the token was good again",
        waiting.name,
        took(since.elapsed())
    ));
    Ok(())
}

async fn stopped(stage: &mut Stage, teller: Teller, machine: &Instance) -> Result<(), Error> {
    let text = "\
        Its kubelet falls silent, so the cloud is asked why. The machine is there and will not run by \
         itself: the Node is tainted and stays. When it is started and its kubelet is back, the taint \
         goes.";
    teller.chapter("5. A machine is stopped, and started again", text).await;
    let tainted = |wanted: bool| {
        let name = machine.name.clone();
        move |picture: &Picture| picture.nodes.get(&name).is_some_and(|it| it.shutdown == wanted)
    };
    stage.console.stop_instance(&machine.id).await?;
    stage.silence(machine).await?;
    stage.expect("the node has the shutdown taint", SOON, tainted(true)).await?;
    stage.console.start_instance(&machine.id).await?;
    stage.wake(machine).await?;
    stage.expect("the node has lost the shutdown taint", SOON, tainted(false)).await?;
    teller.out.ok(format_args!("{} was tainted while its machine was stopped", machine.name));
    Ok(())
}

async fn terminated(stage: &mut Stage, teller: Teller, machine: &Instance) -> Result<(), Error> {
    let text = "\
        Its record says so. That is a suspicion until the cloud is asked once more, directly and at \
         least 5 s later; then the Node is deleted, under the condition that it is still just that \
         one.";
    teller.chapter("6. A machine is terminated", text).await;
    let since = Instant::now();
    stage.console.terminate_instance(&machine.id).await?;
    stage.silence(machine).await?;
    let gone = |picture: &Picture| !picture.nodes.contains_key(&machine.name);
    stage.expect("the node of the terminated machine is deleted", SOON, gone).await?;
    teller.out.ok(format_args!(
        "{} is deleted, {} after its kubelet fell silent",
        machine.name,
        took(since.elapsed())
    ));
    Ok(())
}

async fn vanished(stage: &mut Stage, teller: Teller, machines: &[Instance]) -> Result<(), Error> {
    let text = "\
        A bad afternoon: the network is gone, so half of the kubelets are silent, and the cloud's API \
         answers with empty pages, as if no machine had ever been. The machines run. Expected: no Node \
         is deleted, and each says on itself what is contradictory; all is well again when the cloud \
         is.";
    teller.chapter("7. Half the fleet \"vanishes\"", text).await;
    let half = &machines[..machines.len().div_ceil(2)];
    let all = OperationFilter::One(Operation::DescribeInstances);
    let fault = stage.console.add_fault(&FaultSpec::always(all, FaultKind::EmptyPage)).await?;
    for machine in half {
        stage.silence(machine).await?;
    }
    let known = |is: fn(&str) -> bool| {
        let names: Vec<_> = half.iter().map(|it| it.name.clone()).collect();
        move |picture: &Picture| {
            let status = |name: &String| picture.nodes.get(name)?.known.as_ref();
            names.iter().all(|name| status(name).is_some_and(|known| is(&known.status)))
        }
    };
    let told = known(|status| status != "True");
    stage.expect("the silent nodes say what is wrong", TOLD_OF_DOUBT, told).await?;
    let there = |picture: &Picture| machines.iter().all(|it| picture.nodes.contains_key(&it.name));
    if !there(&stage.picture()) {
        return Err("the node of a machine that runs was deleted".into());
    }
    stage.console.remove_fault(&fault.id).await?;
    for machine in half {
        stage.wake(machine).await?;
    }
    let healed = known(|status| status == "True");
    stage.expect("the nodes are known again", LOOKED_AT_AGAIN, healed).await?;
    teller.out.ok(format_args!(
        "{} nodes were silent and missing from the cloud's answers; none was deleted",
        half.len()
    ));
    Ok(())
}

async fn lost(stage: &mut Stage, teller: Teller, machines: &[Instance]) -> Result<(), Error> {
    let text = "\
        Somebody removes two machines behind everybody's back, without a trace. The cloud says twice that \
         they do not exist, and so it would if it lied. What nobody announced has a budget, which is one \
         node for a process that has just begun: one Node goes, the other is held and says so. Its owner \
         releases it by its UID.";
    teller.chapter("8. Two machines are lost", text).await;
    let settings = SettingsPatch {
        terminated_retention_ms: Some(0),
        transition_delay_ms: Some(0),
        ..SettingsPatch::default()
    };
    stage.console.change_settings(&settings).await?;
    for machine in machines {
        stage.console.terminate_instance(&machine.id).await?;
        stage.silence(machine).await?;
    }
    let names: Vec<_> = machines.iter().map(|it| it.name.clone()).collect();
    let held = |picture: &Picture| {
        let there: Vec<_> = names.iter().filter_map(|name| picture.nodes.get(name)).collect();
        let is_held = |node: &&NodeView| {
            node.known.as_ref().is_some_and(|known| known.reason == "DeletionHeld")
        };
        there.len() == 1 && there.iter().all(is_held)
    };
    stage.expect("one node is deleted and the other is held", SOON, held).await?;
    let left = names.iter().find(|name| stage.picture().nodes.contains_key(*name));
    let left = left.ok_or("both nodes are gone")?.clone();
    stage.release(&left).await?;
    let gone = |picture: &Picture| !picture.nodes.contains_key(&left);
    stage.expect("the released node is deleted", SOON, gone).await?;
    teller.out.ok(format_args!("one was deleted, {left} was held until it was released"));
    Ok(())
}

/// What it cost, by the logs of the two others: the API server's and the cloud's.
async fn summary(stage: &mut Stage, out: Out, machines: &[Instance]) -> Result<(), Error> {
    out.heading("What it took");
    out.line(format_args!("{} nodes were initialised.", machines.len()));
    let events = stage.control_plane.audit_events().await?;
    out.line("\nRequests of the cloud-controller-manager to the API server:");
    for (request, count) in requests(&events, &stage.account) {
        out.line(format_args!("  {count:4}  {request}"));
    }
    out.line("\nCalls of the cloud-controller-manager to the cloud:");
    for count in stage.console.calls().await?.counts.iter().filter(|it| it.caller == CALLER) {
        let failed: u64 = count
            .outcomes
            .iter()
            .filter(|(outcome, _)| **outcome != Outcome::Ok)
            .map(|(_, calls)| calls)
            .sum();
        let about = match count.instances {
            0 => String::new(),
            machines => format!(", about {machines} machines in all"),
        };
        let refused =
            if failed > 0 { format!("; {failed} of them refused") } else { String::new() };
        out.line(format_args!("  {:4}  {}{about}{refused}", count.calls, count.operation));
    }
    Ok(())
}

/// Completed requests of a user, counted by what they were. A watch that is still open is not one.
fn requests(events: &[Event], user: &str) -> BTreeMap<String, u64> {
    let mut counts = BTreeMap::new();
    let of_user = events.iter().filter(|event| event.user == user);
    for event in of_user.filter(|event| event.stage == AuditStage::ResponseComplete) {
        let mut request = format!("{} {}", event.verb, event.resource);
        if !event.subresource.is_empty() {
            request = format!("{request}/{}", event.subresource);
        }
        if event.code >= 300 {
            request = format!("{request} (answered {})", event.code);
        }
        *counts.entry(request).or_default() += 1;
    }
    counts
}

/// A machine: the zones in turn, one address of each kind.
fn machine(number: u8) -> CreateInstance {
    let zone = ["sim-1a", "sim-1b", "sim-1c"][usize::from(number + 2) % 3];
    let nic = Nic {
        private_ipv4s: vec![Ipv4Addr::new(10, 0, 0, number)],
        private_ipv6s: vec![Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, u16::from(number))],
        // For documentation, RFC 5737.
        public_ipv4: Some(Ipv4Addr::new(203, 0, 113, number)),
        ..Nic::default()
    };
    CreateInstance {
        instance_type: Some("sim.medium".to_owned()),
        zone: Some(zone.to_owned()),
        nics: Some(vec![nic]),
        ..CreateInstance::named(format!("node-{number}"))
    }
}
