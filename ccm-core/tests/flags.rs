//! The command line, from outside.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ccm_core::app::flags::serving::{Certificate, Lookup, Named, Open, Pair, Tls, Version};
use ccm_core::app::flags::{
    CONTROLLERS, Command, Exit, LogFormat, MigrationFile, NodeIpam, Options, Output, PlanOptions,
    Program, Stream, VolumeController, Workload, parse, reference,
};
use ccm_core::cluster::keys::controller;
use ccm_core::controllers::node_lifecycle::Limit;
use proptest::prelude::*;
use rstest::rstest;

fn program() -> Program {
    Program {
        name: "cloud-controller-manager",
        version: "0.1.0",
        commit: Some("0a1b2c3"),
        providers: vec!["sim", "aws"],
    }
}

fn parsed(args: &[&str]) -> Result<Options, Exit> {
    match parse(&program(), ["ccm", "--cloud-provider=sim"].iter().chain(args))? {
        Command::Run(options) => Ok(options),
        Command::Plan(..) | Command::Manifest(..) => panic!("{args:?}: taken for something else"),
    }
}

fn planned(args: &[&str]) -> Result<(Options, PlanOptions), Exit> {
    match parse(&program(), ["ccm", "plan", "--cloud-provider=sim"].iter().chain(args))? {
        Command::Plan(options, plan) => Ok((options, plan)),
        Command::Run(_) | Command::Manifest(..) => panic!("{args:?}: not taken for a plan"),
    }
}

fn options(args: &[&str]) -> Options {
    parsed(args).unwrap_or_else(|exit| panic!("{args:?}: {}", exit.text()))
}

fn refusal(args: &[&str]) -> String {
    let exit = parsed(args).expect_err("accepted");
    assert_eq!((exit.stream(), exit.code()), (Stream::Stderr, 1), "{args:?}");
    exit.text().to_owned()
}

#[test]
fn defaults_are_upstreams_but_for_what_help_says() {
    let options = options(&[]);
    assert_eq!(options.cloud.provider, "sim");
    assert_eq!(options.cloud.config, None);
    assert_eq!(options.cluster.name, "kubernetes");
    assert_eq!(options.cluster.kubeconfig, None);
    assert_eq!(options.cluster.master, None);
    assert_eq!(options.node_controller.status_update_frequency, Duration::from_mins(5));
    assert_eq!(options.node_controller.concurrent_syncs.get(), 16);
    let lifecycle = &options.node_lifecycle;
    assert_eq!(lifecycle.monitor_period, Duration::from_secs(5));
    assert_eq!(lifecycle.concurrent_syncs.get(), 16);
    assert_eq!(lifecycle.deletion_min_age, Duration::from_mins(5));
    let limit = Limit { minimum: 3, percent: 10, window: Duration::from_mins(10) };
    assert_eq!(lifecycle.deletion_budget, Some(limit));
    let service = &options.service_controller;
    assert_eq!(service.concurrent_syncs.get(), 16);
    assert!(service.classes.is_empty() && service.serve_classless);
    assert_eq!(service.drift_interval, Duration::from_hours(1));
    assert!(options.cluster.cidrs.is_empty());
    let routes = options.route_controller.unwrap();
    assert_eq!(routes.shortest_interval, Duration::from_secs(10));
    assert_eq!(routes.concurrent_syncs.get(), 16);
    assert_eq!(routes.drift_interval, Duration::from_hours(1));
    assert_eq!(options.node_ipam, None);
    assert_eq!(options.volume_controller, VolumeController::default());
    assert_eq!(options.serving.unwrap().address, ([0, 0, 0, 0], 10258).into());
    assert_eq!(options.logging.verbosity, 0);
    assert_eq!(options.logging.format, LogFormat::Text);
    let election = options.leader_election.unwrap();
    assert_eq!(election.name, "cloud-controller-manager");
    assert_eq!(election.namespace, "kube-system");
    assert_eq!(election.lease_duration, Duration::from_secs(15));
    assert_eq!(election.renew_deadline, Duration::from_secs(10));
    assert_eq!(election.retry_period, Duration::from_secs(2));
}

#[test]
fn every_flag_is_heard() {
    let options = options(&[
        "--cloud-provider=aws",
        "--cloud-config=/etc/cloud.conf",
        "--kubeconfig",
        "/etc/kubeconfig",
        "--master=https://10.0.0.1:6443",
        "--cluster-name=blue",
        "--node-status-update-frequency=1m30s",
        "--concurrent-node-syncs=3",
        "--concurrent-service-syncs=5",
        "--load-balancer-class=internal",
        "--serve-classless-services=false",
        "--load-balancer-drift-interval=10s",
        "--cluster-cidr=10.0.0.0/8",
        "--route-reconciliation-period=1m",
        "--concurrent-route-syncs=2",
        "--route-drift-interval=20s",
        "--label-provisioned-volumes",
        "--overwrite-volume-labels=true",
        "--leader-elect-lease-duration=1h0m0s",
        "--leader-elect-renew-deadline=1.5m",
        "--leader-elect-retry-period=.5s",
        "--leader-elect-resource-lock=leases",
        "--leader-elect-resource-name=ccm",
        "--leader-elect-resource-namespace=infra",
        "--enable-leader-migration",
        "--leader-migration-config=/etc/migration.yaml",
        "--allow-untagged-cloud",
        "--controller-start-interval=3s",
        "--bind-address=::1",
        "--secure-port=443",
        "--logging-format=json",
        "-v4",
    ]);
    assert_eq!(options.cloud.provider, "aws");
    assert_eq!(options.cloud.config, Some(PathBuf::from("/etc/cloud.conf")));
    assert_eq!(options.cluster.kubeconfig, Some(PathBuf::from("/etc/kubeconfig")));
    assert_eq!(options.cluster.master.as_deref(), Some("https://10.0.0.1:6443"));
    assert_eq!(options.cluster.name, "blue");
    assert_eq!(options.node_controller.status_update_frequency, Duration::from_secs(90));
    assert_eq!(options.node_controller.concurrent_syncs.get(), 3);
    let service = &options.service_controller;
    assert_eq!(service.concurrent_syncs.get(), 5);
    assert_eq!(service.classes, ["internal".to_owned()].into());
    assert!(!service.serve_classless);
    assert_eq!(service.drift_interval, Duration::from_secs(10));
    assert_eq!(options.cluster.cidrs, ["10.0.0.0/8".parse().unwrap()]);
    let routes = options.route_controller.unwrap();
    assert_eq!(routes.shortest_interval, Duration::from_mins(1));
    assert_eq!(routes.concurrent_syncs.get(), 2);
    assert_eq!(routes.drift_interval, Duration::from_secs(20));
    let all = VolumeController { provisioned: true, overwrite: true };
    assert_eq!(options.volume_controller, all);
    let election = options.leader_election.unwrap();
    assert_eq!(election.name, "ccm");
    assert_eq!(election.namespace, "infra");
    assert_eq!(election.lease_duration, Duration::from_hours(1));
    assert_eq!(election.renew_deadline, Duration::from_secs(90));
    assert_eq!(election.retry_period, Duration::from_millis(500));
    let file = MigrationFile::Named("/etc/migration.yaml".into());
    assert_eq!(election.migration, Some(file));
    assert!(options.cloud.allow_untagged);
    assert_eq!(options.start_interval, Duration::from_secs(3));
    assert_eq!(options.serving.unwrap().address, "[::1]:443".parse().unwrap());
    assert_eq!(options.logging.format, LogFormat::Json);
    assert_eq!(options.logging.verbosity, 4);
}

