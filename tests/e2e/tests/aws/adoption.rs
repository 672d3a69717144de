//! What the Go program has made is taken over without a single change, and is ours afterwards: a
//! change works, and the deletion leaves nothing.

mod classic;
mod deletions;
mod groups;
mod kinds;
mod listeners;
mod names;
mod network;
mod nodes;
mod odd;
mod routes;
mod rules;
mod unapplied;

use std::time::Duration;

use ccm_e2e::{
    ANNOTATION, Account, Aws, Ccm, Go, SeenService, Setup, Wanted, World, in_the_cloud, wait_until,
};
use serde_json::{Value, json};

/// Bound for many Services on a machine that also compiles.
const LONG: Duration = Duration::from_mins(2);

/// A Service that the Go program has made a load balancer for, and what its owner does next.
struct Case {
    wanted: Wanted,
    /// An annotation that was changed or taken away later, without that the Go program did anything.
    later: Option<(&'static str, Value)>,
    /// What the event `LeftAsFound` has; nothing is left where there is none.
    left: Option<String>,
    then: Then,
    /// What lines about it have, too, once the change was made.
    ends: Option<String>,
}

/// What changes, and what the load balancer's lines say of it then.
enum Then {
    /// There is one more port, which is served as the first one is.
    Port,
    /// The annotation has this value; lines about the load balancer or its target groups then have this
    /// text.
    Annotation(&'static str, String, String),
    /// The same for a field of the spec.
    Spec(&'static str, Value, &'static str),
}

impl Case {
    /// A Service with these annotations, named without what all begin with.
    fn named(name: &str, annotations: &[(&str, &str)]) -> Self {
        let wanted = Wanted::named(name);
        let wanted = annotations.iter().fold(wanted, |wanted, (key, value)| {
            wanted.annotation(&format!("{ANNOTATION}{key}"), value)
        });
        Self { wanted, later: None, left: None, then: Then::Port, ends: None }
    }

    /// One that is a Network Load Balancer.
    fn network(name: &str, annotations: &[(&str, &str)]) -> Self {
        let case = Self::named(name, annotations);
        Self { wanted: case.wanted.annotation(&format!("{ANNOTATION}type"), "nlb"), ..case }
    }

    /// With another annotation of the Go program, named without its domain.
    fn annotated(self, key: &str, value: &str) -> Self {
        let key = format!("service.beta.kubernetes.io/{key}");
        Self { wanted: self.wanted.annotation(&key, value), ..self }
    }

    fn spec(self, field: &str, value: Value) -> Self {
        Self { wanted: self.wanted.spec(field, value), ..self }
    }

    fn ports(self, ports: &[u16]) -> Self {
        Self { wanted: self.wanted.ports(ports), ..self }
    }

    /// The annotation has had this value since the Go program looked at it last, or was not applied by
    /// it; `null` takes it away.
    fn later(self, annotation: &'static str, value: Value) -> Self {
        Self { later: Some((annotation, value)), ..self }
    }

    /// This is left as it is by the takeover, which says so.
    fn left(self, text: impl Into<String>) -> Self {
        Self { left: Some(text.into()), ..self }
    }

    fn then(
        self,
        annotation: &'static str,
        value: impl Into<String>,
        shows: impl Into<String>,
    ) -> Self {
        Self { then: Then::Annotation(annotation, value.into(), shows.into()), ..self }
    }

    fn then_spec(self, field: &'static str, value: Value, shows: &'static str) -> Self {
        Self { then: Then::Spec(field, value, shows), ..self }
    }

    /// Once it was changed its lines have this, too.
    fn ends(self, text: impl Into<String>) -> Self {
        Self { ends: Some(text.into()), ..self }
    }

    fn name(&self) -> &str {
        self.wanted.name()
    }

    fn is_network(&self) -> bool {
        self.wanted.said(&format!("{ANNOTATION}type")) == Some("nlb")
    }

    /// What a line has that says that the change was made.
    fn shows(&self) -> String {
        match &self.then {
            Then::Port => "listener 8080 ".to_owned(),
            Then::Annotation(_, _, shows) => shows.clone(),
            Then::Spec(_, _, shows) => (*shows).to_owned(),
        }
    }

    async fn change(&self, world: &World<Aws>) {
        let name = self.name();
        match &self.then {
            Then::Port => {
                let service = world.services().get(name).await.unwrap();
                let mut ports = json!(service.spec.unwrap().ports);
                let protocol = ports[0]["protocol"].clone();
                let more = json!({"name": "more", "port": 8080, "protocol": protocol});
                ports.as_array_mut().unwrap().push(more);
                world.change_service(name, &json!({"spec": {"ports": ports}})).await;
            }
            Then::Annotation(key, value, _) => annotate(world, name, key, json!(value)).await,
            Then::Spec(field, value, _) => {
                let mut patch = json!({"spec": {}});
                patch["spec"][field] = value.clone();
                world.change_service(name, &patch).await;
            }
        }
    }

