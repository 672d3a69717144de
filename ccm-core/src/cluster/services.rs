//! The one watch on Services.

use super::cache::{Cache, Cached, Change};
use super::keys;
use super::node::Version;
use super::service::{Service, ServiceKey, WireService};
use crate::cloud::{Annotations, Labels, Uid};

/// The Services that [are of interest](Service::is_of_interest), as last seen. Most Services of a
/// cluster are of type `ClusterIP`, and cost nothing.
pub type Services = Cache<Service>;

/// What happened to a Service.
pub type ServiceChange = Change<Service>;

impl Cached for Service {
    type Key = ServiceKey;
    type Wire = WireService;

    fn key(&self) -> ServiceKey {
        self.key.clone()
    }

    fn key_of(wire: &WireService) -> ServiceKey {
        wire.key()
    }

    fn uid(&self) -> &Uid {
        &self.uid
    }

    fn version(&self) -> &Version {
        &self.version
    }
}

impl Services {
    /// An empty cache that keeps of each Service the annotations that the provider declares,
    /// besides those that the core reads, and the labels that the provider reads.
    pub fn new(annotations: &Annotations, labels: Labels) -> Self {
        let annotations = *annotations;
        let keep_annotation = move |key: &str| key == keys::SOURCE_RANGES || annotations.has(key);
        let keep_label = move |key: &str| match labels {
            Labels::These(keys) => keys.contains(&key),
            Labels::All => true,
        };
        Self::trimming(move |wire: WireService| {
            Some(wire.trim(keep_annotation, keep_label)).filter(Service::is_of_interest)
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use kube::runtime::watcher::Event;
    use serde_json::{Value, json};

    use super::*;
    use crate::cloud::annotations::Declared;

    const DECLARED: Declared = Declared {
        key: "sim/a",
        help: "",
        accepted: "",
        default: "",
        lenient: false,
        written: false,
    };

    fn wire(kind: &str, marks: &Value) -> WireService {
        let annotations = json!({"sim/a": "1", "other": "2", keys::SOURCE_RANGES: "10.0.0.0/8"});
        let labels = json!({"a": "1", "b": "2"});
        serde_json::from_value(json!({
            "metadata": {"namespace": "ns", "name": "s", "annotations": annotations, "labels": labels,
                "finalizers": marks["finalizers"]},
            "spec": {"type": kind},
            "status": {"conditions": marks["conditions"]},
        }))
        .unwrap()
    }

    #[test]
    fn only_what_wants_or_had_a_load_balancer_is_kept() {
        let nothing = json!({"finalizers": ["x"], "conditions": []});
        let finalizer = json!({"finalizers": [keys::FINALIZER], "conditions": []});
        let condition = json!({"type": keys::LOAD_BALANCER_READY, "status": "False"});
        let condition = json!({"finalizers": [], "conditions": [condition]});

        let annotations = Annotations { declared: &[DECLARED], ..Annotations::NONE };
        let services = Services::new(&annotations, Labels::These(&["a"]));
        let key = ServiceKey::new("ns", "s");
        let kept = |kind, marks| {
            services.take(Event::Apply(wire(kind, marks)), &mut HashSet::new());
            services.get(&key)
        };
        assert!(kept("ClusterIP", &nothing).is_none());
        let service = kept("LoadBalancer", &nothing).unwrap();
        let both = [("sim/a", "1"), (keys::SOURCE_RANGES, "10.0.0.0/8")];
        assert_eq!(service.annotations, both.into_iter().collect());
        assert_eq!(service.labels, [("a", "1")].into_iter().collect());
        assert!(kept("ClusterIP", &finalizer).is_some());
        assert!(kept("ClusterIP", &condition).is_some());
        assert!(kept("ClusterIP", &nothing).is_none());
    }
}
