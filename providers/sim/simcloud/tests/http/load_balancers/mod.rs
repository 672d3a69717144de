//! Load balancers, in pieces.

mod faults;
mod firewalls;
mod life;
mod limits;
mod operator;
mod refusals;
mod repetition;
mod targets;

use std::collections::BTreeMap;
use std::num::NonZeroU16;

use simcloud::api::{
    AddRule, Address, ChangeTargets, CreateAddress, CreateFirewall, CreateListener,
    CreateLoadBalancer, CreateTargetGroup, Firewall, IpFamily, Listener, ListenerSettings,
    LoadBalancer, LoadBalancerId, Protocol, Rule, RuleSpec, TargetGroup, TargetGroupId,
};
use simcloud::console::Console;

/// All that one Service has: one of each.
struct Web {
    address: Address,
    group: TargetGroup,
    balancer: LoadBalancer,
    listener: Listener,
    firewall: Firewall,
    rule: Rule,
}

/// Makes one of each; `node-0` is the target.
async fn web(console: &Console) -> Web {
    let address = console.create_piece(&new_address()).await.unwrap();
    let group = console.create_piece(&new_group()).await.unwrap();
    let add = ChangeTargets { add: vec!["i-0000000000000001".into()], remove: vec![] };
    let group = console.change_targets(&group.id, &add).await.unwrap();
    let wanted = CreateLoadBalancer { addresses: vec![address.id.clone()], ..new_balancer() };
    let balancer = console.create_piece(&wanted).await.unwrap();
    let wanted = new_listener(&balancer.id, &group.id);
    let listener = console.create_piece(&wanted).await.unwrap();
    let firewall = console.create_piece(&new_firewall()).await.unwrap();
    let wanted = AddRule { spec: new_rule("u-1"), client_token: None };
    let rule = console.add_rule(&firewall.id, &wanted).await.unwrap();
    let address = console.piece(&address.id).await.unwrap();
    let firewall = console.piece(&firewall.id).await.unwrap();
    Web { address, group, balancer, listener, firewall, rule }
}

fn tags(owner: &str) -> BTreeMap<String, String> {
    BTreeMap::from([("cluster".into(), "a".into()), ("owner".into(), owner.into())])
}

fn port(number: u16) -> NonZeroU16 {
    NonZeroU16::new(number).unwrap()
}

fn new_address() -> CreateAddress {
    CreateAddress { tags: tags("u-1"), ..CreateAddress::named("web", IpFamily::Ipv4) }
}

fn new_group() -> CreateTargetGroup {
    let group = CreateTargetGroup::named("web", Protocol::Tcp, port(30_080));
    CreateTargetGroup { tags: tags("u-1"), ..group }
}

fn new_balancer() -> CreateLoadBalancer {
    CreateLoadBalancer { tags: tags("u-1"), ..CreateLoadBalancer::named("web") }
}

fn new_listener(balancer: &LoadBalancerId, group: &TargetGroupId) -> CreateListener {
    CreateListener {
        name: "web".into(),
        load_balancer: balancer.clone(),
        protocol: Protocol::Tcp,
        port: port(80),
        target_group: group.clone(),
        settings: ListenerSettings::default(),
        tags: tags("u-1"),
        client_token: None,
    }
}

fn new_firewall() -> CreateFirewall {
    CreateFirewall::named("nodes", "a")
}

fn new_rule(owner: &str) -> RuleSpec {
    RuleSpec {
        owner: owner.into(),
        source: "198.51.100.0/24".parse().unwrap(),
        protocol: Protocol::Tcp,
        port: port(80),
        node_ports: vec![port(30_080)],
    }
}
