//! Rights, and service accounts that have them and no others.

use std::{collections::BTreeMap, fmt::Debug, time::Instant};

use k8s_openapi::{
    NamespaceResourceScope,
    api::{
        authentication::v1::{TokenRequest, TokenRequestSpec},
        authorization::v1::{
            NonResourceAttributes, ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec,
        },
        core::v1::{Namespace, ServiceAccount},
        rbac::v1::{
            ClusterRole, ClusterRoleBinding, PolicyRule, Role, RoleBinding, RoleRef, Subject,
        },
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::{
    Api, Client, Resource, ResourceExt,
    api::{Patch, PatchParams, PostParams},
};
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    control_plane::PATIENCE,
    error::{Context, Error},
    process::POLL,
};

const RBAC: &str = "rbac.authorization.k8s.io";

/// The label on namespaced and cluster-wide objects that we make up.
const MANAGER: &str = "ccm-envtest";

/// Longer than any test or demo: a token that expires in the middle would look like a bug of the program under test.
const TOKEN_SECONDS: i64 = 365 * 24 * 60 * 60;

/// A right that a service account is given.
#[derive(Clone, Debug)]
pub enum Grant {
    /// This cluster role, applied as it is and bound for the whole cluster: what a manifest grants.
    ClusterRole(ClusterRole),
    /// A cluster role that exists, bound for the whole cluster.
    ClusterRoleNamed(String),
    /// A cluster role made of these rules, bound for the whole cluster.
    ClusterRules(Vec<PolicyRule>),
    /// This role, applied as it is and bound in its own namespace.
    Role(Role),
    /// A role that exists, bound in its namespace.
    RoleNamed {
        /// Where the role is, and where it counts.
        namespace: String,
        /// The role's name.
        name: String,
    },
    /// A role made of these rules, bound in that namespace.
    RoleRules {
        /// Where the role is made, and where it counts.
        namespace: String,
        /// What it allows.
        rules: Vec<PolicyRule>,
    },
}

/// A role that exists, and where it is to count.
struct Bound {
    namespace: Option<String>,
    role: String,
    rules: Vec<PolicyRule>,
}

/// Makes the account and its rights, and returns a token once the rights are in force.
pub(crate) async fn service_account(
    client: &Client,
    namespace: &str,
    name: &str,
    grants: &[Grant],
) -> Result<String, Error> {
    ensure_namespace(client, namespace).await?;
    let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), namespace);
    apply(&accounts, &ServiceAccount { metadata: named(name, None), ..Default::default() }).await?;

    for (index, grant) in grants.iter().enumerate() {
        let own_name = format!("{MANAGER}:{namespace}:{name}:{index}");
        let bound = ensure_role(client, &own_name, grant).await?;
        bind(client, &bound, namespace, name).await?;
        wait_for_rights(client, &bound, namespace, name).await?;
    }

    let request = TokenRequest {
        spec: TokenRequestSpec { expiration_seconds: Some(TOKEN_SECONDS), ..Default::default() },
        ..Default::default()
    };
    let answer = accounts
        .create_token_request(name, &PostParams::default(), &request)
        .await
        .context(|| format!("requesting a token for {namespace}/{name}"))?;
    answer
        .status
        .map(|status| status.token)
        .ok_or_else(|| Error::Refused(format!("no token for {namespace}/{name} in the answer")))
}

async fn ensure_namespace(client: &Client, name: &str) -> Result<(), Error> {
    let api: Api<Namespace> = Api::all(client.clone());
    let found = api.get_opt(name).await.context(|| format!("looking for namespace {name}"))?;
    if found.is_none() {
        apply(&api, &Namespace { metadata: named(name, None), ..Default::default() }).await?;
    }
    Ok(())
}