#[rstest]
#[case(&["--v=2"], 2)]
#[case(&["--v", "2"], 2)]
#[case(&["-v=2"], 2)]
#[case(&["-v", "2"], 2)]
#[case(&["-v2"], 2)]
#[case::the_last_one_wins(&["-v=5", "--v=2"], 2)]
fn verbosity_has_many_spellings(#[case] args: &[&str], #[case] want: u32) {
    assert_eq!(options(args).logging.verbosity, want);
}

#[rstest]
#[case(&["--leader-elect"], true)]
#[case(&["--leader-elect=true"], true)]
#[case(&["--leader-elect=T"], true)]
#[case(&["--leader-elect=1"], true)]
#[case(&["--leader-elect=false"], false)]
#[case(&["--leader-elect=f"], false)]
#[case(&["--leader-elect=0"], false)]
#[case(&["--leader_elect=FALSE"], false)]
#[case::the_last_one_wins(&["--leader-elect=false", "--leader_elect"], true)]
#[case::the_last_one_wins(&["--leader-elect", "--leader-elect=false"], false)]
fn booleans_are_read_as_go_reads_them(#[case] args: &[&str], #[case] want: bool) {
    assert_eq!(options(args).leader_election.is_some(), want);
}

#[test]
fn routes_can_be_switched_off() {
    assert_eq!(options(&["--configure-cloud-routes=false"]).route_controller, None);
}

fn ipam(args: &[&str]) -> Option<NodeIpam> {
    options(&[&["--allocate-node-cidrs"], args].concat()).node_ipam
}

#[rstest]
#[case::the_usual(&["--cluster-cidr=10.244.7.0/16"], &[("10.244.0.0/16", 24)])]
#[case::of_ipv6(&["--cluster-cidr=fd00::/48"], &[("fd00::/48", 64)])]
#[case::both(&["--cluster-cidr=fd00::/32, 10.0.0.0/8"], &[("fd00::/32", 64), ("10.0.0.0/8", 24)])]
#[case::one_size(&["--cluster-cidr=10.0.0.0/8", "--node-cidr-mask-size=22"], &[("10.0.0.0/8", 22)])]
#[case::of_its_family(
    &["--cluster-cidr=10.0.0.0/8", "--node-cidr-mask-size-ipv4=22"], &[("10.0.0.0/8", 22)]
)]
#[case::of_each(
    &["--cluster-cidr=10.0.0.0/8,fd00::/40", "--node-cidr-mask-size-ipv4=22", "--node-cidr-mask-size-ipv6=80"],
    &[("10.0.0.0/8", 22), ("fd00::/40", 80)]
)]
#[case::all_of_it(&["--cluster-cidr=10.1.2.0/24"], &[("10.1.2.0/24", 24)])]
fn pools_have_their_mask_sizes(#[case] args: &[&str], #[case] want: &[(&str, u8)]) {
    let want: Vec<_> = want.iter().map(|(range, size)| (range.parse().unwrap(), *size)).collect();
    match ipam(args).unwrap() {
        NodeIpam::Range { pools, kept_free } => {
            assert_eq!(pools, want);
            assert!(kept_free.is_empty());
        }
        NodeIpam::Cloud { .. } => panic!("of the cloud"),
    }
}

#[test]
fn ranges_of_services_are_kept_free() {
    let args = ["--cluster-cidr=10.0.0.0/8", "--service-cluster-ip-range=10.0.0.0/16,fd02::/112"];
    let want = vec!["10.0.0.0/16".parse().unwrap(), "fd02::/112".parse().unwrap()];
    let is_kept =
        matches!(ipam(&args), Some(NodeIpam::Range { kept_free, .. }) if kept_free == want);
    assert!(is_kept);
}

#[rstest]
#[case::none("x", &[], &["x"])]
#[case::one_of_two("10.96.0.0/12, fd00::", &["10.96.0.0/12"], &["fd00::"])]
#[case::two_of_one_family("10.96.0.0/12,10.0.0.0/24", &["10.96.0.0/12"], &["10.0.0.0/24"])]
fn ranges_of_services_that_cannot_be_used_are_warned_about(
    #[case] typed: &str,
    #[case] kept: &[&str],
    #[case] told: &[&str],
) {
    let flag = format!("--service-cluster-ip-range={typed}");
    let parsed = options(&["--allocate-node-cidrs", "--cluster-cidr=10.0.0.0/8", &flag]);
    let want: Vec<_> = kept.iter().map(|range| range.parse().unwrap()).collect();
    let is_kept =
        matches!(&parsed.node_ipam, Some(NodeIpam::Range { kept_free, .. }) if *kept_free == want);
    assert!(is_kept, "{:?}", parsed.node_ipam);
    assert_eq!(parsed.warnings.len(), told.len(), "{:?}", parsed.warnings);
    for (warning, entry) in parsed.warnings.iter().zip(told) {
        let begins = format!("--service-cluster-ip-range {entry:?}: has no effect");
        assert!(warning.starts_with(&begins), "{warning}");
    }
}

