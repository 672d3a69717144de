//! What runs, as whom, and with which configuration: flags and files that say so.

use std::path::{Path, PathBuf};

use ccm_e2e::{Account, SOON, Setup, Signal, Wanted as Service, World, run, wait_until};
use ccm_envtest::kubelet::Kubelet;
use kube::api::PostParams;
use serde_json::json;

/// The configuration file of the world's cloud.
fn config(world: &mut World) -> PathBuf {
    let mut path = PathBuf::new();
    world.retarget(|target| path.clone_from(&target.config));
    path
}

fn rewrite(path: &Path, change: impl FnOnce(String) -> String) {
    let text = std::fs::read_to_string(path).unwrap();
    // As a kubelet does it: at once.
    let other = path.with_extension("new");
    std::fs::write(&other, change(text)).unwrap();
    std::fs::rename(other, path).unwrap();
}

#[test]
fn only_the_controllers_that_are_named_run() {
    run(async {
        let world = World::start().await;
        let mut ccm = world.ccm(&Setup::new().serving().flag("--controllers=cloud-node,-service"));
        let service = Service::named("idle");
        world.services().create(&PostParams::default(), &service.service()).await.unwrap();
        world.barrier("n1").await;
        let running = |name: &str| {
            format!(
                "running_managed_controllers{{name=\"{name}\",manager=\"cloud-controller-manager\"}}"
            )
        };
        ccm.metric_is(&running("cloud-node"), 1.0).await;
        for name in ["cloud-node-lifecycle", "service", "route", "nodeipam", "cloud-volume"] {
            ccm.metric_is(&running(name), 0.0).await;
        }
        assert!(world.service("idle").await.is_untouched(), "nobody sees to Services");
        let asked = world.traffic().await.lines();
        assert!(!asked.iter().any(|line| line.contains("services")), "{asked:?}");
    });
}

/// The rights of a manifest that lets nothing run, so that there is nothing to be refused either.
#[test]
fn without_a_controller_nothing_is_watched() {
    run(async {
        let world = World::start().await;
        let mut ccm = world.ccm(&Setup::new().serving().flag("--controllers="));
        world.holder_other_than("", SOON).await;
        wait_until("word of it", SOON, async || {
            ccm.expect_running();
            let log = ccm.log();
            if log.contains("no controller runs") { Ok(()) } else { Err(log) }
        })
        .await;
        assert_eq!(ccm.ask("/readyz").await.status, 200);
        ccm.signal(Signal::TERM);
        assert!(ccm.end(SOON).await.success());
        let asked = world.traffic().await.lines();
        assert!(!asked.iter().any(|line| line.contains("nodes")), "{asked:?}");
    });
}

#[test]
fn configuration_and_credentials_are_read_again() {
    run(async {
        let mut world = World::start().await;
        let file = config(&mut world);
        let token = world.dir().join("token");
        std::fs::write(&token, "not-the-token-of-anybody").unwrap();
        rewrite(&file, |text| text.replace("token: token-of-the-ccm", "tokenFile: token"));
        let mut ccm = world.ccm(&Setup::new().serving());
        world.cloud.instance_named("n1").await;
        world.register(Kubelet::new("n1")).await;
        world
            .node_until("n1", "the cloud's refusal", SOON * 2, |node| {
                matches!(node.known().0, "False" | "Unknown")
            })
            .await;
        let holder = world.holder().await;

        rewrite(&token, |_| "token-of-the-ccm\n".to_owned());
        world.initialized("n1").await;
        ccm.metric_is("ccm_cloud_config_reloads_total{outcome=\"used\"}", 1.0).await;

        rewrite(&file, |text| format!("{text}endpont: x\n"));
        ccm.metric_is("ccm_cloud_config_reloads_total{outcome=\"refused\"}", 1.0).await;
        world.barrier("n2").await;
        let log = ccm.log();
        assert!(log.contains("cannot be used; those of before go on"), "{log}");
        assert!(log.contains("endpont"), "the key: {log}");

        rewrite(&file, |text| {
            text.replace("endpont: x\n", "").replace("clusterID: ", "clusterID: x")
        });
        ccm.metric_is("ccm_cloud_config_reloads_total{outcome=\"refused\"}", 2.0).await;
        assert!(ccm.log().contains("which takes a restart"), "another cluster's ID");

        rewrite(&file, |text| text.replace("clusterID: x", "clusterID: ") + "batchLimit: 7\n");
        ccm.metric_is("ccm_cloud_config_reloads_total{outcome=\"used\"}", 2.0).await;
        world.barrier("n3").await;
        assert_eq!(world.holder().await, holder, "one process, and it led all the time");
        let token_is_told = ccm.log().contains("token-of-the-ccm");
        assert!(!token_is_told, "a credential in the log");
    });
}

#[test]
fn a_login_by_a_program_works() {
    run(async {
        let world = World::start().await;
        let account = world.account(Account::First);
        let credential = json!({
            "apiVersion": "client.authentication.k8s.io/v1",
            "kind": "ExecCredential",
            "status": { "token": account.token() },
        });
        let answer = world.dir().join("credential.json");
        std::fs::write(&answer, credential.to_string()).unwrap();
        let direct = std::fs::read_to_string(account.kubeconfig()).unwrap();
        let exec = json!({
            "apiVersion": "client.authentication.k8s.io/v1",
            "command": "cat",
            "args": [answer],
            "interactiveMode": "Never",
        });
        let token = format!("token: {}", account.token());
        assert!(direct.contains(&token), "how the token stands in a kubeconfig");
        let kubeconfig = world.dir().join("exec.kubeconfig");
        std::fs::write(&kubeconfig, direct.replace(&token, &format!("exec: {exec}"))).unwrap();

        let _ccm = world.ccm_with(&Setup::new(), &kubeconfig);
        world.barrier("n1").await;
    });
}
