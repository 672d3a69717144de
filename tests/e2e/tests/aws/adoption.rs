//! What the Go program has made is taken over without a single change, and is ours afterwards: a
//! change works, and the deletion leaves nothing.

mod classic;
mod network;
mod odd;
mod routes;

use std::time::Duration;

use ccm_e2e::{
    ANNOTATION, Account, Aws, Go, SeenService, Setup, Wanted, World, in_the_cloud, wait_until,
};
use serde_json::{Value, json};

/// Bound for many Services on a machine that also compiles.
const LONG: Duration = Duration::from_mins(2);

/// How long nothing is asked of AWS when all passes are over. Longer than what is collected before a
/// pass, and than the pauses of one.
const QUIET: Duration = Duration::from_secs(2);

/// A Service that the Go program has made a load balancer for, and what its owner does next.
struct Case {
    wanted: Wanted,
    then: Then,
}

/// What changes, and what the load balancer's lines say of it then.
enum Then {
    /// There is one more port.
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
        Self { wanted, then: Then::Port }
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

    /// What a line has that says that the change was made.
    fn shows(&self) -> String {
        match &self.then {
            Then::Port => "listener 8080 ".to_owned(),
            Then::Annotation(_, _, shows) => shows.clone(),
            Then::Spec(_, _, shows) => (*shows).to_owned(),
        }
    }

    async fn change(&self, world: &World<Aws>) {
        let name = self.wanted.name();
        match &self.then {
            Then::Port => {
                let service = world.services().get(name).await.unwrap();
                let mut ports = json!(service.spec.unwrap().ports);
                let protocol = ports[0]["protocol"].clone();
                let more = json!({"name": "more", "port": 8080, "protocol": protocol});
                ports.as_array_mut().unwrap().push(more);
                world.change_service(name, &json!({"spec": {"ports": ports}})).await;
            }
            Then::Annotation(annotation, value, _) => {
                let annotations = json!({format!("{ANNOTATION}{annotation}"): value});
                let patch = json!({"metadata": {"annotations": annotations}});
                world.change_service(name, &patch).await;
            }
            Then::Spec(field, value, _) => {
                let mut patch = json!({"spec": {}});
                patch["spec"][field] = value.clone();
                world.change_service(name, &patch).await;
            }
        }
    }

    /// Whether a line is about what is this Service's alone.
    fn is_about(&self, service: &SeenService, line: &str) -> bool {
        let short: String =
            self.wanted.name().chars().filter(char::is_ascii_alphanumeric).take(8).collect();
        line.contains(&balancer(service)) || line.contains(&format!("k8s-default-{short}-"))
    }
}

/// The name of the Service's load balancer.
fn balancer(service: &SeenService) -> String {
    format!("a{}", service.uid.replace('-', "")).chars().take(32).collect()
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

/// Waits until nothing is asked of AWS any more: all passes are over.
async fn quiet(world: &World<Aws>) {
    let mut before = world.cloud.asked(0).await;
    wait_until("that nothing is asked any more", LONG, async || {
        tokio::time::sleep(QUIET).await;
        let now = world.cloud.asked(0).await;
        let was = std::mem::replace(&mut before, now);
        if was == before { Ok(()) } else { Err(before.clone()) }
    })
    .await;
}

/// What is there before the Go program has made anything.
struct Before {
    lines: Vec<String>,
    all: Vec<String>,
}

impl Before {
    async fn of(world: &World<Aws>) -> Self {
        Self { lines: world.cloud.lines().await, all: everything(world).await }
    }

    /// Deletes the Services, after which all is as it was.
    async fn comes_back(self, world: &World<Aws>, cases: &[Case]) {
        let mut ends = Vec::new();
        for case in cases {
            let name = case.wanted.name();
            ends.push((name, world.service(name).await.uid));
            world.end_service(name).await;
        }
        for (name, uid) in ends {
            world.service_gone(name, &uid, LONG).await;
        }
        quiet(world).await;
        assert_eq!(world.cloud.lines().await, self.lines);
        assert_eq!(everything(world).await, self.all);
    }
}

/// Lays all out, takes it over, changes it, deletes it.
async fn adopt(world: &World<Aws>, go: &Go, cases: &[Case]) {
    adopt_beside(world, go, cases, Before::of(world).await).await;
}

/// The same, where something else is to be there afterwards than now.
async fn adopt_beside(world: &World<Aws>, go: &Go, cases: &[Case], before: Before) {
    for case in cases {
        world.go_served(go, &case.wanted).await;
    }
    nothing_planned(world).await;
    let _ccm = world.ccm(&Setup::new());
    untouched(world).await;
    changed(world, cases).await;
    before.comes_back(world, cases).await;
}

/// What the plan says would be changed.
async fn planned(world: &World<Aws>) -> Vec<String> {
    in_the_cloud(&world.plan(&Setup::new().account(Account::Reading)).await.1)
}

/// The plan says that nothing would be changed.
async fn nothing_planned(world: &World<Aws>) {
    assert_eq!(planned(world).await, [""; 0]);
}

/// All Services are seen to, and nothing was changed.
async fn untouched(world: &World<Aws>) {
    let (mark, before) = (world.cloud.mark().await.unwrap(), world.cloud.lines().await);
    world.all_ready(LONG).await;
    quiet(world).await;
    let calls = world.cloud.calls(mark).await.into_iter().filter(|call| call.mutates);
    let calls: Vec<_> = calls.map(|call| format!("{} {:?}", call.action, call.params)).collect();
    assert_eq!(calls, [""; 0]);
    assert_eq!(world.cloud.changed(0).await, [""; 0]);
    assert_eq!(world.cloud.lines().await, before);
}

/// Each change shows, and the load balancers are marked as ours.
async fn changed(world: &World<Aws>, cases: &[Case]) {
    let before = world.cloud.lines().await;
    for case in cases {
        let (service, shows) = (world.service(case.wanted.name()).await, case.shows());
        let mut own = before.iter().filter(|line| case.is_about(&service, line));
        assert!(!own.any(|line| line.contains(&shows)), "{} has {shows}", case.wanted.name());
        case.change(world).await;
    }
    for case in cases {
        let (service, shows) = (world.service(case.wanted.name()).await, case.shows());
        let what = format!("{} of {}", shows, case.wanted.name());
        world
            .cloud
            .lines_until(&what, LONG, |lines| {
                lines.iter().any(|line| case.is_about(&service, line) && line.contains(&shows))
            })
            .await;
    }
    world.all_ready(LONG).await;
    quiet(world).await;
    let lines = world.cloud.lines().await;
    for case in cases {
        let service = world.service(case.wanted.name()).await;
        let tags = format!("load balancer {}: tags ", balancer(&service));
        let mark = format!("ccm.rs/managed-for={}", service.uid);
        let is_marked = |line: &String| line.contains(&tags) && line.contains(&mark);
        assert!(lines.iter().any(is_marked), "{tags}{mark}: {lines:#?}");
    }
    // A security group waits until nothing uses it.
    wait_until("that nothing is left to do", LONG, async || {
        let left = planned(world).await;
        if left.is_empty() { Ok(()) } else { Err(left) }
    })
    .await;
}
