//! Who may ask for what.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use ccm_core::app::serve::{Checks, Endpoints};
use ccm_e2e::{Answer, Asker, Setup, World, run};
use ccm_envtest::{Credentials, Grant, ServiceAccountAccess};
use k8s_openapi::api::core::v1::ServiceAccount;
use k8s_openapi::api::rbac::v1::{ClusterRoleBinding, PolicyRule};
use kube::api::{DeleteParams, ListParams};
use kube::{Api, ResourceExt};
use reqwest::Method;

use super::{answered, serving};

/// What the program serves, from its own list, and what it does not; health, which is for everybody,
/// left out.
fn guarded() -> Vec<String> {
    let metrics = Arc::new(prometheus_client::registry::Registry::default());
    let endpoints = Endpoints::new(Checks::default(), metrics);
    let open = ["/healthz", "/livez", "/readyz"];
    let paths = endpoints.paths().into_iter().filter(|path| !open.contains(&&**path));
    let paths = paths.map(|path| path.replace("{check}", "leaderElection"));
    paths.chain(["/", "/nothing", "/debug/flags/v"].map(str::to_owned)).collect()
}

/// An account that may GET these paths.
async fn account(world: &mut World, name: &str, paths: &[&str]) -> ServiceAccountAccess {
    let rule = PolicyRule {
        non_resource_urls: Some(paths.iter().map(|&path| path.to_owned()).collect()),
        verbs: vec!["get".to_owned()],
        ..PolicyRule::default()
    };
    let grants = [Grant::ClusterRules(vec![rule])];
    let grants = if paths.is_empty() { &[][..] } else { &grants };
    world.control_plane().service_account("default", name, grants).await.unwrap()
}

async fn status(asker: &Asker, path: &str) -> u16 {
    asker.get(path).await.unwrap().status
}

