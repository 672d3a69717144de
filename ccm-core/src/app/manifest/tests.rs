use std::sync::Arc;

use rstest::rstest;
use serde_json::{Value, json};

use super::manifest;
use crate::app::flags::{Command, Program, parse};
use crate::cloud::annotations::Annotations;
use crate::cloud::{
    BoxError, CloudProvider, ConfigError, Install, Needs, Policy, Registration, Sample, Setup,
};

fn build(_: &Setup) -> Result<Arc<dyn CloudProvider>, ConfigError> {
    unreachable!("a manifest needs no provider")
}

fn registration() -> Registration {
    Registration {
        name: "sim",
        needs: Needs::default(),
        service_annotations: Annotations::NONE,
        policy: Policy::default(),
        install: Install {
            config: Some(Sample { file: "sim.yaml", text: "a: 1\n\n# b\n" }),
            secret: Some(Sample { file: "token", text: "secret" }),
            args: &["--configure-cloud-routes=false"],
            ..Install::default()
        },
        build,
    }
}

fn text(flags: &str) -> String {
    printed(flags, &registration()).unwrap()
}

fn printed(flags: &str, registration: &Registration) -> Result<String, BoxError> {
    let program = Program { name: "ccm", version: "0", commit: None, providers: vec!["sim"] };
    let line = ["ccm", "manifest", "--cloud-provider=sim"].into_iter();
    match parse(&program, line.chain(flags.split_whitespace())) {
        Ok(Command::Manifest(options, wanted)) => manifest(registration, &options, &wanted),
        other => panic!("{flags}: {other:?}"),
    }
}

/// The objects, printed and read again.
struct Objects(Vec<Value>);

impl Objects {
    fn of(flags: &str) -> Self {
        Self(serde_saphyr::from_multiple(&text(flags)).unwrap())
    }

    fn named(&self, kind: &str, name: &str) -> Option<&Value> {
        self.0.iter().find(|object| object["kind"] == kind && object["metadata"]["name"] == name)
    }

    fn kinds(&self) -> Vec<&str> {
        self.0.iter().map(|object| object["kind"].as_str().unwrap()).collect()
    }

    fn workload(&self) -> &Value {
        self.0
            .iter()
            .find(|object| object["kind"] == "DaemonSet" || object["kind"] == "Deployment")
            .unwrap()
    }

    fn container(&self) -> &Value {
        &self.workload()["spec"]["template"]["spec"]["containers"][0]
    }

    /// `list nodes`, with the namespace in front where it counts in one alone.
    fn rights(&self, kind: &str, name: &str) -> Vec<String> {
        let mut rights = Vec::new();
        for object in &self.0 {
            if object["kind"] != kind || object["metadata"]["name"] != name {
                continue;
            }
            let place = object["metadata"]["namespace"].as_str().map(|it| format!("{it}: "));
            let words = |value: &Value| -> Vec<String> {
                value
                    .as_array()
                    .into_iter()
                    .flatten()
                    .map(|it| it.as_str().unwrap().to_owned())
                    .collect()
            };
            for rule in object["rules"].as_array().unwrap() {
                rights.push(format!(
                    "{}{} {}",
                    place.as_deref().unwrap_or_default(),
                    words(&rule["verbs"]).join(","),
                    [words(&rule["resources"]), words(&rule["resourceNames"])].concat().join(" ")
                ));
            }
        }
        rights
    }
}

const CLUSTER_ROLE: &str = "system:cloud-controller-manager";
const ACCOUNT: &str = "cloud-controller-manager";

#[test]
fn what_is_needed_first_comes_first() {
    assert_eq!(
        Objects::of("").kinds(),
        [
            "ServiceAccount",
            "ClusterRole",
            "ClusterRoleBinding",
            "Role",
            "RoleBinding",
            "ConfigMap",
            "Secret",
            "DaemonSet",
        ]
    );
}

