//! What a Service asks for, read from it; and whether that is still the same. Pure.

use std::collections::{BTreeMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};

use crate::cloud::{Annotations, ExternalTrafficPolicy, LoadBalancerSpec, Note, SourceRange};
use crate::cluster::keys;
use crate::cluster::service::Service;

/// Where a Service's spec says who may connect.
const SPEC_RANGES: &str = "spec.loadBalancerSourceRanges";

/// A Service, read.
#[derive(Debug)]
pub struct Read {
    /// What it asks for. Labels of its namespace and its endpoints are not of the Service, and not
    /// filled in.
    pub spec: LoadBalancerSpec,
    /// What was read leniently.
    pub notes: Vec<Note>,
}

/// Reads a Service. Otherwise a sentence for each thing that cannot be read.
pub fn read(service: &Service, annotations: &Annotations) -> Result<Read, Vec<String>> {
    let declared = service.annotations.iter().filter(|(key, _)| annotations.has(key));
    let declared: BTreeMap<_, _> =
        declared.map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
    let annotated = match (annotations.read)(&declared) {
        Ok(annotated) if service.problem.is_none() => annotated,
        outcome => {
            let errors = outcome.err().unwrap_or_default();
            let problem = service.problem.as_deref().map(str::to_owned);
            return Err(problem
                .into_iter()
                .chain(errors.iter().map(ToString::to_string))
                .collect());
        }
    };

    let is_local = service.external_traffic_policy == ExternalTrafficPolicy::Local;
    let mut spec = LoadBalancerSpec {
        class: service.class.as_deref().map(str::to_owned),
        ports: service.ports.to_vec(),
        external_traffic_policy: service.external_traffic_policy,
        health_check_node_port: service.health_check_node_port.filter(|_| is_local),
        client_ip_affinity: service.client_ip_affinity,
        requested_address: service.requested_address.as_deref().map(str::to_owned),
        source_ranges: source_ranges(service),
        annotations: annotated.value,
        labels: service.labels.iter().map(|(k, v)| (k.to_owned(), v.to_owned())).collect(),
        ..LoadBalancerSpec::new(service.identity())
    };
    if !service.families.is_empty() {
        spec.families = service.families.to_vec();
    }
    Ok(Read { spec, notes: annotated.notes })
}

/// Who may connect: what the spec says, or else the annotation. Empty where neither says anything,
/// which is not the same as a range that cannot be read: that one stays in the list, and whoever
/// judges it must not take it for leave to let everybody in.
fn source_ranges(service: &Service) -> Vec<SourceRange> {
    if !service.source_ranges.is_empty() {
        return distinct(SPEC_RANGES, service.source_ranges.iter().map(|range| &**range));
    }
    let annotation = service.annotations.get(keys::SOURCE_RANGES).unwrap_or_default();
    if annotation.trim().is_empty() {
        return Vec::new();
    }
    distinct(keys::SOURCE_RANGES, annotation.split(','))
}

fn distinct<'a>(field: &str, texts: impl Iterator<Item = &'a str>) -> Vec<SourceRange> {
    let mut ranges: Vec<SourceRange> = Vec::new();
    // An object may hold a hundred thousand: each is compared with none.
    let (mut networks, mut oddities) = (HashSet::new(), HashSet::new());
    for text in texts.map(str::trim) {
        let network = text.parse().ok();
        let is_new = match network {
            Some(network) => networks.insert(network),
            None => oddities.insert(text),
        };
        if is_new {
            ranges.push(SourceRange { field: field.to_owned(), text: text.to_owned(), network });
        }
    }
    ranges
}

