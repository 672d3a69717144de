//! The program in a root folder that has the image's files and nothing else: no library, no
//! device. It has to find names as the cluster's nodes would give them, and to believe whom the
//! image's bundle says.

mod names;
mod server;

use std::net::Ipv4Addr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use ccm_core::app::{NAME, VERSION};

use self::names::Names;
use self::server::Server;
use super::base::{CERTIFICATES, USER};
use super::{Made, Providers};
use crate::Error;
use crate::out::Out;

/// How long the program may take to call.
const PATIENCE: Duration = Duration::from_secs(20);

/// Not an address that a machine's own resolver has.
const NAMESERVER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 77);

/// Only in the file of hosts.
const IN_HOSTS: &str = "in-hosts.ccm.test";

/// Only known to the name server.
const IN_DNS: &str = "in-dns.ccm.test";

/// An error where it cannot be run: to be asked before minutes of compiling.
pub(super) fn is_possible() -> Result<(), Error> {
    if rustix::process::geteuid().is_root() {
        return Ok(());
    }
    Err("--check needs root, for chroot and for a name server on port 53".into())
}

/// Runs it.
pub(super) async fn run(providers: Providers, made: &Made, out: Out) -> Result<(), Error> {
    is_possible()?;
    let folder = tempfile::tempdir()?;
    let root = folder.path();
    std::fs::set_permissions(root, PermissionsExt::from_mode(0o755))?;
    for (path, file) in made.base.iter().chain(&made.program) {
        let path = root.join(path);
        std::fs::create_dir_all(path.parent().unwrap_or(root))?;
        std::fs::write(&path, &file.content)?;
        std::fs::set_permissions(&path, PermissionsExt::from_mode(file.mode))?;
    }
    let output = command(root, &["--version"]).output()?;
    let version = String::from_utf8(output.stdout)?;
    let expected = format!("{NAME} v{VERSION} (commit {})", made.commit);
    if version.trim() != expected {
        // A program that is not static, for example, has nothing here that would load its libraries.
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(format!("--version says {version:?} and not {expected}: {said}").into());
    }
    out.ok(format_args!(
        "it runs as {USER}, with nothing but the image's files: {}",
        version.trim()
    ));

    // What a container runtime mounts.
    std::fs::write(root.join("etc/hosts"), format!("127.0.0.1 localhost {IN_HOSTS}\n"))?;
    let resolver = format!("nameserver {NAMESERVER}\noptions timeout:2 attempts:3\n");
    std::fs::write(root.join("etc/resolv.conf"), resolver)?;
    let _names = Names::serve(NAMESERVER, IN_DNS).await?;
    let server = Server::new(&[IN_HOSTS, IN_DNS])?;
    std::fs::write(
        root.join("cloud"),
        "endpoint: http://127.0.0.1:1\ntoken: none\nclusterID: check\n",
    )?;

    let bundle = std::fs::read_to_string(root.join(CERTIFICATES))?;
    match called(root, providers, &server, IN_HOSTS).await? {
        Err(alert) if alert.contains("UnknownCA") => {}
        answer => {
            return Err(format!("a stranger's certificate was answered with {answer:?}").into());
        }
    }
    std::fs::write(root.join(CERTIFICATES), format!("{bundle}{}", server.authority()))?;
    for (name, place) in [(IN_HOSTS, "/etc/hosts"), (IN_DNS, "/etc/resolv.conf's server")] {
        match called(root, providers, &server, name).await? {
            Ok(asked) if asked == name => out.ok(format_args!("a name from {place} is found")),
            answer => return Err(format!("{name}: {answer:?}").into()),
        }
    }
    out.ok(format_args!("who is in /{CERTIFICATES} is believed, and who is not is not"));
    Ok(())
}

/// Lets the program look for an API server of this name, until it has called: the name that it
/// asked for, or why it did not like the answer.
async fn called(
    root: &Path,
    providers: Providers,
    server: &Server,
    name: &str,
) -> Result<Result<String, String>, Error> {
    // One that was killed may have called once more, and be heard late.
    let mut calls = server.listen()?;
    let kubeconfig = format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: it\n\
         clusters: [{{name: it, cluster: {{server: \"https://{name}:{}\"}}}}]\n\
         users: [{{name: it, user: {{token: none}}}}]\n\
         contexts: [{{name: it, context: {{cluster: it, user: it}}}}]\n",
        calls.port()
    );
    std::fs::write(root.join("kubeconfig"), kubeconfig)?;
    let cloud: &[&str] = match providers {
        Providers::Aws => &["--cloud-provider=aws", "--allow-untagged-cloud"],
        Providers::Sim | Providers::All => &["--cloud-provider=sim", "--cloud-config=/cloud"],
    };
    let mut command =
        command(root, &["plan", "--kubeconfig=/kubeconfig", "--configure-cloud-routes=false"]);
    let log = tempfile::NamedTempFile::new()?;
    let log_file = log.reopen()?;
    let mut child = command.args(cloud).stdout(Stdio::null()).stderr(log_file).spawn()?;
    let answer = tokio::time::timeout(PATIENCE, calls.next()).await;
    child.kill()?;
    child.wait()?;
    answer.map_err(|_| {
        let said = std::fs::read_to_string(&log).unwrap_or_default();
        format!("the program did not call https://{name} within {PATIENCE:?}\n{said}").into()
    })
}

/// The program, as the image's user, with an empty environment.
fn command(root: &Path, args: &[&str]) -> Command {
    let mut command = Command::new("chroot");
    command.arg(format!("--userspec={USER}:{USER}")).arg(root).arg(format!("/{NAME}")).args(args);
    let path = std::env::var_os("PATH").unwrap_or_default();
    command.env_clear().env("PATH", path).stdin(Stdio::null());
    command
}