#[test]
fn where_nothing_is_allocated_it_is_no_matter_how() {
    let parsed =
        options(&["--cidr-allocator-type=IPAMFromCluster", "--service-cluster-ip-range=x"]);
    assert_eq!(parsed.node_ipam, None);
    assert!(parsed.warnings.is_empty());
}

#[test]
fn the_cloud_may_give_the_ranges() {
    let cloud = |pools: &[&str], kept_free: &[&str]| {
        let nets = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect();
        Some(NodeIpam::Cloud { pools: nets(pools), kept_free: nets(kept_free) })
    };
    assert_eq!(ipam(&["--cidr-allocator-type=CloudAllocator"]), cloud(&[], &[]));
    let given = ["--cidr-allocator-type=CloudAllocator", "--cluster-cidr=fd00::/48,10.0.0.0/8"];
    let services = ["--service-cluster-ip-range=10.0.0.0/16"];
    let want = cloud(&["fd00::/48", "10.0.0.0/8"], &["10.0.0.0/16"]);
    assert_eq!(ipam(&[&given[..], &services].concat()), want);
}

#[rstest]
#[case(&["--allocate-node-cidrs"], "needs --cluster-cidr")]
#[case(&["--cluster-cidr=10.0.0.0/8,10.1.0.0/16"], "--cluster-cidr \"10.0.0.0/8,10.1.0.0/16\": must be one range")]
#[case(&["--cluster-cidr=10.0.0.0/8,fd00::/48,fd01::/48"], "must be one range")]
#[case(&["--cluster-cidr=10.0.0.0"], "must be one range")]
#[case(
    &["--allocate-node-cidrs", "--cluster-cidr=10.0.0.0/8", "--cidr-allocator-type=IPAMFromCloud"],
    "IPAMFromCloud are not offered"
)]
#[case(&["--node-cidr-mask-size-ipv4=33"], "--node-cidr-mask-size-ipv4 \"33\": must be a prefix length")]
#[case(
    &["--allocate-node-cidrs", "--cluster-cidr=10.0.0.0/8", "--node-cidr-mask-size-ipv6=64"],
    "--node-cidr-mask-size-ipv6 64: --cluster-cidr has no IPv6 range"
)]
#[case(
    &["--allocate-node-cidrs", "--cluster-cidr=10.0.0.0/8,fd00::/48", "--node-cidr-mask-size=24"],
    "--node-cidr-mask-size 24: says nothing in a cluster of two families"
)]
#[case(
    &["--allocate-node-cidrs", "--cluster-cidr=10.0.0.0/8", "--node-cidr-mask-size=24", "--node-cidr-mask-size-ipv4=25"],
    "--node-cidr-mask-size-ipv4 25: cannot stand beside --node-cidr-mask-size"
)]
#[case(
    &["--allocate-node-cidrs", "--cluster-cidr=10.1.2.0/25"],
    "--node-cidr-mask-size-ipv4 24: must be from 25 to 32 for --cluster-cidr 10.1.2.0/25"
)]
#[case(
    &["--allocate-node-cidrs", "--cluster-cidr=10.0.0.0/8", "--node-cidr-mask-size=64"],
    "--node-cidr-mask-size 64: must be from 8 to 32"
)]
fn ranges_that_do_not_fit_are_refused(#[case] args: &[&str], #[case] want: &str) {
    let text = refusal(args);
    assert!(text.contains(want), "{text}");
}

#[test]
fn the_deletion_budget_can_be_changed_and_switched_off() {
    let changed = options(&[
        "--node-deletion-min-age=0s",
        "--node-deletion-budget-minimum=0",
        "--node-deletion-budget-percent=25",
        "--node-deletion-budget-window=1h",
    ]);
    let limit = Limit { minimum: 0, percent: 25, window: Duration::from_hours(1) };
    assert_eq!(changed.node_lifecycle.deletion_budget, Some(limit));
    assert_eq!(changed.node_lifecycle.deletion_min_age, Duration::ZERO);
    let off = options(&["--node-deletion-budget=false"]);
    assert_eq!(off.node_lifecycle.deletion_budget, None);
}

#[rstest]
#[case::none(&[], &[])]
#[case::empty(&["--load-balancer-class="], &[])]
#[case::commas(&["--load-balancer-class=b,example.com/A_1"], &["b", "example.com/A_1"])]
#[case::several_times(
    &["--load-balancer-class=b", "--load-balancer-class", "a,b", "--load_balancer_class=c"],
    &["a", "b", "c"]
)]
fn classes_may_be_given_together_or_one_by_one(#[case] args: &[&str], #[case] want: &[&str]) {
    let classes = options(args).service_controller.classes;
    assert_eq!(classes.iter().map(String::as_str).collect::<Vec<_>>(), want);
}

#[rstest]
#[case::empty_one("a,,b", "")]
#[case::blank("a, b", " b")]
#[case::edge("-a", "-a")]
#[case::two_domains("example.com/a/b", "example.com/a/b")]
#[case::no_name("example.com/", "example.com/")]
#[case::no_domain("/a", "/a")]
#[case::capital_domain("Example.com/a", "Example.com/a")]
#[case::empty_part("example..com/a", "example..com/a")]
fn a_class_is_what_the_api_accepts(#[case] value: &str, #[case] wrong: &str) {
    assert_eq!(
        refusal(&["--load-balancer-class", value]),
        format!(
            "error: --load-balancer-class {wrong:?}: must be names such as internal or \
             example.com/internal, separated by commas"
        )
    );
    let long = "a".repeat(64);
    assert!(parsed(&["--load-balancer-class", &long]).is_err());
    assert!(parsed(&["--load-balancer-class", &long[1..]]).is_ok());
}

#[test]
fn underscores_are_dashes_in_names_but_not_in_values() {
    let options = options(&["--cluster_name=a_b", "--leader_elect-resource_name", "a-b"]);
    assert_eq!(options.cluster.name, "a_b");
    assert_eq!(options.leader_election.unwrap().name, "a-b");
}

#[test]
fn empty_values_are_as_good_as_no_flag() {
    let options = options(&["--kubeconfig=", "--master=", "--cloud-config", ""]);
    assert_eq!(options.cluster.kubeconfig, None);
    assert_eq!(options.cluster.master, None);
    assert_eq!(options.cloud.config, None);
}