async fn ensure_role(client: &Client, own_name: &str, grant: &Grant) -> Result<Bound, Error> {
    let cluster: Api<ClusterRole> = Api::all(client.clone());
    let (namespace, role) = match grant {
        Grant::ClusterRole(role) => {
            apply(&cluster, role).await?;
            (None, role.name_any())
        }
        Grant::ClusterRoleNamed(name) => (None, name.clone()),
        Grant::ClusterRules(rules) => {
            let metadata = named(own_name, None);
            let rules = Some(rules.clone());
            apply(&cluster, &ClusterRole { metadata, rules, ..Default::default() }).await?;
            (None, own_name.to_owned())
        }
        Grant::Role(role) => {
            let namespace = role.namespace().ok_or_else(|| {
                Error::Refused(format!("role {} names no namespace", role.name_any()))
            })?;
            ensure_namespace(client, &namespace).await?;
            apply(&namespaced(client, &namespace), role).await?;
            (Some(namespace), role.name_any())
        }
        Grant::RoleNamed { namespace, name } => (Some(namespace.clone()), name.clone()),
        Grant::RoleRules { namespace, rules } => {
            ensure_namespace(client, namespace).await?;
            let metadata = named(own_name, Some(namespace));
            let rules = Some(rules.clone());
            apply(&namespaced(client, namespace), &Role { metadata, rules }).await?;
            (Some(namespace.clone()), own_name.to_owned())
        }
    };
    // Also asked for what was just applied: a role that does not exist may be bound, and then grants nothing.
    let what = || format!("looking for role {role}");
    let rules = match &namespace {
        None => cluster.get(&role).await.context(what)?.rules,
        Some(namespace) => {
            namespaced::<Role>(client, namespace).get(&role).await.context(what)?.rules
        }
    };
    Ok(Bound { namespace, role, rules: rules.unwrap_or_default() })
}

async fn bind(client: &Client, bound: &Bound, namespace: &str, name: &str) -> Result<(), Error> {
    // With the role in it: what a binding binds can not be changed afterwards.
    let own_name = format!("{MANAGER}:{namespace}:{name}:{}", bound.role);
    let subjects = Some(vec![Subject {
        kind: "ServiceAccount".to_owned(),
        name: name.to_owned(),
        namespace: Some(namespace.to_owned()),
        ..Default::default()
    }]);
    let role_ref = |kind: &str| RoleRef {
        api_group: RBAC.to_owned(),
        kind: kind.to_owned(),
        name: bound.role.clone(),
    };
    match &bound.namespace {
        None => {
            let metadata = named(&own_name, None);
            let role_ref = role_ref("ClusterRole");
            let binding = ClusterRoleBinding { metadata, role_ref, subjects };
            apply(&Api::all(client.clone()), &binding).await
        }
        Some(at) => {
            let metadata = named(&own_name, Some(at));
            let binding = RoleBinding { metadata, role_ref: role_ref("Role"), subjects };
            apply(&namespaced(client, at), &binding).await
        }
    }
}

/// Waits until the API server has heard of the role and its binding: it decides from caches, which lag by milliseconds.
///
/// Asked as the administrator about the account, so that the account's own requests stay those of the program under test.
async fn wait_for_rights(
    client: &Client,
    bound: &Bound,
    namespace: &str,
    name: &str,
) -> Result<(), Error> {
    let reviews: Api<SubjectAccessReview> = Api::all(client.clone());
    let since = Instant::now();
    for review in bound.rules.iter().filter_map(|rule| review(rule, bound, namespace, name)) {
        loop {
            let answer = reviews
                .create(&PostParams::default(), &review)
                .await
                .context(|| format!("asking for the rights of {namespace}/{name}"))?;
            if answer.status.is_some_and(|status| status.allowed) {
                break;
            }
            if since.elapsed() > PATIENCE {
                let what = format!("the right of {namespace}/{name} by {}", bound.role);
                return Err(Error::Timeout { what, waited: PATIENCE });
            }
            tokio::time::sleep(POLL).await;
        }
    }
    Ok(())
}

