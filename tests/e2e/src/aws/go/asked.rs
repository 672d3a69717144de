//! What a Service asks for, as the Go program reads it.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Service;
use kube::ResourceExt;

use super::names;
use crate::aws::ANNOTATION;

/// What one Service asks for.
#[derive(Clone, Debug, Default)]
pub(super) struct Asked {
    pub(super) namespace: String,
    pub(super) name: String,
    pub(super) uid: String,
    /// The name of its load balancer.
    pub(super) balancer: String,
    pub(super) annotations: BTreeMap<String, String>,
    pub(super) ports: Vec<Gate>,
    /// The health check's node port of `externalTrafficPolicy: Local`.
    pub(super) local: Option<i32>,
    /// Who may connect.
    pub(super) ranges: Vec<String>,
}

/// One of its ports.
#[derive(Clone, Debug)]
pub(super) struct Gate {
    /// `TCP` or `UDP`.
    pub(super) protocol: String,
    pub(super) port: i32,
    pub(super) node_port: i32,
    /// Whether clients speak TLS.
    pub(super) is_tls: bool,
}

impl From<&Service> for Asked {
    fn from(service: &Service) -> Self {
        let spec = service.spec.clone().unwrap_or_default();
        let uid = service.uid().unwrap_or_default();
        let is_local = spec.external_traffic_policy.as_deref() == Some("Local");
        let mut asked = Self {
            namespace: service.namespace().unwrap_or_default(),
            name: service.name_any(),
            balancer: names::load_balancer(&uid),
            uid,
            annotations: service.annotations().clone(),
            ports: Vec::new(),
            local: spec.health_check_node_port.filter(|_| is_local),
            ranges: spec.load_balancer_source_ranges.unwrap_or_default(),
        };
        if asked.ranges.is_empty() {
            let key = "service.beta.kubernetes.io/load-balancer-source-ranges";
            asked.ranges = words(asked.annotations.get(key).map_or("0.0.0.0/0", String::as_str));
        }
        // Blanks are a part of what is said here.
        let words = asked.said("ssl-ports").unwrap_or_default();
        let words: Vec<_> = words.split(',').filter(|it| !it.is_empty()).collect();
        let is_named = |name: &str, port: i32| {
            words.is_empty()
                || words.iter().any(|it| *it == "*" || *it == name || *it == port.to_string())
        };
        let has_certificate = asked.said("ssl-cert").is_some();
        let ports = spec.ports.unwrap_or_default().into_iter().map(|it| Gate {
            protocol: it.protocol.unwrap_or_else(|| "TCP".to_owned()),
            port: it.port,
            node_port: it.node_port.unwrap_or_default(),
            is_tls: has_certificate && is_named(&it.name.unwrap_or_default(), it.port),
        });
        asked.ports = ports.collect();
        asked
    }
}

impl Asked {
    /// `<namespace>/<name>`.
    pub(super) fn id(&self) -> String {
        format!("{}/{}", self.namespace, self.name)
    }

    /// What the annotation says, which is named without what all begin with.
    pub(super) fn said(&self, annotation: &str) -> Option<&str> {
        self.annotations.get(&format!("{ANNOTATION}{annotation}")).map(String::as_str)
    }

    /// The annotation's words.
    pub(super) fn list(&self, annotation: &str) -> Vec<String> {
        words(self.said(annotation).unwrap_or_default())
    }

    /// The annotation's pairs.
    pub(super) fn pairs(&self, annotation: &str) -> BTreeMap<String, String> {
        let pair = |word: String| {
            let (key, value) = word.split_once('=').unwrap_or((&word, ""));
            (key.to_owned(), value.to_owned())
        };
        self.list(annotation).into_iter().map(pair).collect()
    }

    /// The annotation's number.
    pub(super) fn number(&self, annotation: &str) -> Option<i64> {
        self.said(annotation).map(|text| text.parse().unwrap())
    }

    /// Whether the annotation says `true`.
    pub(super) fn flag(&self, annotation: &str) -> bool {
        self.said(annotation) == Some("true")
    }

    pub(super) fn is_network(&self) -> bool {
        self.said("type") == Some("nlb")
    }

    pub(super) fn is_internal(&self) -> bool {
        !matches!(self.said("internal"), None | Some("" | "false"))
    }
}

fn words(text: &str) -> Vec<String> {
    text.split(',').map(str::trim).filter(|it| !it.is_empty()).map(str::to_owned).collect()
}