#[test]
fn serving_is_upstreams_unless_it_is_said_otherwise() {
    let serving = options(&[]).serving.unwrap();
    assert_eq!(serving.certificate, Certificate::SelfSigned(None));
    assert!(serving.named.is_empty() && !serving.shares_port && !serving.profiling);
    assert_eq!(serving.tls, Tls::default());
    assert_eq!(serving.http2_streams, Some(100));
    assert_eq!(serving.authentication.lookup, Lookup::Required);
    assert_eq!(serving.authentication.token_ttl, Duration::from_secs(10));
    assert_eq!(serving.authentication.front_proxy, None);
    let open = ["/healthz", "/readyz", "/livez"].map(|path| Open::Path(path.to_owned()));
    assert_eq!(serving.authorization.open, open);
    assert!(serving.warnings.is_empty());
}

#[test]
fn flags_of_serving_are_heard() {
    let parsed = options(&[
        "--tls-cert-file=/tls.crt",
        "--tls-private-key-file=/tls.key",
        "--tls-sni-cert-key=/a.crt,/a.key",
        "--tls-sni-cert-key=/b.crt, /b.key: B.example.com,*.example.com",
        "--tls-min-version=VersionTLS11",
        "--tls-cipher-suites=TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,TLS_RSA_WITH_RC4_128_SHA",
        "--tls-cipher-suites=TLS_AES_256_GCM_SHA384",
        "--tls-curve-preferences=25,29",
        "--disable-http2-serving",
        "--permit-port-sharing",
        "--permit-address-sharing=true",
        "--profiling",
        "--contention-profiling",
        "--client-ca-file=/ca.crt",
        "--requestheader-client-ca-file=/proxy.crt",
        "--requestheader-allowed-names=front,back",
        "--requestheader-username-headers=X-User",
        "--authentication-skip-lookup",
        "--authorization-always-allow-paths=/healthz/*,livez",
        "--authorization-webhook-cache-unauthorized-ttl=0",
    ]);
    assert_eq!(
        parsed.warnings,
        [
            "--contention-profiling has no effect: there are no profiles",
            "--permit-address-sharing has no effect: SO_REUSEADDR is always set, as Go sets it",
        ]
    );
    let serving = parsed.serving.unwrap();
    let pair = |name: &str| Pair {
        certificate: format!("/{name}.crt").into(),
        key: format!("/{name}.key").into(),
    };
    assert_eq!(serving.certificate, Certificate::Given(pair("tls")));
    let names = vec!["b.example.com".to_owned(), "*.example.com".to_owned()];
    let want = [Named { pair: pair("a"), names: Vec::new() }, Named { pair: pair("b"), names }];
    assert_eq!(serving.named, want);
    assert_eq!(serving.tls.oldest, Version::Tls12);
    assert_eq!(serving.tls.ciphers.unwrap().len(), 2);
    assert_eq!(serving.tls.groups.unwrap().len(), 1);
    assert_eq!(
        serving.warnings,
        [
            "--tls-min-version VersionTLS11: the oldest version spoken is TLS 1.2",
            "--tls-cipher-suites: not offered, and left out: TLS_RSA_WITH_RC4_128_SHA",
            "--tls-curve-preferences: not offered, and left out: 25",
        ]
    );
    assert_eq!(serving.http2_streams, None);
    assert!(serving.shares_port && serving.profiling);
    let authentication = serving.authentication;
    assert_eq!(authentication.lookup, Lookup::Skipped);
    assert_eq!(authentication.client_ca, Some("/ca.crt".into()));
    let proxy = authentication.front_proxy.unwrap();
    assert_eq!(proxy.headers.allowed_names, ["front", "back"]);
    assert_eq!(proxy.headers.user, ["x-user"]);
    assert_eq!(proxy.headers.groups, ["x-remote-group"]);
    let open = [Open::Prefix("/healthz/".to_owned()), Open::Path("/livez".to_owned())];
    assert_eq!(serving.authorization.open, open);
    assert_eq!(serving.authorization.denied_ttl, Duration::ZERO);
}

/// `--requestheader-client-ca-file` brings them all.
#[test]
fn settings_of_front_proxies_without_their_authorities_are_warned_about() {
    let flags = ["--requestheader-username-headers=X-User", "--requestheader-allowed-names=a"];
    let warnings = options(&flags).warnings;
    let names: Vec<_> = warnings.iter().filter_map(|warning| warning.split(' ').next()).collect();
    assert_eq!(names, ["--requestheader-allowed-names", "--requestheader-username-headers"]);
    assert!(
        warnings.iter().all(|warning| warning.contains("without --requestheader-client-ca-file"))
    );
    let with = flags.into_iter().chain(["--requestheader-client-ca-file=/ca.crt"]);
    assert!(options(&with.collect::<Vec<_>>()).warnings.is_empty());
}

#[test]
fn a_suite_that_nobody_knows_is_refused() {
    let err = parsed(&["--tls-cipher-suites=TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,NULL"]);
    let text = err.expect_err("accepted").text().to_owned();
    let begins = "error: --tls-cipher-suites \"NULL\": must be one of Go's names: TLS_AES_128";
    assert!(text.starts_with(begins), "{text}");
}

#[test]
fn every_flag_is_given_with_its_value() {
    let given =
        options(&["--cluster_name=blue", "--load-balancer-class=a", "--load-balancer-class=b"])
            .given;
    assert_eq!(given.value("cluster-name"), "blue");
    assert_eq!(given.value("load-balancer-class"), "a,b");
    assert_eq!(given.value("secure-port"), "10258");
    assert_eq!(given.value("profiling"), "false");
    assert!(given.iter().all(|(name, _)| !name.starts_with('-')) && given.iter().count() > 50);
}

#[test]
fn port_zero_is_no_https_whatever_the_address() {
    assert_eq!(options(&["--secure-port=0", "--bind-address=0.0.0.0"]).serving, None);
}

#[test]
fn without_election_its_flags_may_contradict_each_other() {
    let args = ["--leader-elect=false", "--leader-elect-lease-duration=1s"];
    assert_eq!(options(&args).leader_election, None);
}