#[rstest]
#[case::all("", &[
    "create,patch events",
    "list,watch,patch,delete nodes",
    "patch nodes/status",
    "list,watch,patch persistentvolumes",
    "list,watch services",
    "patch services/status",
    "create tokenreviews",
    "create subjectaccessreviews",
])]
#[case::one_controller("--controllers=cloud-node", &[
    "create,patch events",
    "list,watch,patch nodes",
    "patch nodes/status",
    "create tokenreviews",
    "create subjectaccessreviews",
])]
#[case::services_alone_and_no_endpoints("--controllers=service --secure-port=0", &[
    "create,patch events",
    "list,watch nodes",
    "list,watch services",
    "patch services/status",
])]
#[case::routes_that_are_not_made("--controllers=route --secure-port=0", &["create,patch events"])]
#[case::ranges_alone_make_no_routes("--controllers=route --cluster-cidr=10.0.0.0/8 --secure-port=0", &["create,patch events"])]
#[case::routes("--controllers=route --cluster-cidr=10.0.0.0/8 --configure-cloud-routes --secure-port=0", &[
    "create,patch events",
    "list,watch nodes",
    "patch nodes/status",
])]
#[case::clients_are_asked_about_by_others(
    "--controllers=cloud-node --authentication-kubeconfig=/a --authorization-kubeconfig=/b",
    &["create,patch events", "list,watch,patch nodes", "patch nodes/status"]
)]
#[case::own_accounts("--use-service-account-credentials --secure-port=0", &[
    "create,patch events",
    "list,watch nodes",
    "list,watch persistentvolumes",
    "list,watch services",
])]
fn rights_in_the_cluster_follow_from_the_flags(#[case] flags: &str, #[case] rights: &[&str]) {
    let mut found = Objects::of(flags).rights("ClusterRole", CLUSTER_ROLE);
    let mut wanted = rights.to_vec();
    found.sort_unstable();
    wanted.sort_unstable();
    assert_eq!(found, wanted);
}

#[rstest]
#[case::usual("", &[
    "kube-system: create leases",
    "kube-system: get,update,watch leases cloud-controller-manager",
    "kube-system: list,watch configmaps extension-apiserver-authentication",
])]
#[case::no_election("--leader-elect=false", &[
    "kube-system: list,watch configmaps extension-apiserver-authentication",
])]
#[case::neither("--leader-elect=false --secure-port=0", &[])]
#[case::no_lookup("--leader-elect=false --authentication-skip-lookup", &[])]
#[case::the_lookup_is_anothers("--leader-elect=false --authentication-kubeconfig=/a", &[])]
#[case::another_lease("--leader-elect-resource-name=other --secure-port=0", &[
    "kube-system: create leases",
    "kube-system: get,update,watch leases other",
])]
#[case::a_lease_elsewhere("--leader-elect-resource-namespace=cloud", &[
    "kube-system: list,watch configmaps extension-apiserver-authentication",
    "cloud: create leases",
    "cloud: get,update,watch leases cloud-controller-manager",
])]
#[case::a_migration_elsewhere(
    "--leader-elect-resource-namespace=cloud --enable-leader-migration --secure-port=0",
    &[
        "cloud: create leases",
        "cloud: get,update,watch leases cloud-controller-manager",
        "cloud: get,update,watch leases cloud-provider-extraction-migration",
    ]
)]
#[case::own_accounts("--use-service-account-credentials --controllers=service --secure-port=0 --leader-elect=false", &[
    "kube-system: create serviceaccounts",
    "kube-system: create serviceaccounts/token service-controller",
])]
fn rights_in_a_namespace_follow_from_the_flags(#[case] flags: &str, #[case] rights: &[&str]) {
    let objects = Objects::of(flags);
    assert_eq!(objects.rights("Role", ACCOUNT), rights);
    let places = |kind: &str| -> Vec<Value> {
        let of_kind = objects.0.iter().filter(|object| object["kind"] == kind);
        of_kind.map(|object| object["metadata"]["namespace"].clone()).collect()
    };
    assert_eq!(places("Role"), places("RoleBinding"));
}

#[test]
fn controllers_with_accounts_of_their_own_have_rights_of_their_own() {
    let objects = Objects::of("--use-service-account-credentials --controllers=service,cloud-node");
    for (account, rights) in [
        ("service-controller", &["patch services/status"][..]),
        ("node-controller", &["patch nodes", "patch nodes/status"][..]),
    ] {
        let role = format!("{CLUSTER_ROLE}:{account}");
        assert_eq!(objects.rights("ClusterRole", &role), rights);
        let binding = objects.named("ClusterRoleBinding", &role).unwrap();
        assert_eq!(binding["subjects"][0]["name"], account);
        let account = objects.named("ServiceAccount", account).unwrap();
        assert_eq!(account["automountServiceAccountToken"], false);
    }
    assert!(objects.named("ServiceAccount", "route-controller").is_none());
}

