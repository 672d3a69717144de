//! The process as its operator sees it: endpoints, signals, and mistakes in its flags.

use std::path::PathBuf;
use std::time::Duration;

use ccm_e2e::{SOON, Setup, Signal, World, refused, run, wait_until};
use simcloud::api::FaultKind;
use tokio::time::Instant;

/// What is said on standard error about a mistake: one line, and where help is to be had.
fn said(flags: &[&str]) -> String {
    let output = refused(flags);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert_eq!(output.stdout, b"");
    let text = String::from_utf8(output.stderr).unwrap();
    let (line, rest) = text.split_once('\n').unwrap();
    assert!(rest.lines().all(|line| line.ends_with("--help' for all flags.")), "too much: {text}");
    assert!(line.starts_with("error: "), "{line}");
    line.to_owned()
}

/// A file of this content, in a place of its own.
fn file(name: &str, content: &str) -> PathBuf {
    let path = std::env::temp_dir().join(format!("ccm-e2e-{}-{name}", std::process::id()));
    std::fs::write(&path, content).unwrap();
    path
}

fn config_flag(path: &std::path::Path) -> String {
    format!("--cloud-config={}", path.display())
}

#[test]
fn a_mistake_in_the_flags_is_one_clear_line() {
    let line = said(&["--cloud-provider=nimbus"]);
    assert!(line.contains("nimbus") && line.contains("sim"), "{line}");
    let line = said(&[]);
    assert!(line.contains("--cloud-provider"), "{line}");
    let line = said(&["--cloud-provider=sim", "--leader-elect-lease-duration=soon"]);
    assert!(line.contains("--leader-elect-lease-duration") && line.contains("soon"), "{line}");
    let line = said(&["--cloud-provider=sim", "--cloud-confg=x"]);
    assert!(line.contains("--cloud-confg"), "{line}");
}

#[test]
fn a_mistake_in_the_configuration_names_file_line_and_key() {
    let line = said(&["--cloud-provider=sim"]);
    assert!(line.contains("--cloud-config"), "{line}");

    let missing = PathBuf::from("/nonexistent/cloud.yaml");
    let line = said(&["--cloud-provider=sim", &config_flag(&missing)]);
    assert!(line.contains("/nonexistent/cloud.yaml") && line.contains("No such file"), "{line}");

    let odd = file("odd.yaml", "endpoint: http://127.0.0.1:1\ntoken: t\nendpont: x\n");
    let line = said(&["--cloud-provider=sim", &config_flag(&odd)]);
    assert!(line.contains(odd.to_str().unwrap()), "the file: {line}");
    assert!(line.contains("endpont"), "the key: {line}");
    assert!(line.contains("line 3") || line.contains(":3"), "the line: {line}");
    std::fs::remove_file(odd).unwrap();

    let untagged = file("untagged.yaml", "endpoint: http://127.0.0.1:1\ntoken: t\n");
    let line = said(&["--cloud-provider=sim", &config_flag(&untagged)]);
    assert!(line.contains("cluster ID") && line.contains("--allow-untagged-cloud"), "{line}");
    std::fs::remove_file(untagged).unwrap();

    let wrong = file("wrong.yaml", "endpoint: http://127.0.0.1:1\ntoken: t\nbatchLimit: many\n");
    let line = said(&["--cloud-provider=sim", &config_flag(&wrong)]);
    assert!(line.contains("batchLimit") && line.contains("many"), "{line}");
    assert!(line.contains("line 3") || line.contains(":3"), "the line: {line}");
    std::fs::remove_file(wrong).unwrap();

    let fine = file("fine.yaml", "endpoint: http://127.0.0.1:1\ntoken: t\nclusterID: c\n");
    let line = said(&["--cloud-provider=sim", &config_flag(&fine)]);
    let names_both =
        line.contains("--cluster-cidr") && line.contains("--configure-cloud-routes=false");
    assert!(names_both, "routes, and nothing is said of the ranges of pods: {line}");
    std::fs::remove_file(fine).unwrap();
}

#[test]
fn the_endpoints_say_how_it_is() {
    run(async {
        let world = World::start().await;
        let mut ccm = world.ccm(&Setup::new().serving());
        world.barrier("n1").await;
        for path in ["/healthz", "/livez", "/readyz"] {
            let answer = ccm.ask(path).await;
            assert_eq!((answer.status, &*answer.body), (200, "ok"), "{path}");
        }
        let health = ccm.ask("/healthz?verbose").await.body;
        for check in ["leaderElection", "cloud-node-controller"] {
            assert!(health.contains(&format!("[+]{check} ok")), "{health}");
        }
        let metrics = ccm.ask("/metrics").await.body;
        for line in [
            "leader_election_master_status{name=\"cloud-controller-manager\"} 1",
            "running_managed_controllers{name=\"cloud-node\",manager=\"cloud-controller-manager\"} 1",
            "node_controller_cloud_provider_taint_removal_delay_seconds_count 1",
            "node_controller_initial_node_sync_delay_seconds_count 1",
            "cloudprovider_sim_api_request_duration_seconds_count{request=\"DescribeInstances\"} 1",
            "ccm_node_writes_total{write=\"status\"} 1",
            "ccm_node_writes_total{write=\"main\"} 1",
        ] {
            assert!(metrics.lines().any(|found| found == line), "no {line} in\n{metrics}");
        }
        assert_eq!(ccm.ask("/nothing").await.status, 404);
    });
}

#[test]
fn it_ends_in_time_while_the_cloud_hangs() {
    run(async {
        let world = World::start().await;
        let mut ccm = world.ccm(&Setup::new());
        world.barrier("n0").await;
        world.cloud.break_down(FaultKind::Hang { max_ms: None }).await;
        world.join("n1").await;
        wait_until("a call that hangs", SOON, async || {
            let in_flight = world.cloud.calls_in_flight().await;
            if in_flight > 0 { Ok(()) } else { Err(in_flight) }
        })
        .await;
        ccm.signal(Signal::TERM);
        let begun = Instant::now();
        let status = ccm.end(Duration::from_secs(30)).await;
        println!("SIGTERM to the end, while the cloud hangs: {:.1?}", begun.elapsed());
        assert!(status.success(), "{status}");
        assert_eq!(world.holder().await, "", "the lease is given back");
    });
}