#[rstest]
#[case("--leader-elect=yes", "--leader-elect \"yes\": must be true or false")]
#[case("--leader-elect=", "--leader-elect \"\": must be true or false")]
#[case(
    "--leader-elect-retry-period=5",
    "--leader-elect-retry-period \"5\": must be a duration longer than zero, such as 300ms, 15s, \
     1.5h or 1h15m30s"
)]
#[case(
    "--node-status-update-frequency=-1s",
    "--node-status-update-frequency \"-1s\": must be a duration longer than zero, such as 300ms, \
     15s, 1.5h or 1h15m30s"
)]
#[case(
    "--node-status-update-frequency=0",
    "--node-status-update-frequency \"0\": must be a duration longer than zero, such as 300ms, \
     15s, 1.5h or 1h15m30s"
)]
#[case(
    "--leader-elect-lease-duration=15.5s",
    "--leader-elect-lease-duration \"15.5s\": must be a duration of whole seconds, one at least, \
     such as 15s or 1m30s"
)]
#[case(
    "--leader-elect-lease-duration=2147483648s",
    "--leader-elect-lease-duration \"2147483648s\": must be a duration of whole seconds, one at \
     least, such as 15s or 1m30s"
)]
#[case(
    "--leader-elect-lease-duration=10s",
    "--leader-elect-lease-duration 10s: must be longer than --leader-elect-renew-deadline, which \
     is 10s"
)]
#[case(
    "--leader-elect-renew-deadline=2400ms",
    "--leader-elect-renew-deadline 2.4s: must be longer than 1.2 times \
     --leader-elect-retry-period, which is 2s"
)]
#[case(
    "--leader-elect-resource-lock=endpoints",
    "--leader-elect-resource-lock \"endpoints\": must be \"leases\""
)]
#[case(
    "--leader-elect-resource-name=../x",
    "--leader-elect-resource-name \"../x\": must be a Kubernetes object name: lower-case letters, \
     digits, '-' and '.'"
)]
#[case(
    "--leader-elect-resource-namespace=",
    "--leader-elect-resource-namespace \"\": must be a Kubernetes object name: lower-case \
     letters, digits, '-' and '.'"
)]
#[case(
    "--bind-address=localhost",
    "--bind-address \"localhost\": must be an IP address such as 0.0.0.0, 127.0.0.1 or \
     ::1"
)]
#[case(
    "--tls-cert-file=/tls.crt",
    "--tls-cert-file \"/tls.crt\": must be given together with --tls-private-key-file"
)]
#[case(
    "--tls-private-key-file=/tls.key",
    "--tls-private-key-file \"/tls.key\": must be given together with --tls-cert-file"
)]
#[case(
    "--tls-sni-cert-key=/a.crt",
    "--tls-sni-cert-key \"/a.crt\": must be the files of a certificate and of its key, and perhaps \
     names, as in site.crt,site.key or site.crt,site.key:example.com,*.example.com"
)]
#[case("--tls-min-version=1.3", "--tls-min-version \"1.3\": must be VersionTLS12 or VersionTLS13")]
#[case(
    "--tls-cipher-suites=TLS_RSA_WITH_RC4_128_SHA,TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA",
    "--tls-cipher-suites \"TLS_RSA_WITH_RC4_128_SHA,TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA\": must be a \
     list with at least one suite that is still offered, such as \
     TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256 or TLS_AES_128_GCM_SHA256"
)]
#[case(
    "--tls-curve-preferences=29,x",
    "--tls-curve-preferences \"x\": must be one of Go's numbers: 23, 24, 25, 29, 4587, 4588 or 4589"
)]
#[case(
    "--tls-curve-preferences=25",
    "--tls-curve-preferences \"25\": must be a list with at least one key exchange that is offered: \
     23, 24, 29, 4587 or 4588"
)]
#[case(
    "--http2-max-streams-per-connection=-1",
    "--http2-max-streams-per-connection \"-1\": must be a number of requests, or 0 for the usual"
)]
#[case(
    "--authorization-always-allow-paths=/a*b",
    "--authorization-always-allow-paths \"/a*b\": must be paths such as /healthz, or beginnings of \
     paths such as /healthz/*"
)]
#[case(
    "--requestheader-username-headers=x user",
    "--requestheader-username-headers \"x user\": must be names of HTTP headers, separated by commas"
)]
#[case(
    "--authentication-token-webhook-cache-ttl=soon",
    "--authentication-token-webhook-cache-ttl \"soon\": must be a duration, such as 10s or 1m30s, or \
     0"
)]
#[case(
    "--secure-port=65536",
    "--secure-port \"65536\": must be a port from 1 to 65535, or 0 for no HTTPS"
)]
#[case(
    "--concurrent-node-syncs=0",
    "--concurrent-node-syncs \"0\": must be a number from 1 to 65535"
)]
#[case(
    "--concurrent-node-lifecycle-syncs=0",
    "--concurrent-node-lifecycle-syncs \"0\": must be a number from 1 to 65535"
)]
#[case(
    "--node-monitor-period=0s",
    "--node-monitor-period \"0s\": must be a duration longer than zero, such as 300ms, 15s, 1.5h or \
     1h15m30s"
)]
#[case(
    "--node-deletion-min-age=five",
    "--node-deletion-min-age \"five\": must be a duration such as 0s, 90s or 5m"
)]
#[case(
    "--node-deletion-min-age=-5m",
    "--node-deletion-min-age \"-5m\": must be a duration such as 0s, 90s or 5m"
)]
#[case("--node-deletion-budget=10", "--node-deletion-budget \"10\": must be true or false")]
#[case(
    "--node-deletion-budget-minimum=-1",
    "--node-deletion-budget-minimum \"-1\": must be a number of nodes, 0 or more"
)]
#[case(
    "--node-deletion-budget-percent=101",
    "--node-deletion-budget-percent \"101\": must be a whole number from 0 to 100"
)]
#[case(
    "--node-deletion-budget-percent=10%",
    "--node-deletion-budget-percent \"10%\": must be a whole number from 0 to 100"
)]
#[case(
    "--node-deletion-budget-window=0",
    "--node-deletion-budget-window \"0\": must be a duration longer than zero, such as 300ms, 15s, \
     1.5h or 1h15m30s"
)]
#[case(
    "--concurrent-service-syncs=0",
    "--concurrent-service-syncs \"0\": must be a number from 1 to 65535"
)]
#[case("--serve-classless-services=no", "--serve-classless-services \"no\": must be true or false")]
#[case(
    "--load-balancer-drift-interval=9.9s",
    "--load-balancer-drift-interval \"9.9s\": must be a duration of 10s or longer, such as 10m or \
     1h30m"
)]
#[case("-v=-1", "-v \"-1\": must be a number such as 0, 2 or 4")]
#[case("--v=info", "-v \"info\": must be a number such as 0, 2 or 4")]
#[case("--logging-format=yaml", "--logging-format \"yaml\": must be \"text\" or \"json\"")]
#[case("--cloud-provider=", "--cloud-provider cannot be empty")]
#[case("--cloud-provider=azure", "--cloud-provider \"azure\": unknown; this program has: sim, aws")]
#[case(
    "--kube-api-qps=inf",
    "--kube-api-qps \"inf\": must be a number of requests a second such as 20 or 0.5, or 0 for no bound"
)]
#[case(
    "--kube-api-burst=-1",
    "--kube-api-burst \"-1\": must be a number from 1 to 65535, or 0 for 10"
)]
#[case(
    "--controller-start-interval=-1s",
    "--controller-start-interval \"-1s\": must be a duration such as 0s, 500ms or 10s"
)]
#[case(
    "--use-service-account-credentials=2",
    "--use-service-account-credentials \"2\": must be true or false"
)]
#[case("--feature-gates=Flux=true", "--feature-gates \"Flux=true\": unknown feature gate")]
#[case("--version=2", "--version \"2\": must be true, false or raw")]
fn a_bad_value_is_refused_with_flag_value_and_what_would_do(#[case] arg: &str, #[case] want: &str) {
    assert_eq!(refusal(&[arg]), format!("error: {want}"));
}

