//! A service account has the rights it is granted, and no others.

use std::os::unix::fs::PermissionsExt;

use ccm_envtest::{ControlPlane, Grant};
use k8s_openapi::{
    api::{
        coordination::v1::Lease,
        core::v1::{ConfigMap, Namespace, Node, Secret},
        rbac::v1::{ClusterRole, PolicyRule},
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::{
    Api, Client, Config,
    api::{DeleteParams, ListParams, PostParams},
    config::{KubeConfigOptions, Kubeconfig},
};

fn rule(group: &str, resource: &str, verbs: &[&str]) -> PolicyRule {
    PolicyRule {
        api_groups: Some(vec![group.to_owned()]),
        resources: Some(vec![resource.to_owned()]),
        verbs: verbs.iter().map(|verb| (*verb).to_owned()).collect(),
        ..Default::default()
    }
}

fn named(name: &str) -> ObjectMeta {
    ObjectMeta { name: Some(name.to_owned()), ..Default::default() }
}

/// What the API server says to it: the code of its refusal, or nothing.
fn refused<T>(answer: kube::Result<T>) -> Option<u16> {
    match answer {
        Ok(_) => None,
        Err(kube::Error::Api(status)) => Some(status.code),
        Err(err) => panic!("no answer: {err}"),
    }
}

#[tokio::test]
async fn a_service_account_can_do_what_it_is_granted_and_no_more() {
    let control_plane = ControlPlane::start().await.unwrap();
    let role = ClusterRole {
        metadata: named("ccm"),
        rules: Some(vec![rule("", "nodes", &["get", "list"])]),
        ..Default::default()
    };
    let grants = [
        Grant::ClusterRole(role),
        Grant::RoleRules {
            namespace: "kube-system".into(),
            rules: vec![rule("coordination.k8s.io", "leases", &["create", "get"])],
        },
        Grant::RoleNamed {
            namespace: "kube-system".into(),
            name: "extension-apiserver-authentication-reader".into(),
        },
    ];
    let account = control_plane.service_account("kube-system", "ccm", &grants).await.unwrap();
    assert_eq!(account.user(), "system:serviceaccount:kube-system:ccm");
    let client = control_plane.client(account.credentials()).await.unwrap();

    // Granted: for the whole cluster, in one namespace, and by a role that was there before.
    let nodes: Api<Node> = Api::all(client.clone());
    assert_eq!(refused(nodes.list(&ListParams::default()).await), None);
    let leases: Api<Lease> = Api::namespaced(client.clone(), "kube-system");
    let lease = Lease { metadata: named("ccm"), ..Default::default() };
    assert_eq!(refused(leases.create(&PostParams::default(), &lease).await), None);
    let maps: Api<ConfigMap> = Api::namespaced(client.clone(), "kube-system");
    assert_eq!(refused(maps.get("extension-apiserver-authentication").await), None);

    // Not granted: another verb, another resource, another namespace, another name.
    assert_eq!(refused(nodes.delete("a", &DeleteParams::default()).await), Some(403));
    let secrets: Api<Secret> = Api::namespaced(client.clone(), "kube-system");
    assert_eq!(refused(secrets.list(&ListParams::default()).await), Some(403));
    let leases: Api<Lease> = Api::namespaced(client, "default");
    assert_eq!(refused(leases.create(&PostParams::default(), &lease).await), Some(403));
    assert_eq!(refused(maps.get("another").await), Some(403));

    control_plane.stop().await.unwrap();
}

#[tokio::test]
async fn rights_can_be_added_and_an_account_in_a_new_namespace_has_none() {
    let control_plane = ControlPlane::start().await.unwrap();
    let bare = control_plane.service_account("elsewhere", "nobody", &[]).await.unwrap();
    let client = control_plane.client(bare.credentials()).await.unwrap();
    let nodes: Api<Node> = Api::all(client);
    assert_eq!(refused(nodes.list(&ListParams::default()).await), Some(403));

    let grants = [Grant::ClusterRules(vec![rule("", "nodes", &["list"])])];
    control_plane.service_account("elsewhere", "nobody", &grants).await.unwrap();
    assert_eq!(refused(nodes.list(&ListParams::default()).await), None, "the old token serves");

    let unknown = [Grant::ClusterRoleNamed("no-such-role".into())];
    let err = control_plane.service_account("elsewhere", "nobody", &unknown).await.unwrap_err();
    assert!(err.to_string().contains("no-such-role"), "{err}");
    control_plane.stop().await.unwrap();
}

#[tokio::test]
async fn a_kubeconfig_is_for_its_owner_and_all_that_a_client_needs() {
    let control_plane = ControlPlane::start().await.unwrap();
    let credentials = control_plane.admin_credentials();
    let path = control_plane.write_kubeconfig("admin", credentials).unwrap();
    assert_eq!(path, control_plane.dir().join("admin.kubeconfig"));
    assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(control_plane.dir().metadata().unwrap().permissions().mode() & 0o777, 0o700);
    assert!(control_plane.write_kubeconfig("../admin", credentials).is_err());

    // By the road of a program that is given `--kubeconfig`.
    let kubeconfig = Kubeconfig::read_from(&path).unwrap();
    let options = KubeConfigOptions::default();
    let config = Config::from_custom_kubeconfig(kubeconfig, &options).await.unwrap();
    let client = Client::try_from(config).unwrap();
    let namespaces: Api<Namespace> = Api::all(client);
    assert!(namespaces.get("kube-system").await.is_ok());
    control_plane.stop().await.unwrap();
}
