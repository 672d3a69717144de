//! The cable between the machine and the node, and the node's addresses.

use std::net::Ipv4Addr;

use crate::{Error, needs};

/// Names and networks are tried up to here. As many nodes as nobody has at once on one machine.
const ATTEMPTS: u8 = 64;

/// The cable's end in the node.
const NODE_END: &str = "eth0";

/// Plugs a new cable into the network of process `pid` and gives the node's address.
///
/// Both ends have an address out of the range that is kept for measurements (RFC 2544), which is nobody's in earnest; where
/// it is somebody's, another part is taken. The cable is gone when the node's network is. The node has no other way out.
pub(crate) async fn plug(pid: u32, service: Ipv4Addr) -> Result<Ipv4Addr, Error> {
    for number in 0..ATTEMPTS {
        let [machine, node] = [1, 2].map(|last| Ipv4Addr::new(198, 18, number, last));
        if is_routed(node).await? {
            continue;
        }
        let name = format!("ccm-node{number}");
        let pid = pid.to_string();
        let add = ["link", "add", &name, "type", "veth", "peer", "name", NODE_END, "netns", &pid];
        match ip(&add).await {
            Ok(_) => {}
            // The name is also what keeps two nodes from one network.
            Err(err) if err.to_string().contains("exists") => continue,
            Err(err) => return Err(err),
        }
        ip(&["address", "add", &format!("{machine}/30"), "dev", &name]).await?;
        ip(&["link", "set", &name, "up"]).await?;
        for args in [
            ["link", "set", "lo", "up"].as_slice(),
            &["address", "add", &format!("{service}/32"), "dev", "lo"],
            &["address", "add", &format!("{node}/30"), "dev", NODE_END],
            &["link", "set", NODE_END, "up"],
        ] {
            run("nsenter", &[&["--target", &pid, "--net", "ip"], args].concat()).await?;
        }
        return Ok(node);
    }
    Err(format!("all of {ATTEMPTS} networks for a node are taken").into())
}

/// Whether the machine has a way there that is not the one to everywhere.
async fn is_routed(address: Ipv4Addr) -> Result<bool, Error> {
    let routes = ip(&["-4", "route", "show", "match", &address.to_string()]).await?;
    Ok(routes.lines().any(|line| !line.starts_with("default")))
}

async fn ip(args: &[&str]) -> Result<String, Error> {
    run("ip", args).await
}

/// Runs a program of the system and gives what it printed.
pub(crate) async fn run(program: &str, args: &[&str]) -> Result<String, Error> {
    let output = tokio::process::Command::new(program)
        .args(args)
        .env_clear()
        .env("PATH", needs::PATH)
        .kill_on_drop(true)
        .output()
        .await
        .map_err(|err| format!("{program}: {err}"))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(format!("{program} {}: {} ({})", args.join(" "), said.trim(), output.status).into())
}