#[rstest]
#[case::usual("", json!([10258, "127.0.0.1", "127.0.0.1"]))]
#[case::another_port("--secure-port=4443", json!([4443, "127.0.0.1", "127.0.0.1"]))]
#[case::one_address("--bind-address=192.0.2.1", json!([10258, "192.0.2.1", "192.0.2.1"]))]
#[case::all_of_ipv6("--bind-address=::", json!([10258, "::1", "::1"]))]
#[case::none("--secure-port=0", json!([null, null, null]))]
#[case::readiness_is_not_for_everybody(
    "--authorization-always-allow-paths=/livez",
    json!([10258, "127.0.0.1", null])
)]
fn probes_ask_where_it_is_served(#[case] flags: &str, #[case] want: Value) {
    let objects = Objects::of(flags);
    let container = objects.container();
    let [live, ready] =
        ["livenessProbe", "readinessProbe"].map(|probe| &container[probe]["httpGet"]);
    let port = &container["ports"][0]["containerPort"];
    assert_eq!(json!([port, live["host"], ready["host"]]), want);
    for probe in [live, ready].into_iter().filter(|probe| !probe.is_null()) {
        assert_eq!(&probe["port"], port);
    }
    assert_eq!(&container["ports"][0]["hostPort"], port);
}

#[rstest]
#[case::usual("", &[
    "--cloud-provider=sim",
    "--cloud-config=/etc/cloud-controller-manager/config/sim.yaml",
    "--configure-cloud-routes=false",
])]
#[case::ranges("--allocate-node-cidrs --cluster-cidr=10.0.0.0/8 -v=2", &[
    "--cloud-provider=sim",
    "--cloud-config=/etc/cloud-controller-manager/config/sim.yaml",
    "--configure-cloud-routes=false",
    "--allocate-node-cidrs=true",
    "--cluster-cidr=10.0.0.0/8",
    "--v=2",
])]
#[case::routes("--cluster-cidr=10.0.0.0/8 --configure-cloud-routes", &[
    "--cloud-provider=sim",
    "--cloud-config=/etc/cloud-controller-manager/config/sim.yaml",
    "--cluster-cidr=10.0.0.0/8",
    "--configure-cloud-routes=true",
])]
fn typed_flags_are_the_pods(#[case] flags: &str, #[case] want: &[&str]) {
    let objects = Objects::of(flags);
    let args = objects.container()["args"].as_array().unwrap();
    let args: Vec<&str> = args.iter().map(|arg| arg.as_str().unwrap()).collect();
    assert_eq!(args, want);
}

