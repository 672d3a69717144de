//! What a node could change on the machine, looked at before and after.
//!
//! Nothing of it has the cluster's name, so it is compared as a whole: who mounts something meanwhile, or brings another
//! node up and leaves it there, is told of it.

use std::{
    collections::BTreeSet,
    path::Path,
    time::{Duration, Instant},
};

use ccm_node::Error;
use tokio::{process::Command, time::sleep};

/// What is killed goes a moment later; a cable goes when the system has taken the network at its end apart.
const PATIENCE: Duration = Duration::from_secs(20);

/// What a kubelet, a container runtime or a plugin for networks sets: the node has its own of each.
const SETTINGS: [&str; 12] = [
    "kernel/hostname",
    "kernel/keys/root_maxbytes",
    "kernel/keys/root_maxkeys",
    "kernel/panic",
    "kernel/panic_on_oops",
    "net/ipv4/conf/all/forwarding",
    "net/ipv4/conf/all/route_localnet",
    "net/ipv4/conf/default/forwarding",
    "net/ipv4/ip_forward",
    "net/ipv6/conf/all/forwarding",
    "vm/overcommit_memory",
    "vm/panic_on_oom",
];

/// Mounts, network interfaces, addresses, routes and settings, a line each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Machine(BTreeSet<String>);

impl Machine {
    pub(crate) async fn now() -> Result<Self, Error> {
        let mut lines = BTreeSet::new();
        // Each has a number of its own, so that one over another of the same name is seen.
        let mounts = std::fs::read_to_string("/proc/self/mountinfo")?;
        lines.extend(mounts.lines().map(|line| format!("mount {line}")));
        for entry in std::fs::read_dir("/sys/class/net")? {
            lines.insert(format!("interface {}", entry?.file_name().display()));
        }
        for line in ip(&["-oneline", "address"]).await?.lines() {
            // What follows is how long it is good for, for example.
            let words: Vec<_> = line.split_whitespace().skip(1).take(3).collect();
            lines.insert(format!("address {}", words.join(" ")));
        }
        for line in ip(&["route"]).await?.lines() {
            lines.insert(format!("route {}", line.trim()));
        }
        for name in SETTINGS {
            // Some kernels have not all of them.
            if let Ok(value) = std::fs::read_to_string(Path::new("/proc/sys").join(name)) {
                lines.insert(format!("setting {name} {}", value.trim()));
            }
        }
        Ok(Self(lines))
    }

    /// Waits until the machine is as it was.
    pub(crate) async fn expect_unchanged(&self) -> Result<(), Error> {
        let since = Instant::now();
        loop {
            let now = Self::now().await?;
            if now == *self {
                return Ok(());
            }
            if since.elapsed() > PATIENCE {
                let new: Vec<_> = now.0.difference(&self.0).collect();
                let gone: Vec<_> = self.0.difference(&now.0).collect();
                return Err(format!("the machine has changed: new {new:#?}, gone {gone:#?}").into());
            }
            sleep(Duration::from_millis(100)).await;
        }
    }
}

async fn ip(args: &[&str]) -> Result<String, Error> {
    let output = Command::new("ip").args(args).kill_on_drop(true).output().await?;
    if output.status.success() {
        return Ok(String::from_utf8(output.stdout)?);
    }
    Err(format!("ip {}: {}", args.join(" "), String::from_utf8_lossy(&output.stderr)).into())
}