#[test]
fn everything_wrong_is_said_at_once() {
    let exit = parse(
        &program(),
        [
            "ccm",
            "--leader-elect=maybe",
            "--leader-elect-lease-duration=1s",
            "--leader-elect-resource-lock=endpoints",
            "--secure-port=http",
            "-v",
            "-1",
            "--concurrent-node-syncs=many",
            "node",
        ],
    )
    .unwrap_err();
    assert_eq!(
        exit.text(),
        "error: unknown positional argument \"node\": there are only flags, and a boolean flag \
         takes its value after an equals sign (--flag=false)\n\
         error: --cloud-provider cannot be empty\n\
         error: --leader-elect \"maybe\": must be true or false\n\
         error: --secure-port \"http\": must be a port from 1 to 65535, or 0 for no HTTPS\n\
         error: --concurrent-node-syncs \"many\": must be a number from 1 to 65535\n\
         error: -v \"-1\": must be a number such as 0, 2 or 4"
    );
}

#[rstest]
#[case::nearest_name(&["--leader-elct"], "error: unknown flag --leader-elct; did you mean --leader-elect?")]
#[case::nearest_name_with_value(
    &["--cluster_nam=x"],
    "error: unknown flag --cluster-nam; did you mean --cluster-name?",
)]
#[case::nothing_near(&["--zzz=1"], "error: unknown flag --zzz")]
#[case::long_flag_with_one_dash(
    &["-leader-elect=false"],
    "error: unknown flag -l in -leader-elect=false; a flag of more than one letter takes two \
     dashes: --leader-elect=false",
)]
#[case::no_value(
    &["--cluster-name"],
    "error: a value is required for '--cluster-name <NAME>' but none was supplied",
)]
fn what_is_no_flag_is_refused(#[case] args: &[&str], #[case] want: &str) {
    let hint = "Run 'cloud-controller-manager --help' for all flags.";
    assert_eq!(refusal(args), format!("{want}\n{hint}"));
}

/// A command line of another program is put right in one go.
#[test]
fn flags_that_nobody_knows_are_told_together_with_bad_values() {
    let said = refusal(&[
        "--tags=a=b",
        "--zzz",
        "value of it",
        "--cluster-name",
        "--zzz",
        "--leader-elct=false",
        "-v=x",
        "--help",
    ]);
    let unknown = "error: unknown flag --tags\nerror: unknown flag --zzz\n\
                   error: unknown flag --leader-elct; did you mean --leader-elect?\n";
    let hint = "Run 'cloud-controller-manager --help' for all flags.";
    assert_eq!(said, format!("{unknown}{hint}"), "no help where something is wrong");
    let said = refusal(&["--tags=a=b", "--zzz", "--secure-port=http", "-v=x"]);
    assert_eq!(
        said,
        format!(
            "error: unknown flag --tags\nerror: unknown flag --zzz\n\
             error: --secure-port \"http\": must be a port from 1 to 65535, or 0 for no HTTPS\n\
             error: -v \"x\": must be a number such as 0, 2 or 4\n{hint}"
        )
    );
}

#[rstest]
#[case::bare_boolean(&["--leader-elect", "false"], "false")]
#[case::after_two_dashes(&["--", "--v=2"], "--v=2")]
fn positional_arguments_are_refused(#[case] args: &[&str], #[case] argument: &str) {
    let want = format!(
        "error: unknown positional argument {argument:?}: there are only flags, and a boolean \
         flag takes its value after an equals sign (--flag=false)"
    );
    assert_eq!(refusal(args), want);
}

#[test]
fn empty_positional_arguments_are_let_be() {
    assert_eq!(options(&["", "--v=2", ""]).logging.verbosity, 2);
}

#[test]
fn the_argument_after_a_flag_is_its_value_whatever_it_looks_like() {
    assert_eq!(options(&["--cluster-name", "--v"]).cluster.name, "--v");
    assert_eq!(options(&["--cluster-name", "-x"]).cluster.name, "-x");
}

#[test]
fn arguments_that_are_no_text_are_refused_but_in_paths() {
    let bytes = |text: &[u8]| OsString::from_vec(text.to_vec());
    for arg in [&b"--cluster-name=\xff"[..], b"--\xff", b"\xff", b"-\xff"] {
        let exit = parse(&program(), [bytes(b"ccm"), bytes(arg)]).unwrap_err();
        assert_eq!((exit.stream(), exit.code()), (Stream::Stderr, 1));
    }
    let args = [bytes(b"ccm"), "--cloud-provider=sim".into(), bytes(b"--kubeconfig=/\xff")];
    let Ok(Command::Run(options)) = parse(&program(), args) else { panic!("refused") };
    let kubeconfig = options.cluster.kubeconfig;
    assert_eq!(kubeconfig, Some(PathBuf::from(bytes(b"/\xff"))));
}