#[test]
fn who_has_no_right_sees_nothing_but_health() {
    run(async {
        let mut world = World::start().await;
        let ccm = serving(&world, &["--profiling"]).await;
        let poor = account(&mut world, "poor", &[]).await;
        let stranger = ccm.stranger();
        let poor = stranger.clone().as_whom(poor.credentials());
        let made_up = stranger.clone().as_whom(&Credentials::Token("made.up.token".to_owned()));
        for path in guarded() {
            let Answer { status, body, kind, .. } = stranger.get(&path).await.unwrap();
            assert_eq!((status, &*kind), (403, "application/json"), "{path}: {body}");
            let said = format!(r#"User \"system:anonymous\" cannot get path \"{path}\""#);
            assert!(body.contains(&said) && body.contains(r#""kind":"Status""#), "{path}: {body}");
            let Answer { status, body, .. } = poor.get(&path).await.unwrap();
            let user = "system:serviceaccount:default:poor";
            assert!(status == 403 && body.contains(user), "{path}: {status} {body}");
            let Answer { status, body, .. } = made_up.get(&path).await.unwrap();
            assert!(status == 401 && body.contains("Unauthorized"), "{path}: {status} {body}");
        }
        for asker in [&stranger, &poor, &made_up] {
            for path in ["/healthz", "/livez", "/readyz"] {
                assert_eq!(status(asker, path).await, 200, "{path}");
            }
        }
        for method in [Method::PUT, Method::DELETE, Method::POST, Method::OPTIONS] {
            let answer = stranger.ask(method.clone(), "/debug/flags/v", "9").await.unwrap();
            assert_eq!(answer.status, 403, "{method}");
        }
    });
}

#[test]
fn a_token_is_worth_what_its_owner_may() {
    run(async {
        let mut world = World::start().await;
        let flags = [
            "--authorization-webhook-cache-authorized-ttl=1s",
            "--authentication-token-webhook-cache-ttl=1s",
        ];
        let ccm = serving(&world, &flags).await;
        let scraper = account(&mut world, "scraper", &["/metrics"]).await;
        let asker = ccm.stranger().as_whom(scraper.credentials());
        let answer = asker.get("/metrics").await.unwrap();
        assert_eq!(answer.status, 200, "{}", answer.body);
        assert_eq!(answer.kind, "application/openmetrics-text; version=1.0.0; charset=utf-8");
        for path in ["/metrics/slis", "/configz", "/healthz/leaderElection"] {
            assert_eq!(status(&asker, path).await, 403, "{path}");
        }
        assert_eq!(asker.ask(Method::DELETE, "/metrics", "").await.unwrap().status, 403);

        // Its right is taken away, and then its existence.
        let bindings = Api::<ClusterRoleBinding>::all(world.admin());
        for binding in bindings.list(&ListParams::default()).await.unwrap() {
            let name = binding.name_any();
            if name.starts_with("ccm-envtest:default:scraper:") {
                bindings.delete(&name, &DeleteParams::default()).await.unwrap();
            }
        }
        answered(&asker, "/metrics", 403).await;
        let accounts = Api::<ServiceAccount>::namespaced(world.admin(), "default");
        accounts.delete("scraper", &DeleteParams::default()).await.unwrap();
        answered(&asker, "/metrics", 401).await;
    });
}

#[test]
fn a_certificate_of_the_cluster_says_who_one_is() {
    run(async {
        let mut world = World::start().await;
        let ccm = serving(&world, &[]).await;
        let stranger = ccm.stranger();
        let past = SystemTime::now() - Duration::from_hours(1);
        let plane = world.control_plane();
        let jane = plane.certificate("jane", "dev").unwrap();
        let master = plane.certificate("jane", "system:masters").unwrap();
        let expired = plane.certificate_until("jane", "system:masters", past).unwrap();

        let answer = stranger.clone().as_whom(&jane).get("/metrics").await.unwrap();
        assert!(answer.status == 403 && answer.body.contains(r#"User \"jane\""#), "{answer:?}");
        assert_eq!(status(&stranger.clone().as_whom(&master), "/metrics").await, 200);
        assert_eq!(status(&stranger.clone().as_whom(&expired), "/metrics").await, 401);

        let foreign = rcgen::generate_simple_self_signed(vec!["admin".to_owned()]).unwrap();
        let foreign = Credentials::Certificate {
            certificate_pem: foreign.cert.pem(),
            key_pem: foreign.signing_key.serialize_pem(),
        };
        assert_eq!(status(&stranger.clone().as_whom(&foreign), "/metrics").await, 401);
        let scraper = account(&mut world, "certified", &["/metrics"]).await;
        let both = stranger.as_whom(&foreign).as_whom(scraper.credentials());
        assert_eq!(
            status(&both, "/metrics").await,
            200,
            "a token counts beside a worthless certificate"
        );
    });
}

#[test]
fn only_front_proxies_may_say_for_whom_they_ask() {
    run(async {
        let mut world = World::start().await;
        let ccm = serving(&world, &[]).await;
        let saying = |asker: Asker| {
            asker.header("X-Remote-User", "jane").header("X-Remote-Group", "system:masters")
        };
        let stranger = ccm.stranger();
        assert_eq!(status(&saying(stranger.clone()), "/metrics").await, 403);
        let plane = world.control_plane();
        let front = plane.front_proxy_certificate("front-proxy-client").unwrap();
        let other = plane.front_proxy_certificate("somebody").unwrap();
        let client = plane.certificate("front-proxy-client", "dev").unwrap();
        assert_eq!(status(&saying(stranger.clone().as_whom(&front)), "/metrics").await, 200);
        assert_eq!(status(&saying(stranger.clone().as_whom(&other)), "/metrics").await, 401);
        let answer = saying(stranger.clone().as_whom(&client)).get("/metrics").await.unwrap();
        assert!(answer.status == 403 && answer.body.contains("front-proxy-client"), "{answer:?}");
        assert_eq!(status(&stranger.as_whom(&front), "/metrics").await, 401, "it asks for nobody");
    });
}

#[test]
fn without_the_api_server_nobody_new_gets_in() {
    run(async {
        let mut world = World::start().await;
        let setup = Setup::new().without_election().serving();
        let setup = setup.flag("--authorization-webhook-cache-authorized-ttl=0");
        let mut ccm = world.ccm(&setup);
        ccm.ask("/metrics").await;
        let scraper = account(&mut world, "waiting", &["/metrics"]).await;
        let asker = ccm.stranger().as_whom(scraper.credentials());
        assert_eq!(status(&asker, "/metrics").await, 200);

        world.control_plane().kill_apiserver().unwrap();
        let answer = asker.get("/metrics").await.unwrap();
        assert!(
            answer.status == 500 && answer.body.contains("Internal Server Error"),
            "{answer:?}"
        );
        assert_eq!(status(&asker, "/healthz").await, 200, "health waits for nobody");
        assert_eq!(ccm.ask("/metrics").await.status, 200, "who shows a certificate is known");
        world.control_plane().start_apiserver().await.unwrap();
        answered(&asker, "/metrics", 200).await;
    });
}

#[test]
fn what_the_cluster_refuses_to_show_ends_the_process_unless_that_is_tolerated() {
    run(async {
        let mut world = World::start().await;
        let blind = world.control_plane().service_account("default", "blind", &[]).await.unwrap();
        let flag = format!("--authentication-kubeconfig={}", blind.kubeconfig().display());
        let mut ccm = world.ccm(&Setup::new().serving().flag(flag.clone()));
        let status = ccm.end(Duration::from_mins(1)).await;
        assert!(!status.success());
        let log = ccm.log();
        assert!(log.contains("--authentication-tolerate-lookup-failure"), "{log}");

        let setup = Setup::new().serving().flag(flag);
        let ccm = world.ccm(&setup.flag("--authentication-tolerate-lookup-failure"));
        let master = world.control_plane().admin_credentials().clone();
        answered(&ccm.stranger().as_whom(&master), "/metrics", 403).await;
    });
}

#[test]
fn other_paths_may_be_opened() {
    run(async {
        let world = World::start().await;
        let ccm = serving(&world, &["--authorization-always-allow-paths=/metrics*,/livez"]).await;
        let stranger = ccm.stranger();
        for (path, want) in [
            ("/metrics", 200),
            ("/metrics/slis", 200),
            ("/livez", 200),
            ("/livez/leaderElection", 403),
            ("/configz", 403),
        ] {
            assert_eq!(status(&stranger, path).await, want, "{path}");
        }
    });
}

/// An authority, and a client of it who may everything.
fn authority() -> (String, Credentials) {
    let key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::new([]).unwrap();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let pem = params.self_signed(&key).unwrap().pem();
    let authority = rcgen::Issuer::new(params, key);

    let key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::new([]).unwrap();
    params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth];
    params.distinguished_name.push(rcgen::DnType::CommonName, "jane");
    params.distinguished_name.push(rcgen::DnType::OrganizationName, "system:masters");
    let certificate = params.signed_by(&key, &authority).unwrap();
    let (certificate_pem, key_pem) = (certificate.pem(), key.serialize_pem());
    (pem, Credentials::Certificate { certificate_pem, key_pem })
}

#[test]
fn an_authority_that_was_replaced_counts_no_more() {
    run(async {
        let mut world = World::start().await;
        let [(old, old_client), (new, new_client)] = [authority(), authority()];
        let file = world.control_plane().dir().join("clients.crt");
        std::fs::write(&file, old).unwrap();
        let flag = format!("--client-ca-file={}", file.display());
        let ccm = world.ccm(&Setup::new().without_election().serving().flag(flag));
        let stranger = ccm.stranger();
        // Each keeps its connection.
        let [was, will] = [old_client, new_client].map(|it| stranger.clone().as_whom(&it));
        answered(&was, "/metrics", 200).await;
        assert_eq!(status(&will, "/metrics").await, 401);

        std::fs::write(&file, new).unwrap();
        answered(&will, "/metrics", 200).await;
        assert_eq!(status(&was, "/metrics").await, 401, "on a connection that is open");

        // What is no authority leaves the one that there is.
        std::fs::write(&file, "nothing").unwrap();
        let said = "new authorities not usable; the old ones go on";
        ccm_e2e::wait_until(said, Duration::from_secs(20), async || {
            if ccm.log().contains(said) { Ok(()) } else { Err(ccm.log()) }
        })
        .await;
        assert_eq!(status(&will, "/metrics").await, 200);
        std::fs::remove_file(&file).unwrap();
    });
}
