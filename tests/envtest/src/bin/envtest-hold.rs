//! Starts a control plane, says what and where it is, and holds it until killed or interrupted.
//!
//! For tests of what then happens, and for trying things out by hand:
//!
//! ```console
//! $ cargo run --package ccm-envtest --bin envtest-hold
//! ```
//!
//! There is no signal handler: cleaning up is left to the guardian.

use std::io::{self, Write};

use ccm_envtest::ControlPlane;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let control_plane = ControlPlane::start().await?;
    say(&control_plane)?;
    std::future::pending().await
}

/// One word and one value a line, the last line being `ready`.
fn say(control_plane: &ControlPlane) -> Result<(), Box<dyn std::error::Error>> {
    let kubeconfig = control_plane.write_kubeconfig("admin", control_plane.admin_credentials())?;
    let mut out = io::stdout().lock();
    writeln!(out, "server {}", control_plane.server_url())?;
    writeln!(out, "directory {}", control_plane.dir().display())?;
    writeln!(out, "kubeconfig {}", kubeconfig.display())?;
    writeln!(out, "etcd {}", control_plane.etcd_pid())?;
    let apiserver = control_plane.apiserver_pid().ok_or("the API server does not run")?;
    writeln!(out, "apiserver {apiserver}")?;
    writeln!(out, "guardian {}", control_plane.guardian_pid())?;
    writeln!(out, "ready")?;
    out.flush()?;
    Ok(())
}