/// A question that `rule` answers with yes.
fn review(
    rule: &PolicyRule,
    bound: &Bound,
    namespace: &str,
    name: &str,
) -> Option<SubjectAccessReview> {
    let first = |list: &Option<Vec<String>>| list.iter().flatten().next().cloned();
    let verb = Some(rule.verbs.first()?.clone());
    let mut spec = SubjectAccessReviewSpec {
        user: Some(user(namespace, name)),
        groups: Some(vec![
            "system:serviceaccounts".to_owned(),
            format!("system:serviceaccounts:{namespace}"),
            "system:authenticated".to_owned(),
        ]),
        ..Default::default()
    };
    if let Some(resource) = first(&rule.resources) {
        let (resource, subresource) = match resource.split_once('/') {
            Some((resource, subresource)) => (resource.to_owned(), Some(subresource.to_owned())),
            None => (resource, None),
        };
        spec.resource_attributes = Some(ResourceAttributes {
            group: first(&rule.api_groups),
            resource: Some(resource),
            subresource,
            name: first(&rule.resource_names),
            namespace: bound.namespace.clone(),
            verb,
            ..Default::default()
        });
    } else {
        let path = first(&rule.non_resource_urls)?;
        spec.non_resource_attributes = Some(NonResourceAttributes { path: Some(path), verb });
    }
    Some(SubjectAccessReview { spec, ..Default::default() })
}

/// The name of a service account as a user.
pub(crate) fn user(namespace: &str, name: &str) -> String {
    format!("system:serviceaccount:{namespace}:{name}")
}

fn namespaced<K>(client: &Client, namespace: &str) -> Api<K>
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
{
    Api::namespaced(client.clone(), namespace)
}

fn named(name: &str, namespace: Option<&str>) -> ObjectMeta {
    ObjectMeta {
        name: Some(name.to_owned()),
        namespace: namespace.map(str::to_owned),
        labels: Some(BTreeMap::from([(
            "app.kubernetes.io/managed-by".to_owned(),
            MANAGER.to_owned(),
        )])),
        ..Default::default()
    }
}

/// Makes it so, whether it is there or not.
async fn apply<K>(api: &Api<K>, object: &K) -> Result<(), Error>
where
    K: Resource<DynamicType = ()> + Clone + Debug + Serialize + DeserializeOwned,
{
    let name = object.name_any();
    api.patch(&name, &PatchParams::apply(MANAGER).force(), &Patch::Apply(object))
        .await
        .context(|| format!("applying {} {name}", K::kind(&())))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(group: &str, resource: &str, verb: &str) -> PolicyRule {
        PolicyRule {
            api_groups: Some(vec![group.to_owned()]),
            resources: Some(vec![resource.to_owned()]),
            verbs: vec![verb.to_owned()],
            ..Default::default()
        }
    }

    fn bound(namespace: Option<&str>) -> Bound {
        let namespace = namespace.map(str::to_owned);
        Bound { namespace, role: "role".to_owned(), rules: Vec::new() }
    }

    #[test]
    fn a_subresource_is_asked_for_as_one() {
        let review = review(&rule("", "nodes/status", "patch"), &bound(None), "kube-system", "ccm");
        let spec = review.unwrap().spec;
        assert_eq!(spec.user.as_deref(), Some("system:serviceaccount:kube-system:ccm"));
        let asked = spec.resource_attributes.unwrap();
        assert_eq!(
            (asked.resource.as_deref(), asked.subresource.as_deref(), asked.namespace),
            (Some("nodes"), Some("status"), None)
        );
    }

    #[test]
    fn a_role_is_asked_for_in_its_namespace() {
        let rule = rule("coordination.k8s.io", "leases", "create");
        let review = review(&rule, &bound(Some("kube-system")), "default", "ccm").unwrap();
        let asked = review.spec.resource_attributes.unwrap();
        assert_eq!(asked.namespace.as_deref(), Some("kube-system"));
        assert_eq!(asked.group.as_deref(), Some("coordination.k8s.io"));
    }

    #[test]
    fn a_path_is_asked_for_as_a_path() {
        let rule = PolicyRule {
            non_resource_urls: Some(vec!["/metrics".to_owned()]),
            verbs: vec!["get".to_owned()],
            ..Default::default()
        };
        let spec = review(&rule, &bound(None), "default", "ccm").unwrap().spec;
        let path = spec.non_resource_attributes.and_then(|asked| asked.path);
        assert_eq!(path.as_deref(), Some("/metrics"));
        assert!(spec.resource_attributes.is_none());
    }
}
