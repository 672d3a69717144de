//! What a provider wants to know of the cluster before it connects.

use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use kube::{Api, Client};

use super::client::Reason;
use crate::cloud::{CloudError, Facts, Kind, Needs};

/// Reads what the provider asked for, and nothing where it asked for nothing.
pub async fn read(client: &Client, needs: &Needs) -> Result<Facts, CloudError> {
    let mut facts = Facts::default();
    if needs.kube_system_uid {
        let namespaces = Api::<Namespace>::all(client.clone());
        let namespace = namespaces
            .get_metadata("kube-system")
            .await
            .map_err(|err| unread("namespace kube-system", err))?;
        facts.kube_system_uid = namespace.metadata.uid.map(Into::into);
    }
    for place in needs.config_maps {
        let (namespace, name) = self::place(place);
        let maps = Api::<ConfigMap>::namespaced(client.clone(), namespace);
        let map = maps
            .get_opt(name)
            .await
            .map_err(|err| unread(&format!("ConfigMap {namespace}/{name}"), err))?;
        if let Some(map) = map {
            facts.config_maps.insert(place, map.data.unwrap_or_default());
        }
    }
    Ok(facts)
}

/// Namespace and name of a `ConfigMap` that a provider needs.
pub(super) fn place(text: &str) -> (&str, &str) {
    text.split_once('/').unwrap_or(("kube-system", text))
}

fn unread(what: &str, err: kube::Error) -> CloudError {
    let message = format!("{what} cannot be read: {}", Reason(&err));
    CloudError::new(Kind::Unavailable, message).with_source(err)
}
