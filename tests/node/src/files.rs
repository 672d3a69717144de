//! What containerd and the kubelet are told.

use std::{net::Ipv4Addr, path::Path};

use serde_json::{Value, json};

/// The image with the program that holds a pod's namespaces. Its name is nobody's, so it is never asked for.
pub const PAUSE: &str = "ccm-rs.test/pause:1";

/// Where containerd listens, in the node.
const SOCKET: &str = "/run/containerd/containerd.sock";

/// The range of the node's pods. Nothing else of the node has addresses in it.
const PODS: &str = "10.244.0.0/24";

pub(crate) fn containerd(plugins: &Path, network: &Path) -> String {
    let (plugins, network) = (plugins.display(), network.display());
    // The plugin that is disabled makes a folder of the machine's. Nothing is to be done about oom_score_adj: not every
    // root may lower it.
    format!(
        r#"version = 2
disabled_plugins = ["io.containerd.internal.v1.opt"]
root = "/run/node/containerd"
state = "/run/containerd"

[grpc]
address = "{SOCKET}"

[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "{PAUSE}"
restrict_oom_score_adj = true
disable_apparmor = true

[plugins."io.containerd.grpc.v1.cri".containerd]
snapshotter = "overlayfs"

[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"

[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
SystemdCgroup = false

[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "{plugins}"
conf_dir = "{network}"
"#
    )
}

/// A cable for each pod, to the node and no further.
pub(crate) fn network() -> Value {
    json!({
        "cniVersion": "0.4.0",
        "name": "pods",
        "plugins": [{
            "type": "ptp",
            "ipam": {
                "type": "host-local",
                "dataDir": "/run/cni",
                "ranges": [[{"subnet": PODS}]],
                "routes": [{"dst": "0.0.0.0/0"}],
            },
        }],
    })
}

/// Where a kubelet's files are, and what else differs.
#[derive(Debug)]
pub(crate) struct Kubelet<'a> {
    pub(crate) dir: &'a Path,
    pub(crate) ca: &'a Path,
    pub(crate) address: Ipv4Addr,
    pub(crate) cgroup_root: &'a str,
}

/// The kubelet's configuration.
pub(crate) fn kubelet(kubelet: &Kubelet<'_>) -> Value {
    let Kubelet { dir, ca, address, cgroup_root } = kubelet;
    json!({
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": address,
        "tlsCertFile": dir.join("kubelet.crt"),
        "tlsPrivateKeyFile": dir.join("kubelet.key"),
        "authentication": {
            "anonymous": {"enabled": false},
            "webhook": {"enabled": true},
            "x509": {"clientCAFile": ca},
        },
        "authorization": {"mode": "Webhook"},
        "containerRuntimeEndpoint": format!("unix://{SOCKET}"),
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": cgroup_root,
        // The machine may have it; newer kubelets would rather not.
        "failCgroupV1": false,
        "failSwapOn": false,
        // Not every root may lower it.
        "oomScoreAdj": 0,
        // They would be the node's own, but nobody needs them.
        "makeIPTablesUtilChains": false,
        // Full disks are the machine's business, and images cannot be fetched again.
        "evictionHard": {"memory.available": "50Mi"},
        "imageGCHighThresholdPercent": 100,
        "imageGCLowThresholdPercent": 99,
        // Elsewhere it would make a folder of the machine's.
        "volumePluginDir": "/var/lib/kubelet/volume-plugins",
        "resolvConf": dir.join("resolv.conf"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kubelet_lets_nobody_in_unasked() {
        let dir = Path::new("/tmp/x");
        let address = Ipv4Addr::new(198, 18, 0, 2);
        let told = kubelet(&Kubelet { dir, ca: dir, address, cgroup_root: "/x" });
        assert_eq!(told["authentication"]["anonymous"]["enabled"], false);
        assert_eq!(told["authorization"]["mode"], "Webhook");
        assert_eq!(told["address"], "198.18.0.2");
    }
}