    /// Whether a line is about what is this Service's alone.
    fn is_about(&self, world: &World<Aws>, service: &SeenService, line: &str) -> bool {
        let short = |text: &str| -> String {
            text.chars().filter(char::is_ascii_alphanumeric).take(8).collect()
        };
        let prefix = format!("k8s-{}-{}-", short(world.namespace()), short(self.name()));
        line.contains(&service.balancer()) || line.contains(&prefix)
    }
}

/// Changes an annotation; `null` takes it away.
async fn annotate(world: &World<Aws>, name: &str, annotation: &str, value: Value) {
    let annotations = json!({format!("{ANNOTATION}{annotation}"): value});
    world.change_service(name, &json!({"metadata": {"annotations": annotations}})).await;
}

/// What lines say of one port of a Service, with what only it has replaced.
fn of_port(lines: &[String], balancer: &str, port: i32, node_port: i32) -> Vec<String> {
    let listener = format!("load balancer {balancer}: listener {port} ");
    let forwards = lines.iter().filter(|line| line.starts_with(&listener));
    let mut groups =
        forwards.filter_map(|line| line.split_once("forward to ")).map(|(_, name)| name);
    let group = groups.next_back().unwrap_or("no target group");
    let (service, range) = (format!("listener {port} "), format!(" {port}-{port} "));
    let node_port = node_port.to_string();
    // Those of the first port alone.
    let is_other = |line: &&String| !line.contains(": health check Healthy");
    let is_about = |line: &&String| {
        // Its name may have any number in it.
        let rest = line.replace(balancer, "");
        line.contains(group)
            || (rest.len() < line.len()
                && [&service, &range, &node_port].into_iter().any(|text| rest.contains(text)))
    };
    let alike = |line: &String| {
        line.replace(group, "GROUP")
            .replace(&service, "listener PORT ")
            .replace(&range, " PORT ")
            .replace(&node_port, "NODE-PORT")
    };
    let mut about: Vec<_> = lines.iter().filter(is_about).filter(is_other).map(alike).collect();
    about.sort();
    about
}

/// Names of all that anybody has in the account.
async fn everything(world: &World<Aws>) -> Vec<String> {
    let mut all = Vec::new();
    for (service, method, list, name) in [
        ("ec2", "describe_security_groups", "SecurityGroups", "GroupId"),
        ("elb", "describe_load_balancers", "LoadBalancerDescriptions", "LoadBalancerName"),
        ("elbv2", "describe_load_balancers", "LoadBalancers", "LoadBalancerArn"),
        ("elbv2", "describe_target_groups", "TargetGroups", "TargetGroupArn"),
    ] {
        let seen = world.cloud.boto(service, method, json!({})).await;
        let seen = seen[list].as_array().unwrap().iter();
        all.extend(seen.map(|it| it[name].as_str().unwrap().to_owned()));
    }
    all.sort();
    all
}

/// What the programs under test have changed since the mark, with what they sent.
async fn changes(world: &World<Aws>, mark: u64) -> Vec<String> {
    let calls = world.cloud.calls(mark).await.into_iter().filter(|call| call.mutates);
    calls.map(|call| format!("{} {:?}", call.action, call.params)).collect()
}

/// One program's work taken over by another.
struct Takeover<'a> {
    world: &'a World<Aws>,
    go: Go,
    setup: Setup,
    /// What bears the cluster's mark before the Go program has made anything, and all names.
    lines: Vec<String>,
    all: Vec<String>,
}

impl<'a> Takeover<'a> {
    async fn of(world: &'a World<Aws>, go: &Go) -> Self {
        let (go, setup) = (go.clone(), Setup::new());
        let (lines, all) = (world.cloud.lines().await, everything(world).await);
        Self { world, go, setup, lines, all }
    }

    /// With these flags.
    fn setup(self, setup: Setup) -> Self {
        Self { setup, ..self }
    }

    /// This is there afterwards, too.
    fn leaves(mut self, line: &str) -> Self {
        self.lines.push(line.to_owned());
        self.lines.sort();
        self
    }

    /// Lays all out, takes it over, changes it, deletes it.
    async fn run(self, cases: &[Case]) {
        self.run_spoilt(cases, async || {}).await;
    }

    /// The same, where something happens between the two programs.
    async fn run_spoilt(self, cases: &[Case], spoil: impl AsyncFnOnce()) {
        self.lay_out(cases).await;
        spoil().await;
        let _ccm = self.take_over().await;
        self.said(cases).await;
        self.changed(cases).await;
        self.comes_back(cases).await;
    }

