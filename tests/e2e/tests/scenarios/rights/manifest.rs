//! What the checked-in manifests grant, the suite runs with, and the program uses under their flags.

use ccm_core::cloud::Needs;
use ccm_core::cluster::rights::{self, Wanted};
use ccm_e2e::{LEASE, NAMESPACE, Setup, World, run};
use ccm_envtest::Grant;
use k8s_openapi::api::rbac::v1::PolicyRule;
use serde_json::Value;

use super::used::{Pods, Rights, everything, granted, just_this_was_used};

/// Of a manifest what is about rights.
struct Manifest {
    in_cluster: Vec<PolicyRule>,
    in_namespace: Vec<PolicyRule>,
    flags: Vec<String>,
}

impl Manifest {
    fn of(provider: &str) -> Self {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../manifests");
        let text = std::fs::read_to_string(format!("{folder}/{provider}.yaml")).unwrap();
        let objects: Vec<Value> = serde_saphyr::from_multiple(&text).unwrap();
        let one = |kind: &str| -> &Value {
            let found: Vec<_> = objects.iter().filter(|object| object["kind"] == kind).collect();
            let [object] = found[..] else { panic!("{provider}: {found:?}") };
            object
        };
        let rules = |kind: &str| serde_json::from_value(one(kind)["rules"].clone()).unwrap();
        assert_eq!(one("Role")["metadata"]["namespace"], NAMESPACE);
        let pod = &one("DaemonSet")["spec"]["template"]["spec"];
        let flags = serde_json::from_value(pod["containers"][0]["args"].clone()).unwrap();
        Self { in_cluster: rules("ClusterRole"), in_namespace: rules("Role"), flags }
    }

    fn rights(&self) -> Rights {
        let mut rights = granted("", &self.in_cluster);
        rights.extend(granted(NAMESPACE, &self.in_namespace));
        rights
    }

    fn grants(&self) -> [Grant; 2] {
        let (namespace, rules) = (NAMESPACE.to_owned(), self.in_namespace.clone());
        [Grant::ClusterRules(self.in_cluster.clone()), Grant::RoleRules { namespace, rules }]
    }

    /// Its flags, but for those that say where the cloud is.
    fn setup(&self) -> Setup {
        let is_of_the_cloud = |flag: &&String| {
            flag.starts_with("--cloud-provider=") || flag.starts_with("--cloud-config=")
        };
        let flags = self.flags.iter().filter(|flag| !is_of_the_cloud(flag));
        flags.fold(Setup::new().quick().serving(), |setup, flag| setup.flag(flag.clone()))
    }
}

/// So that what the suite shows of its account holds for whoever applies the manifest.
#[test]
fn the_suite_runs_with_the_rights_of_the_manifests() {
    let wanted = Wanted::everything(Needs::default(), LEASE);
    let mut ours = granted("", &rights::in_cluster(&wanted));
    ours.extend(granted(NAMESPACE, &rights::in_namespace(&wanted)));
    for provider in ["sim", "aws"] {
        assert_eq!(Manifest::of(provider).rights(), ours, "{provider}");
    }
}

#[test]
fn all_that_the_manifest_grants_is_used_and_nothing_else() {
    run(async {
        let manifest = Manifest::of("sim");
        let mut world = World::start().await;
        let first = world.account_with("proof-manifest-1", &manifest.grants()).await;
        let second = world.account_with("proof-manifest-2", &manifest.grants()).await;
        everything(&mut world, [&first, &second], &manifest.setup(), Pods::Others).await;
        just_this_was_used(&world, &[first.user(), second.user()], &manifest.rights()).await;
    });
}
