//! What the endpoints say.

use ccm_e2e::{Asker, World, run};
use reqwest::Method;
use serde_json::Value;

use super::serving;

fn admin(world: &mut World, asker: Asker) -> Asker {
    asker.as_whom(world.control_plane().admin_credentials())
}

#[test]
fn configuration_flags_and_status_are_as_upstreams() {
    run(async {
        let mut world = World::start().await;
        let ccm =
            serving(&world, &["--cluster-name=blue", "--leader-elect-lease-duration=90s"]).await;
        let admin = admin(&mut world, ccm.stranger());
        let answer = admin.get("/configz").await.unwrap();
        assert_eq!((answer.status, &*answer.kind), (200, "application/json"));
        let all: Value = serde_json::from_str(&answer.body).unwrap();
        let config = &all["cloudcontrollermanager.config.k8s.io"];
        assert_eq!(config["kind"], "CloudControllerManagerConfiguration");
        assert_eq!(config["Generic"]["LeaderElection"]["leaseDuration"], "1m30s");
        assert_eq!(config["Generic"]["LeaderElection"]["leaderElect"], true);
        assert_eq!(config["Generic"]["Address"], "127.0.0.1");
        assert_eq!(config["Generic"]["Port"], ccm.port());
        assert_eq!(config["KubeCloudShared"]["CloudProvider"]["Name"], "sim");
        assert_eq!(config["KubeCloudShared"]["ClusterName"], "blue");
        assert_eq!(config["NodeStatusUpdateFrequency"], "5m0s");

        let answer = admin.get("/flagz").await.unwrap();
        assert_eq!((answer.status, &*answer.kind), (200, "text/plain; charset=utf-8"));
        let begins = "\ncloud-controller-manager flagz\nWarning: This endpoint is not meant to be \
                      machine parseable, has no formatting compatibility guarantees and is for \
                      debugging purposes only.\n";
        assert!(answer.body.starts_with(begins), "{}", answer.body);
        for line in ["cluster-name=blue", "leader-elect=true", "v=4", "tls-min-version="] {
            assert!(answer.body.lines().any(|found| found == line), "{line}: {}", answer.body);
        }

        let answer = admin.get("/statusz").await.unwrap();
        assert_eq!(answer.status, 200);
        let text = answer.body;
        assert!(text.starts_with("\ncloud-controller-manager statusz\nWarning: "), "{text}");
        for part in ["\nStarted: ", "\nUp: 0 hr 0", "\nBinary version: ", " /metrics/slis "] {
            assert!(text.contains(part), "{part}: {text}");
        }
        for path in ["/debug/pprof", "/debug/pprof/", "/debug/flags/v"] {
            assert_eq!(admin.get(path).await.unwrap().status, 404, "{path}");
        }
    });
}

#[test]
fn the_log_says_more_when_it_is_asked_to() {
    run(async {
        let mut world = World::start().await;
        let ccm = serving(&world, &["--profiling"]).await;
        let admin = admin(&mut world, ccm.stranger());
        let path = "/debug/flags/v";
        let answer = admin.ask(Method::PUT, path, "0").await.unwrap();
        let said = "successfully set klog.logging.verbosity to 0\n";
        assert_eq!((answer.status, &*answer.body), (200, said));
        let before = ccm.log().len();
        assert_eq!(ccm.stranger().get("/metrics").await.unwrap().status, 403);
        let log = ccm.log();
        assert!(!log[before..].contains("forbidden"), "{}", &log[before..]);
        admin.ask(Method::PUT, path, "4").await.unwrap();
        let before = ccm.log().len();
        assert_eq!(ccm.stranger().get("/metrics").await.unwrap().status, 403);
        let log = ccm.log();
        assert!(log[before..].contains("forbidden"), "{}", &log[before..]);
        for (method, body, status) in [
            (Method::PUT, "much", 400),
            (Method::GET, "", 406),
            (Method::PUT, &*"9".repeat(99), 413),
        ] {
            let answer = admin.ask(method, path, body).await.unwrap();
            assert_eq!(answer.status, status, "{}", answer.body);
        }
    });
}

#[test]
fn metrics_tell_of_requests_and_of_the_process() {
    run(async {
        let world = World::start().await;
        let mut ccm = serving(&world, &[]).await;
        ccm.stranger().get("/metrics").await.unwrap();
        ccm.ask("/healthz").await;
        let metrics = ccm.ask("/metrics").await.body;
        for part in [
            "authentication_attempts_total{result=\"success\"} ",
            "authenticated_user_requests_total{username=\"other\"} ",
            "authorization_attempts_total{result=\"no-opinion\"} ",
            "rest_client_requests_total{code=\"201\",method=\"POST\",host=\"127.0.0.1:",
            "rest_client_request_duration_seconds_count{verb=\"GET\",host=\"127.0.0.1:",
            "kubernetes_build_info{git_version=\"v",
            "process_cpu_seconds_total ",
            "process_resident_memory_bytes ",
            "process_open_fds ",
        ] {
            assert!(metrics.lines().any(|line| line.starts_with(part)), "{part} not in\n{metrics}");
        }
        let slis = ccm.ask("/metrics/slis").await.body;
        let line = "kubernetes_healthcheck{name=\"leaderElection\",type=\"healthz\"} 1";
        assert!(slis.lines().any(|found| found == line), "{slis}");
    });
}