/// A number that changes with everything that a load balancer is made from, and with nothing else:
/// not with the status, the finalizers, or annotations that nobody reads. Good for this process
/// only.
///
/// Of what upstream's `needsUpdate` compares, target ports and external IPs are left out: traffic
/// comes to node ports. The order of the families is in, because a spec has it; the API does not
/// let it change.
pub fn digest(service: &Service, declared: &Annotations) -> u64 {
    let Service {
        key,
        uid,
        annotations,
        labels,
        kind,
        class,
        ports,
        families,
        external_traffic_policy,
        health_check_node_port,
        client_ip_affinity,
        requested_address,
        source_ranges,
        problem,
        version: _,
        created: _,
        deleting: _,
        finalizers: _,
        ingress: _,
        odd_ingress: _,
        conditions: _,
    } = service;
    let mut hasher = DefaultHasher::new();
    (key, uid, kind, class, ports, families).hash(&mut hasher);
    (external_traffic_policy, health_check_node_port, client_ip_affinity).hash(&mut hasher);
    (requested_address, source_ranges, problem).hash(&mut hasher);
    labels.hash(&mut hasher);
    for (key, value) in annotations.iter() {
        // What the provider writes back is no wish.
        if key == keys::SOURCE_RANGES || declared.reads(key) {
            (key, value).hash(&mut hasher);
        }
    }
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::{Value, json};

    use super::*;
    use crate::cloud::annotations::Declared;
    use crate::cloud::{Annotated, AnnotationError, Detail, IpFamily};
    use crate::cluster::service::WireService;

    fn base() -> Value {
        json!({
            "metadata": {"namespace": "shop", "name": "web", "uid": "u1", "resourceVersion": "1",
                "labels": {"tier": "front"}},
            "spec": {"type": "LoadBalancer", "ipFamilies": ["IPv4"], "clusterIP": "10.0.0.1",
                "ports": [{"name": "a", "protocol": "TCP", "port": 80, "nodePort": 30080},
                    {"name": "b", "protocol": "TCP", "port": 81, "nodePort": 30081}]},
        })
    }

    /// The Service with these fields changed.
    fn service(changes: &Value) -> Service {
        let mut json = base();
        json_patch::merge(&mut json, changes);
        let wire: WireService = serde_json::from_value(json).unwrap();
        wire.trim(|key| key.starts_with("sim/") || key == keys::SOURCE_RANGES, |key| key == "tier")
    }

    fn ports(change: &Value) -> Value {
        let mut first = base()["spec"]["ports"][0].clone();
        json_patch::merge(&mut first, change);
        json!({"spec": {"ports": [first, base()["spec"]["ports"][1]]}})
    }

    #[rstest]
    #[case::type_(json!({"spec": {"type": "NodePort"}}))]
    #[case::class(json!({"spec": {"loadBalancerClass": "x"}}))]
    #[case::source_ranges(json!({"spec": {"loadBalancerSourceRanges": ["10.0.0.0/8"]}}))]
    #[case::ports(json!({"spec": {"ports": [{"port": 80}]}}))]
    #[case::port_order(json!({"spec": {"ports": [base()["spec"]["ports"][1], base()["spec"]["ports"][0]]}}))]
    #[case::port_name(ports(&json!({"name": "c"})))]
    #[case::port_protocol(ports(&json!({"protocol": "UDP"})))]
    #[case::port_port(ports(&json!({"port": 82})))]
    #[case::port_node_port(ports(&json!({"nodePort": 30082})))]
    #[case::port_app_protocol(ports(&json!({"appProtocol": ""})))]
    #[case::affinity(json!({"spec": {"sessionAffinity": "ClientIP"}}))]
    #[case::requested_address(json!({"spec": {"loadBalancerIP": "192.0.2.1"}}))]
    #[case::annotation(json!({"metadata": {"annotations": {"sim/size": "2"}}}))]
    #[case::annotated_ranges(json!({"metadata": {"annotations": {keys::SOURCE_RANGES: "::/0"}}}))]
    #[case::uid(json!({"metadata": {"uid": "u2"}}))]
    #[case::policy(json!({"spec": {"externalTrafficPolicy": "Local"}}))]
    #[case::health_check(json!({"spec": {"healthCheckNodePort": 31000}}))]
    #[case::families(json!({"spec": {"ipFamilies": ["IPv4", "IPv6"]}}))]
    #[case::label(json!({"metadata": {"labels": {"tier": "back"}}}))]
    #[case::problem(json!({"spec": {"ports": [{"port": 0}]}}))]
    fn what_a_load_balancer_is_made_from_changes_the_digest(#[case] change: Value) {
        assert_ne!(digest(&service(&change), &SIM), digest(&service(&json!({})), &SIM), "{change}");
    }

    #[test]
    fn another_time_out_changes_the_digest() {
        let spec = |seconds| {
            let config = json!({"clientIP": {"timeoutSeconds": seconds}});
            service(
                &json!({"spec": {"sessionAffinity": "ClientIP", "sessionAffinityConfig": config}}),
            )
        };
        assert_ne!(digest(&spec(60), &SIM), digest(&spec(61), &SIM));
    }

    #[rstest]
    #[case::version(json!({"metadata": {"resourceVersion": "2"}}))]
    #[case::unread_annotation(json!({"metadata": {"annotations": {"kubectl/last-applied": "{}"}}}))]
    #[case::written_back(json!({"metadata": {"annotations": {"sim/id": "lb-1"}}}))]
    #[case::unread_label(json!({"metadata": {"labels": {"team": "a"}}}))]
    #[case::finalizer(json!({"metadata": {"finalizers": [keys::FINALIZER]}}))]
    #[case::deleting(json!({"metadata": {"deletionTimestamp": "2026-01-02T03:04:05Z"}}))]
    #[case::selector(json!({"spec": {"selector": {"app": "x"}}}))]
    #[case::cluster_ip(json!({"spec": {"clusterIP": "10.0.0.2", "clusterIPs": ["10.0.0.2"]}}))]
    #[case::family_policy(json!({"spec": {"ipFamilyPolicy": "PreferDualStack"}}))]
    #[case::allocate(json!({"spec": {"allocateLoadBalancerNodePorts": false}}))]
    #[case::internal_policy(json!({"spec": {"internalTrafficPolicy": "Local"}}))]
    #[case::not_ready(json!({"spec": {"publishNotReadyAddresses": true}}))]
    #[case::distribution(json!({"spec": {"trafficDistribution": "PreferClose"}}))]
    #[case::target_port(ports(&json!({"targetPort": "web"})))]
    #[case::status(json!({"status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}}}))]
    #[case::condition(json!({"status": {"conditions": [{"type": "X", "status": "True"}]}}))]
    fn what_does_not_matter_leaves_the_digest(#[case] change: Value) {
        assert_eq!(digest(&service(&change), &SIM), digest(&service(&json!({})), &SIM), "{change}");
    }

    const SIM: Annotations = Annotations {
        declared: &[
            Declared {
                key: "sim/size",
                help: "",
                accepted: "a number",
                default: "",
                lenient: false,
                written: false,
            },
            Declared {
                key: "sim/id",
                help: "",
                accepted: "",
                default: "",
                lenient: false,
                written: true,
            },
        ],
        read: |annotations| {
            assert!(annotations.keys().all(|key| key.starts_with("sim/")), "only what is declared");
            let Some(value) = annotations.get("sim/size") else { return Ok(Annotated::default()) };
            let accepted = "a number".to_owned();
            let refused = |_| {
                let value = value.clone();
                vec![AnnotationError { key: "sim/size", value, accepted }]
            };
            let size: u32 = value.parse().map_err(refused)?;
            let note = Note { reason: "Size", message: "a large one".to_owned() };
            Ok(Annotated { value: Detail::new(size), notes: vec![note] })
        },
    };

    #[test]
    fn a_service_is_read_with_its_annotations_as_the_providers_type() {
        let service = service(&json!({
            "metadata": {"annotations": {"sim/size": "3", "sim/other": "x", keys::SOURCE_RANGES: " "}},
            "spec": {"loadBalancerClass": "sim", "ipFamilies": ["IPv6", "IPv4"],
                "healthCheckNodePort": 31000, "loadBalancerIP": "192.0.2.1"},
        }));
        let Read { spec, notes } = read(&service, &SIM).unwrap();
        assert_eq!(*spec.identity, service.identity());
        assert_eq!(spec.annotations.get::<u32>(), Some(&3));
        assert_eq!(notes.len(), 1);
        assert_eq!(spec.class.as_deref(), Some("sim"));
        assert_eq!(spec.ports, *service.ports);
        assert_eq!(spec.families, [IpFamily::V6, IpFamily::V4]);
        assert_eq!(spec.requested_address.as_deref(), Some("192.0.2.1"));
        assert_eq!(spec.labels, [("tier".to_owned(), "front".to_owned())].into());
        assert_eq!(spec.source_ranges, []);
        // Of no meaning where every node takes traffic.
        assert_eq!(spec.health_check_node_port, None);
    }

    #[test]
    fn everything_that_cannot_be_read_is_said() {
        let service = service(&json!({
            "metadata": {"annotations": {"sim/size": "big"}},
            "spec": {"ports": [{"port": 0}]},
        }));
        assert_eq!(
            read(&service, &SIM).unwrap_err(),
            [
                "spec.ports[0].port is 0: must be a port from 1 to 65535",
                "annotation sim/size=\"big\": must be a number",
            ]
        );
    }

    #[rstest]
    #[case::nothing(&[], None, &[])]
    #[case::blank(&[], Some(" \t"), &[])]
    #[case::the_spec_goes_first(&["10.0.0.0/8"], Some("::/0"), &[("10.0.0.0/8", true)])]
    #[case::blanks(&[" 10.0.0.0/8 "], None, &[("10.0.0.0/8", true)])]
    #[case::list(&[], Some("10.0.0.0/8, ::/0"), &[("10.0.0.0/8", true), ("::/0", true)])]
    #[case::twice(&[], Some("10.0.0.0/8,10.0.0.0/8 ,x,x"), &[("10.0.0.0/8", true), ("x", false)])]
    #[case::one_network_in_two_spellings(&["2001:db8::/32", "2001:DB8::/32"], None,
        &[("2001:db8::/32", true)])]
    #[case::host_bits(&["10.0.0.1/8", "10.0.0.0/8"], None, &[("10.0.0.1/8", true), ("10.0.0.0/8", true)])]
    #[case::bare_address(&["10.0.0.1"], None, &[("10.0.0.1", false)])]
    #[case::a_comma_is_not_nothing(&[], Some(","), &[("", false)])]
    fn source_ranges_are_those_of_the_spec_or_else_of_the_annotation(
        #[case] spec: &[&str],
        #[case] annotation: Option<&str>,
        #[case] want: &[(&str, bool)],
    ) {
        let service = service(&json!({
            "metadata": {"annotations": {keys::SOURCE_RANGES: annotation}},
            "spec": {"loadBalancerSourceRanges": spec},
        }));
        let ranges = read(&service, &Annotations::NONE).unwrap().spec.source_ranges;
        let found: Vec<_> =
            ranges.iter().map(|range| (&*range.text, range.network.is_some())).collect();
        assert_eq!(found, want);
        let field = if spec.is_empty() { keys::SOURCE_RANGES } else { SPEC_RANGES };
        assert!(ranges.iter().all(|range| range.field == field));
    }
}