#[test]
fn a_deployment_has_two_pods_apart_and_a_budget() {
    let objects = Objects::of("--workload=deployment");
    assert_eq!(objects.kinds()[7..], ["Deployment", "PodDisruptionBudget"]);
    let spec = &objects.workload()["spec"];
    assert_eq!(spec["replicas"], 2);
    let apart = &spec["template"]["spec"]["affinity"]["podAntiAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
        [0];
    assert_eq!(apart["labelSelector"], spec["selector"]);
}

#[test]
fn without_election_there_is_one_pod_or_a_warning() {
    let objects = Objects::of("--workload=deployment --leader-elect=false");
    assert_eq!(objects.kinds().last(), Some(&"Deployment"));
    let spec = &objects.workload()["spec"];
    assert_eq!((&spec["replicas"], &spec["strategy"]["type"]), (&json!(1), &json!("Recreate")));
    let warning = "# Without leader election, only for a control plane of one node";
    assert!(text("--leader-elect=false").contains(warning));
    assert!(!text("").contains(warning));
}

/// A selector can never be changed.
#[rstest]
#[case("")]
#[case("--workload=deployment")]
fn pods_are_selected_by_the_one_label_of_old(#[case] flags: &str) {
    let objects = Objects::of(flags);
    let spec = &objects.workload()["spec"];
    assert_eq!(
        spec["selector"],
        json!({ "matchLabels": { "k8s-app": "sim-cloud-controller-manager" } })
    );
    assert_eq!(spec["template"]["metadata"]["labels"]["k8s-app"], "sim-cloud-controller-manager");
}

#[rstest]
#[case("")]
#[case("--workload=deployment --use-service-account-credentials")]
fn every_object_says_what_it_belongs_to(#[case] flags: &str) {
    for object in Objects::of(flags).0 {
        let labels = &object["metadata"]["labels"];
        assert_eq!(labels["app.kubernetes.io/name"], "cloud-controller-manager", "{object}");
        assert_eq!(labels["app.kubernetes.io/instance"], "sim-cloud-controller-manager");
    }
}

#[test]
fn what_is_filled_in_is_marked_where_it_stands() {
    let text = text("");
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let marked = |start: &str| {
        let line = lines.iter().position(|line| line.starts_with(start)).unwrap();
        lines[line - 1].starts_with("# FILL IN")
    };
    assert!(marked("image: "));
    let about_memory = lines.iter().filter(|line| line.contains("Idle it takes"));
    assert_eq!(about_memory.count(), 1, "rules have resources too");
    assert!(!self::text("--image=example.com/ccm:1").contains("FILL IN: the name under which"));
    assert!(text.contains("\n  sim.yaml: |\n    a: 1\n\n    # b\n"));
    assert!(text.contains("\n  token: |\n    secret\n"));
}

fn migrating(name: &str, text: Option<&str>) -> (std::path::PathBuf, String) {
    let path = std::env::temp_dir().join(format!("ccm-moving-{name}-{}", std::process::id()));
    if let Some(text) = text {
        std::fs::write(&path, text).unwrap();
    }
    let flag = format!("--enable-leader-migration --leader-migration-config={}", path.display());
    (path, flag)
}

const MOVING: &str = "\
apiVersion: controllermanager.config.k8s.io/v1
kind: LeaderMigrationConfiguration
leaderName: moving
controllerLeaders:
- {name: cloud-node-lifecycle, component: cloud-controller-manager}
- {name: service, component: kube-controller-manager}
";

#[test]
fn the_file_of_a_migration_goes_with_the_pods() {
    let (path, flag) = migrating("read", Some(MOVING));
    let objects = Objects::of(&format!("{flag} --secure-port=0"));
    std::fs::remove_file(&path).unwrap();
    assert!(objects.rights("Role", ACCOUNT).iter().any(|right| right.ends_with(" leases moving")));
    let rights = objects.rights("ClusterRole", CLUSTER_ROLE).join("\n");
    assert!(rights.contains("nodes") && !rights.contains("services"), "run elsewhere: {rights}");
    let config = objects.named("ConfigMap", "sim-cloud-controller-manager").unwrap();
    let file = config["data"]["leader-migration.yaml"].as_str().unwrap();
    assert_eq!(file, format!("# {}\n{MOVING}", path.display()));
    let arg =
        "--leader-migration-config=/etc/cloud-controller-manager/config/leader-migration.yaml";
    assert!(objects.container()["args"].as_array().unwrap().contains(&arg.into()));
}

#[test]
fn the_file_of_a_migration_that_is_not_here_is_to_be_filled_in() {
    let (_, flag) = migrating("missing", None);
    assert!(text(&flag).contains("# FILL IN: "));
    let objects = Objects::of(&flag);
    let rights = objects.rights("Role", ACCOUNT).join("\n");
    assert!(rights.contains("leases cloud-provider-extraction-migration"), "{rights}");
}

#[test]
fn the_file_of_a_migration_that_the_pods_would_refuse_is_an_error() {
    let (path, flag) = migrating("bad", Some("kind: Pod\n"));
    let err = printed(&flag, &registration()).unwrap_err().to_string();
    std::fs::remove_file(&path).unwrap();
    assert!(err.contains("no LeaderMigrationConfiguration"), "{err}");
}

#[test]
fn facts_of_the_cluster_may_be_read_where_they_are() {
    let needs = Needs { config_maps: &["kube-public/a", "cloud/b"], ..Needs::default() };
    let text = printed(
        "--leader-elect-resource-namespace=cloud",
        &Registration { needs, ..registration() },
    );
    let objects = Objects(serde_saphyr::from_multiple(&text.unwrap()).unwrap());
    assert_eq!(
        objects.rights("Role", ACCOUNT),
        [
            "kube-system: list,watch configmaps extension-apiserver-authentication",
            "cloud: get configmaps b",
            "cloud: create leases",
            "cloud: get,update,watch leases cloud-controller-manager",
            "kube-public: get configmaps a",
        ]
    );
}