#[test]
fn no_arguments_at_all_are_no_panic() {
    let exit = parse(&program(), Vec::<OsString>::new()).unwrap_err();
    assert_eq!(exit.text(), "error: --cloud-provider cannot be empty");
}

#[rstest]
#[case(&["--version"], "cloud-controller-manager v0.1.0 (commit 0a1b2c3)")]
#[case(&["--version=true", "--secure-port=x"], "cloud-controller-manager v0.1.0 (commit 0a1b2c3)")]
#[case(
    &["--version=raw"],
    &format!(
        "cloud-controller-manager version=0.1.0 commit=0a1b2c3 os={} arch={}",
        std::env::consts::OS,
        std::env::consts::ARCH
    ),
)]
fn the_version_goes_to_stdout(#[case] args: &[&str], #[case] want: &str) {
    let exit = parsed(args).unwrap_err();
    assert_eq!((exit.text(), exit.stream(), exit.code()), (want, Stream::Stdout, 0));
    assert!(parsed(&["--version=false"]).is_ok());
    // What a Go program would say that it is.
    let warnings = options(&["--version=v1.33.1"]).warnings;
    assert_eq!(warnings, ["--version=v1.33.1: has no effect: the program says its own version"]);
}

#[test]
fn help_has_upstreams_sections() {
    for flag in ["--help", "-h"] {
        let exit = parsed(&[flag]).unwrap_err();
        assert_eq!((exit.stream(), exit.code()), (Stream::Stdout, 0));
        let text = exit.text();
        let sections: Vec<&str> =
            text.lines().filter(|line| !line.starts_with(' ') && line.ends_with(':')).collect();
        assert_eq!(
            sections,
            [
                "Generic flags:",
                "Cloud flags:",
                "Leader election flags:",
                "Secure serving flags:",
                "Authentication flags:",
                "Authorization flags:",
                "Debugging flags:",
                "Node controller flags:",
                "Node lifecycle controller flags:",
                "Service controller flags:",
                "Route controller flags:",
                "Node IPAM controller flags:",
                "Volume controller flags:",
                "Logging flags:",
                "Global flags:",
                "Flags without effect:",
            ],
            "{text}"
        );
        for said in ["Usage: cloud-controller-manager [flags]", "(upstream: 1)", "one of: sim, aws"]
        {
            assert!(text.contains(said), "{said} not in\n{text}");
        }
    }
}

#[test]
fn a_plan_takes_the_same_flags_and_its_own() {
    let (options, plan) =
        planned(&["--cluster-name=x", "-o", "json", "--color=always"]).expect("accepted");
    assert_eq!(options.cluster.name, "x");
    assert_eq!(plan, PlanOptions { output: Output::Json, colors: true });
    let (_, plan) = planned(&["--color=never"]).expect("accepted");
    assert_eq!(plan, PlanOptions::default());
}

#[test]
fn a_plan_refuses_what_it_does_not_know_all_at_once() {
    let exit =
        planned(&["--output=yaml", "--color=maybe", "--secure-port=x"]).expect_err("accepted");
    let lines: Vec<_> = exit.text().lines().collect();
    assert_eq!(lines.len(), 3, "{lines:?}");
    assert!(exit.text().contains("--output \"yaml\": must be text or json"));
    let help = planned(&["--help"]).expect_err("help ends the process");
    assert_eq!((help.stream(), help.code()), (Stream::Stdout, 0));
    assert!(help.text().contains("Plan flags") && help.text().contains("changes nothing"));
    assert!(!parsed(&["--help"]).expect_err("help").text().contains("--output"));
}

#[test]
fn controllers_are_chosen_by_name_and_alias() {
    let all = options(&[]).controllers;
    assert!(CONTROLLERS.iter().all(|known| all.has(known.name)));
    let some = options(&["--controllers=service,cloud-node", "--controllers=-route,*"]).controllers;
    let off: Vec<_> = CONTROLLERS.iter().filter(|known| !some.has(known.name)).collect();
    assert_eq!(off.len(), 1);
    assert_eq!(off[0].name, "node-route-controller");
    let none = options(&["--controllers="]).controllers;
    assert!(!CONTROLLERS.iter().any(|known| none.has(known.name)));
    let said = refusal(&["--controllers=*,servce"]);
    assert!(
        said.starts_with("error: --controllers: \"servce\" is not in the list of known"),
        "{said}"
    );
}

#[test]
fn requests_are_paced_where_that_is_wanted() {
    let cluster = options(&["--kube-api-burst=5"]).cluster;
    assert_eq!((cluster.pace, cluster.own_accounts), (None, false));
    let cluster = options(&["--kube-api-qps=2.5", "--use-service-account-credentials"]).cluster;
    let pace = cluster.pace.expect("a pace");
    assert!((pace.qps - 2.5).abs() < f32::EPSILON);
    assert_eq!((pace.burst.get(), cluster.own_accounts), (30, true));
    assert_eq!(options(&["--kube-api-qps=-1"]).cluster.pace, None, "no bound, as client-go");
    let cluster = options(&["--kube-api-qps=1", "--kube-api-burst=0"]).cluster;
    assert_eq!(cluster.pace.expect("a pace").burst.get(), 10, "as client-go");
}

#[test]
fn flags_without_effect_are_accepted_with_a_warning_each() {
    let options = options(&[
        "--min-resync-period=12h",
        "--min-resync-period=6h",
        "--node_sync_period",
        "10s",
        "--logtostderr",
        "--alsologtostderr=false",
        "--webhooks=*",
        "--feature-gates=WatchList=true,ComponentFlagz=false",
        "--feature-gates=CloudControllerManagerWebhook=false",
    ]);
    let flags: Vec<&str> =
        options.warnings.iter().filter_map(|warning| warning.split([' ', ':']).next()).collect();
    assert_eq!(
        flags,
        [
            "--alsologtostderr",
            "--logtostderr",
            "--min-resync-period",
            "--node-sync-period",
            "--webhooks",
            "--feature-gates",
            "--feature-gates",
        ]
    );
    assert!(options.warnings.iter().all(|warning| warning.contains("has no effect: ")));
    assert!(self::options(&[]).warnings.is_empty());
}

