//! Whoever has a cluster may be killed, and cannot clean up.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::Stdio,
    time::{Duration, Instant},
};

use ccm_envtest::Identity;
use ccm_node::{Cluster, Error, PAUSE, Setup};
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, Client, api::PostParams};
use serde_json::json;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::Command,
    time::sleep,
};

use crate::{
    say,
    stage::{self, expect_nothing_of, program, took},
};

/// The argument with which we are a process that will be killed.
pub(crate) const HOLD: &str = "hold-until-killed";

/// What the guardian promises, with room for two cores that also compile.
const PATIENCE: Duration = Duration::from_secs(20);

const POLL: Duration = Duration::from_millis(50);

/// What has to be seen to die, by the 15 letters that the system keeps of a name: the programs of both sides, and a
/// container with what looks after it, neither of which knows the cluster's directory.
const PROGRAMS: [&str; 6] =
    ["etcd", "kube-apiserver", "containerd", "kubelet", "containerd-shim", "pause"];

/// Starts a cluster with a pod in it, says where, and waits.
pub(crate) async fn hold() -> Result<(), Error> {
    let cluster = Cluster::start(&Setup { simcloud: program("simcloud")? }).await?;
    run_a_pod(cluster.client()).await?;
    say(format_args!("{}", cluster.dir().display()));
    std::future::pending().await
}

/// Returns when it runs.
async fn run_a_pod(client: Client) -> Result<(), Error> {
    let pods = Api::<Pod>::default_namespaced(client);
    let pod: Pod = serde_json::from_value(json!({
        "metadata": { "name": "pause" },
        "spec": {
            "automountServiceAccountToken": false,
            "containers": [{ "name": "pause", "image": PAUSE }],
            "tolerations": [{ "operator": "Exists" }],
        },
    }))?;
    let since = Instant::now();
    loop {
        let seen = match pods.get_opt("pause").await? {
            Some(pod) => pod.status.and_then(|status| status.phase),
            // The account that every pod has is there a moment after its namespace.
            None => {
                pods.create(&PostParams::default(), &pod).await.err().map(|err| err.to_string())
            }
        };
        if seen.as_deref() == Some("Running") {
            return Ok(());
        }
        if since.elapsed() > stage::PATIENCE {
            return Err(format!("a pod does not run: {seen:?}").into());
        }
        sleep(POLL).await;
    }
}

/// Kills somebody who has a cluster, and waits until the machine has nothing of it.
pub(crate) async fn is_clean() -> Result<(), Error> {
    let mut holder = Command::new(std::env::current_exe()?)
        .arg(HOLD)
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let stdout = holder.stdout.take().ok_or("it was asked for")?;
    let dir = BufReader::new(stdout).lines().next_line().await?;
    let dir = dir.map(PathBuf::from).filter(|dir| dir.is_dir()).ok_or("there is no cluster")?;
    let family = family_of(&dir);
    for program in PROGRAMS {
        if !family.iter().any(|member| member.program == program) {
            return Err(format!("no {program} is among the cluster's processes: {family:?}").into());
        }
    }
    holder.kill().await?;
    let since = Instant::now();
    let left = loop {
        let left: Vec<_> = family.iter().filter(|member| member.identity.is_alive()).collect();
        let nothing = expect_nothing_of(&dir);
        if left.is_empty() && (nothing.is_ok() || since.elapsed() > PATIENCE) {
            break nothing;
        }
        if since.elapsed() > PATIENCE {
            break Err(format!("still running: {left:?}").into());
        }
        sleep(POLL).await;
    };
    left?;
    say(format_args!(
        "its owner killed: {} processes, a container among them, and all else gone after {}",
        family.len(),
        took(since)
    ));
    Ok(())
}

/// A process of the cluster's.
#[derive(Clone, Debug)]
struct Member {
    identity: Identity,
    program: String,
}

/// Processes with the directory on their command line, and all that descend from them.
fn family_of(dir: &Path) -> Vec<Member> {
    let dir = dir.display().to_string();
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let parents: BTreeMap<u32, u32> = pids.filter_map(|pid| Some((pid, parent_of(pid)?))).collect();
    let names_it = |pid: u32| {
        let command = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&command).contains(&dir)
    };
    let is_of = |pid: u32| {
        let mut line = std::iter::successors(Some(pid), |pid| parents.get(pid).copied());
        line.any(names_it)
    };
    let members = parents.keys().filter(|&&pid| is_of(pid)).filter_map(|&pid| {
        let program = std::fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
        Some(Member { identity: Identity::of(pid)?, program: program.trim().to_owned() })
    });
    members.collect()
}

fn parent_of(pid: u32) -> Option<u32> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix("PPid:"))?.trim().parse().ok()
}