    /// What the Go program makes, and what came later.
    async fn lay_out(&self, cases: &[Case]) {
        for case in cases {
            self.world.go_served(&self.go, &case.wanted).await;
            if let Some((annotation, value)) = &case.later {
                annotate(self.world, case.name(), annotation, value.clone()).await;
            }
        }
    }

    /// What the plan says would be changed.
    async fn planned(&self) -> Vec<String> {
        in_the_cloud(&self.plan().await)
    }

    async fn plan(&self) -> Value {
        self.world.plan(&self.setup.clone().account(Account::Reading)).await.1
    }

    /// Starts ours, which changes nothing, as the plan has said.
    async fn take_over(&self) -> Ccm {
        assert_eq!(self.planned().await, [""; 0]);
        let ccm = self.world.ccm(&self.setup);
        self.untouched().await;
        ccm
    }

    /// All Services are seen to, and nothing was changed: neither at AWS nor on Nodes.
    async fn untouched(&self) {
        let world = self.world;
        let before = world.cloud.lines().await;
        world.all_ready(LONG).await;
        world.cloud.quiet().await;
        assert_eq!(changes(world, 0).await, [""; 0]);
        assert_eq!(world.cloud.lines().await, before);
        let writes = world.traffic().await.node_writes();
        assert!(writes.is_empty(), "{writes}");
    }

    /// The Services say what was left, and no others do.
    async fn said(&self, cases: &[Case]) {
        for case in cases {
            if let Some(left) = &case.left {
                let said = self.world.service_event(case.name(), "LeftAsFound").await;
                assert!(said.contains(left), "{}: {said}", case.name());
            } else {
                let events = self.world.service_events(case.name()).await;
                let is_left = events.iter().any(|(reason, ..)| reason == "LeftAsFound");
                assert!(!is_left, "{}: {events:?}", case.name());
            }
        }
    }

    /// Each change shows, and the load balancers are marked as ours.
    async fn changed(&self, cases: &[Case]) {
        let world = self.world;
        let before = world.cloud.lines().await;
        for case in cases {
            let (service, shows) = (world.service(case.name()).await, case.shows());
            for shows in [Some(&shows), case.left.as_ref().and(case.ends.as_ref())] {
                let Some(shows) = shows else { continue };
                let mut own = before.iter().filter(|line| case.is_about(world, &service, line));
                assert!(!own.any(|line| line.contains(shows)), "{} has {shows}", case.name());
            }
            case.change(world).await;
        }
        for case in cases {
            let service = world.service(case.name()).await;
            for shows in [Some(case.shows()), case.ends.clone()].into_iter().flatten() {
                let what = format!("{shows} of {}", case.name());
                let is_it =
                    |line: &String| case.is_about(world, &service, line) && line.contains(&shows);
                world.cloud.lines_until(&what, LONG, |lines| lines.iter().any(is_it)).await;
            }
        }
        world.all_ready(LONG).await;
        world.cloud.quiet().await;
        // A security group waits until nothing uses it.
        wait_until("that nothing is left to do", LONG, async || {
            let left = self.planned().await;
            if left.is_empty() { Ok(()) } else { Err(left) }
        })
        .await;
        let lines = world.cloud.lines().await;
        for case in cases {
            let service = world.service(case.name()).await;
            let tags = format!("load balancer {}: tags ", service.balancer());
            let mark = format!("ccm.rs/managed-for={}", service.uid);
            let is_marked = |line: &String| line.contains(&tags) && line.contains(&mark);
            assert!(lines.iter().any(is_marked), "{tags}{mark}: {lines:#?}");
            if matches!(case.then, Then::Port) {
                let ports = [service.ports[0], *service.ports.last().unwrap()];
                let [first, more] = ports
                    .map(|(port, node_port)| of_port(&lines, &service.balancer(), port, node_port));
                assert_eq!(more, first, "the new port of {}", case.name());
            }
        }
    }

    /// Deletes the Services, after which all is as it was.
    async fn comes_back(self, cases: &[Case]) {
        let world = self.world;
        let mut ends = Vec::new();
        for case in cases {
            ends.push((case.name(), world.service(case.name()).await.uid));
            world.end_service(case.name()).await;
        }
        for (name, uid) in ends {
            world.service_gone(name, &uid, LONG).await;
        }
        world.cloud.quiet().await;
        assert_eq!(world.cloud.lines().await, self.lines);
        assert_eq!(everything(world).await, self.all);
    }
}

/// Lays all out, takes it over, changes it, deletes it.
async fn adopt(world: &World<Aws>, go: &Go, cases: &[Case]) {
    Takeover::of(world, go).await.run(cases).await;
}