#[rstest]
#[case("bash", "complete -F _cloud__controller__manager")]
#[case("zsh", "#compdef cloud-controller-manager")]
#[case("fish", "complete -c cloud-controller-manager")]
fn shells_are_told_the_flags(#[case] shell: &str, #[case] mark: &str) {
    let exit = parse(&program(), ["ccm", "completion", shell]).unwrap_err();
    assert_eq!((exit.stream(), exit.code()), (Stream::Stdout, 0));
    for what in [mark, "leader-elect-lease-duration", "plan", "manifest", "workload"] {
        assert!(exit.text().contains(what), "{what} is missing");
    }
}

#[rstest]
#[case(&["ccm", "completion"])]
#[case(&["ccm", "completion", "tcsh"])]
#[case(&["ccm", "completion", "bash", "--v=2"])]
fn other_shells_are_not(#[case] args: &[&str]) {
    let exit = parse(&program(), args).unwrap_err();
    assert_eq!((exit.stream(), exit.code()), (Stream::Stderr, 1));
    assert!(
        exit.text().starts_with("error: completion takes the name of a shell: bash"),
        "{}",
        exit.text()
    );
}

/// Something of the shape of a flag, and anything at all.
fn argument() -> impl Strategy<Value = String> {
    let names = prop::sample::select(flag_names());
    let values = prop_oneof![
        ".*",
        Just(String::new()),
        "[-+]?[0-9]{0,22}(\\.[0-9]{0,3})?(ns|us|ms|s|m|h)?",
        "([0-9]{1,3}\\.){3}[0-9]{1,3}(/[0-9]{1,3})?(,[0-9a-f:]{0,20}(/[0-9]{1,3})?)?",
        "-?[*a-z-]{0,10}(,-?[*a-z-]{0,10}){0,3}",
        "[A-Za-z]{0,10}=(true|false|x)?(,[A-Za-z]{0,10}=true)?",
    ];
    prop_oneof![
        4 => (names.clone(), values).prop_map(|(name, value)| format!("--{name}={value}")),
        1 => names.prop_map(|name| format!("--{name}")),
        1 => ".*",
    ]
}

fn flag_names() -> Vec<String> {
    let page = reference("ccm");
    let names = page.lines().filter_map(|line| line.split("`--").nth(1)?.split('`').next());
    let names: Vec<String> = names.map(str::to_owned).filter(|name| name != "help").collect();
    assert!(names.len() > 50, "{names:?}");
    names
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    /// Whatever is typed is read or refused with a message; a refusal of values names each flag.
    #[test]
    fn no_command_line_is_a_panic(args in prop::collection::vec(argument(), 0..6)) {
        let line = ["ccm".to_owned(), "--cloud-provider=sim".to_owned()].into_iter().chain(args);
        if let Err(exit) = parse(&program(), line) {
            prop_assert!(!exit.text().is_empty());
            prop_assert!(exit.code() == 0 || exit.text().starts_with("error: "), "{}", exit.text());
        }
    }
}

#[test]
fn a_manifest_keeps_the_flags_of_the_program() {
    let line = ["ccm", "manifest", "--cloud-provider=sim", "--image", "example.com/ccm:1", "-v=2"];
    let line =
        line.into_iter().chain(["--use-service-account-credentials", "--controllers=*,-route"]);
    let Ok(Command::Manifest(options, manifest)) = parse(&program(), line) else {
        panic!("not taken for a manifest")
    };
    assert_eq!(options.logging.verbosity, 2);
    assert_eq!(
        (manifest.image.as_str(), manifest.workload),
        ("example.com/ccm:1", Workload::DaemonSet)
    );
    assert_eq!(
        manifest.args,
        [
            "--cloud-provider=sim",
            "--v=2",
            "--use-service-account-credentials=true",
            "--controllers=*,-route",
        ]
    );
    let line = ["ccm", "manifest", "--cloud-provider=sim", "--workload=job", "--v=x", "--image= "];
    assert_eq!(
        parse(&program(), line).unwrap_err().text(),
        "error: -v \"x\": must be a number such as 0, 2 or 4\n\
         error: --workload \"job\": must be daemonset or deployment\n\
         error: --image \" \": must be an image's name, such as registry.example.com/ccm:v1"
    );
}

/// The addon of kops, from its template, with everything that its specification can add.
const KOPS: [&str; 15] = [
    "--allocate-node-cidrs=true",
    "--allow-untagged-cloud=true",
    "--cidr-allocator-type=RangeAllocator",
    "--cloud-config=/etc/kubernetes/cloud.config",
    "--cloud-provider=aws",
    "--cluster-cidr=100.96.0.0/11",
    "--cluster-name=blue.example.com",
    "--concurrent-node-syncs=10",
    "--configure-cloud-routes=false",
    "--enable-leader-migration=true",
    "--leader-elect=true",
    "--master=https://127.0.0.1",
    "--node-status-update-frequency=5m0s",
    "--use-service-account-credentials=true",
    "--v=2",
];

/// docs/src/how-to/kops.md says so.
#[test]
fn what_kops_gives_is_understood() {
    let parsed = options(&KOPS);
    assert_eq!(parsed.cloud.provider, "aws");
    assert_eq!(parsed.cloud.config.as_deref(), Some(Path::new("/etc/kubernetes/cloud.config")));
    assert_eq!(parsed.cluster.name, "blue.example.com");
    assert!(parsed.cluster.own_accounts && parsed.leader_election.is_some());
    assert_eq!(parsed.route_controller, None);
    // What the page warns of, and how it is prevented.
    assert!(parsed.node_ipam.is_some() && parsed.controllers.has(controller::NODE_IPAM));
    let without = KOPS.into_iter().chain(["--controllers=*,-node-ipam-controller"]);
    let parsed = options(&without.collect::<Vec<_>>());
    assert!(!parsed.controllers.has(controller::NODE_IPAM));
    assert!(
        parsed.controllers.has(controller::NODE) && parsed.controllers.has(controller::SERVICE)
    );
    let without = KOPS.into_iter().chain(["--controllers=*,-node-ipam-controller,-cloud-volume"]);
    assert!(!options(&without.collect::<Vec<_>>()).controllers.has(controller::VOLUME));
}
