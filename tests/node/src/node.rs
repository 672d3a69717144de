//! The node: its namespaces, and what runs in them.

use std::{
    collections::BTreeSet,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use ccm_envtest::{Binary, ControlPlane, Credentials, Identity, Process, pause};
use tokio::{fs, time::sleep};

use crate::{
    Error,
    files::{self, PAUSE},
    image::{self, Entry},
    link, needs,
    relay::{Relay, Way},
};

/// The kubernetes Service's address: the first of the range.
const SERVICE: (Ipv4Addr, u16) = (Ipv4Addr::new(10, 96, 0, 1), 443);

/// How long the node may take for what takes a second on an idle machine.
const PATIENCE: Duration = Duration::from_mins(1);

/// How long it may take until all of the node's processes are gone after the first was killed.
const END: Duration = Duration::from_secs(10);

const POLL: Duration = Duration::from_millis(20);

/// Where containerd keeps what a kubelet uses.
const NAMESPACE: &str = "--namespace=k8s.io";

/// Folders of which the node has its own. Below the last it finds what was there when it started, and what it writes the
/// machine does not see.
const NODES_OWN: [&str; 3] = ["/run", "/var/log", "/var/lib"];

/// A running node. Dropping it ends all its processes; to be dropped before its control plane.
#[derive(Debug)]
pub struct Node {
    // Dropped after the program's own `Drop` has seen to the order.
    unshare: Option<Process>,
    init: Identity,
    init_pid: u32,
    address: Ipv4Addr,
    dir: PathBuf,
    _relay: Relay,
}

impl Node {
    /// Starts one, which registers by itself. `loopback` is what it finds at the same address of its own loopback.
    pub(crate) async fn start(
        control_plane: &mut ControlPlane,
        name: &str,
        loopback: &[SocketAddr],
    ) -> Result<Self, Error> {
        let kubelet = Binary::Kubelet.locate().await?;
        let dir = control_plane.dir().join("node");
        is_seen_by_the_node(&dir, &NODES_OWN, "TMPDIR")?;
        is_seen_by_the_node(&kubelet, &NODES_OWN[..2], "XDG_CACHE_HOME")?;
        fs::create_dir_all(dir.join("network")).await?;
        write_pause(&dir).await?;
        let cgroup_root = control_plane.make_cgroups()?;

        let args = arguments(control_plane, name, &dir, &kubelet)?;
        let unshare = needs::program_of("unshare").ok_or("there is no unshare")?;
        let mut unshare = control_plane.start_beside("node", &unshare, &args)?;
        until(&mut unshare, &dir.join("mounted")).await?;
        let init_pid = child_of(unshare.pid()).await?;
        let init = control_plane.adopt(init_pid)?;

        let address = link::plug(init_pid, SERVICE.0).await?;
        let server: SocketAddr =
            control_plane.server_url().trim_start_matches("https://").parse()?;
        let same = loopback.iter().chain([&server]).map(|&here| Way { there: here, here });
        let service = Way { there: SERVICE.into(), here: server };
        let relay = Relay::open(init_pid, &same.chain([service]).collect::<Vec<_>>())?;
        write_files(control_plane, name, &dir, address, &cgroup_root).await?;
        let mut node = Self {
            unshare: Some(unshare),
            init,
            init_pid,
            address,
            dir: dir.clone(),
            _relay: relay,
        };
        // At one stroke: it is looked for.
        fs::write(dir.join("linked.new"), format!("{address}\n")).await?;
        fs::rename(dir.join("linked.new"), dir.join("linked")).await?;
        let process = node.unshare.as_mut().ok_or("it was just started")?;
        until(process, &dir.join("started")).await.map_err(|err| {
            let said = ["containerd", "kubelet"].map(|name| node.tail(name)).join("\n");
            format!("{err}\n{said}")
        })?;
        Ok(node)
    }

    /// Its address, which only this machine reaches.
    pub fn address(&self) -> Ipv4Addr {
        self.address
    }

    /// An error if it does not run any more.
    pub fn expect_running(&mut self) -> Result<(), Error> {
        match self.unshare.as_mut().map(Process::expect_running) {
            Some(Err(err)) => Err(format!("{err:?}\n{}", self.tail("kubelet")).into()),
            Some(Ok(())) | None => Ok(()),
        }
    }

    /// Runs a program in the node's namespaces and gives what it printed.
    pub async fn run(&self, command: &[&str]) -> Result<String, Error> {
        let pid = self.init_pid.to_string();
        let into = ["--target", &pid, "--mount", "--net", "--pid", "--uts"];
        link::run("nsenter", &[&into, command].concat()).await
    }

    /// The command that brings a person into the node's namespaces.
    pub fn enter(&self) -> String {
        format!("nsenter --target {} --mount --net --pid --uts", self.init_pid)
    }

    /// Imports the images of an archive and gives the names that are new.
    pub async fn import(&self, archive: &Path) -> Result<Vec<String>, Error> {
        let before: BTreeSet<_> = self.images().await?.into_iter().collect();
        let archive = archive.canonicalize()?;
        let archive = archive.to_str().ok_or("the archive's name is no text")?;
        self.run(&["ctr", NAMESPACE, "images", "import", archive]).await?;
        let after = self.images().await?;
        Ok(after.into_iter().filter(|name| !before.contains(name)).collect())
    }

    /// Gives an image another name as well.
    pub async fn tag(&self, image: &str, name: &str) -> Result<(), Error> {
        self.run(&["ctr", NAMESPACE, "images", "tag", image, name]).await.map(drop)
    }

    /// Names of images, without those that are digests of the kubelet's.
    async fn images(&self) -> Result<Vec<String>, Error> {
        let all = self.run(&["ctr", NAMESPACE, "images", "list", "--quiet"]).await?;
        Ok(all.lines().filter(|name| !name.starts_with("sha256:")).map(str::to_owned).collect())
    }

    /// The last lines of a log of the node's.
    pub fn tail(&self, name: &str) -> String {
        let log = self.dir.join(format!("{name}.log"));
        let text = std::fs::read(&log).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<_> = text.lines().map(|line| format!("  | {line}")).collect();
        let tail = &lines[lines.len().saturating_sub(15)..];
        format!("last lines of {}:\n{}", log.display(), tail.join("\n"))
    }

    /// Ends all its processes at once and waits for that.
    pub async fn stop(mut self) -> Result<(), Error> {
        self.unshare = None;
        let since = Instant::now();
        while self.init.is_alive() {
            if since.elapsed() > END {
                return Err(format!("the node did not end within {END:?}").into());
            }
            sleep(POLL).await;
        }
        Ok(())
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // The system then kills the node's first process, and with it all others.
        self.unshare = None;
        let since = Instant::now();
        while self.init.is_alive() && since.elapsed() < END {
            wait_a_little();
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "while a value is dropped nothing can be awaited")]
fn wait_a_little() {
    std::thread::sleep(POLL);
}

/// An error, which names what to set, for a path in one of these folders, however it is written.
fn is_seen_by_the_node(path: &Path, hidden: &[&str], variable: &str) -> Result<(), Error> {
    let real = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
    // What does not exist yet is where its folder is.
    let place = path.ancestors().find(|path| path.exists()).map_or_else(|| path.to_owned(), real);
    match hidden.iter().find(|folder| place.starts_with(real(Path::new(folder)))) {
        None => Ok(()),
        Some(folder) => Err(format!(
            "{} is below {folder}, of which a node has its own; set {variable}",
            path.display()
        )
        .into()),
    }
}

/// What `unshare` is given.
fn arguments(
    control_plane: &ControlPlane,
    name: &str,
    dir: &Path,
    kubelet: &Path,
) -> Result<Vec<String>, Error> {
    let script = dir.join("node.sh");
    std::fs::write(&script, include_str!("node.sh"))?;
    let credentials = control_plane.certificate(&format!("system:node:{name}"), "system:nodes")?;
    let kubeconfig = control_plane.write_kubeconfig("kubelet", &credentials)?;
    let namespaces = ["--mount", "--net", "--pid", "--uts", "--mount-proc"];
    let mut args: Vec<String> = namespaces.map(str::to_owned).into();
    args.extend([
        "--fork".to_owned(),
        "--kill-child".to_owned(),
        "/usr/bin/env".to_owned(),
        format!("PATH={}", needs::PATH),
        "/bin/sh".to_owned(),
        script.display().to_string(),
        dir.display().to_string(),
        name.to_owned(),
        kubelet.display().to_string(),
        format!("--config={}", dir.join("kubelet.json").display()),
        format!("--kubeconfig={}", kubeconfig.display()),
        format!("--hostname-override={name}"),
        "--cloud-provider=external".to_owned(),
        "--v=2".to_owned(),
    ]);
    Ok(args)
}

/// Writes what can only be written when the node's address is known.
async fn write_files(
    control_plane: &ControlPlane,
    name: &str,
    dir: &Path,
    address: Ipv4Addr,
    cgroup_root: &str,
) -> Result<(), Error> {
    let serving = control_plane
        .server_certificate(&format!("system:node:{name}"), &[address.to_string(), name.into()])?;
    let Credentials::Certificate { certificate_pem, key_pem } = serving else {
        return Err("a server has a certificate".into());
    };
    let plugins = needs::plugins().ok_or("there are no plugins for networks")?;
    let network = dir.join("network");
    let ca = control_plane.dir().join("ca.crt");
    let told = files::kubelet(&files::Kubelet { dir, ca: &ca, address, cgroup_root });
    // The directory is its owner's alone, and so are these.
    for (file, text) in [
        ("kubelet.crt", certificate_pem),
        ("kubelet.key", key_pem),
        ("kubelet.json", told.to_string()),
        ("resolv.conf", String::new()),
        ("containerd.toml", files::containerd(plugins, &network)),
        ("network/pods.conflist", files::network().to_string()),
    ] {
        fs::write(dir.join(file), text).await?;
    }
    Ok(())
}

async fn write_pause(dir: &Path) -> Result<(), Error> {
    let program = Entry { path: "/pause".to_owned(), from: pause::locate().await? };
    image::write(&dir.join("pause.tar"), PAUSE, "65535:65535", &[program])
}

/// Waits for a file that says how far the node has come.
async fn until(process: &mut Process, file: &Path) -> Result<(), Error> {
    let since = Instant::now();
    while !file.exists() {
        process.expect_running()?;
        if since.elapsed() > PATIENCE {
            let last = format!("no {}", file.display());
            return Err(process.not_ready(PATIENCE, last).into());
        }
        sleep(POLL).await;
    }
    Ok(())
}

/// The one child of a process.
async fn child_of(pid: u32) -> Result<u32, Error> {
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).await?;
    Ok(children.trim().parse().map_err(|_| format!("process {pid} has children {children:?}"))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_node_would_not_see_is_refused() {
        for hidden in ["/run/x/node", "/var/run/x", "/var/log/x", "/var/lib/tmp/node"] {
            let err = is_seen_by_the_node(Path::new(hidden), &NODES_OWN, "TMPDIR").unwrap_err();
            assert!(err.to_string().ends_with("set TMPDIR"), "{err}");
        }
        for seen in ["/tmp/x/node", "/var/tmp/x", "/root/.cache/x", "/home/me/run"] {
            is_seen_by_the_node(Path::new(seen), &NODES_OWN, "TMPDIR").unwrap();
        }
    }
}
