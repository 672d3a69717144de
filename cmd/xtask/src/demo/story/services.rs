//! The chapters about Services.

use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::Service;
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use serde_json::{Value, json};
use simcloud::api::{
    Address, Instance, ListPieces, Listener, OWNER_TAG, Piece, Quota, SettingsPatch, TargetGroup,
};
use simcloud::console::{Console, ConsoleError};

use super::super::picture::Picture;
use super::super::picture::service::ServiceView;
use super::super::stage::{Stage, is_initialized};
use super::{SOON, Teller, machine};
use crate::Error;
use crate::out::{Out, took};

/// A Service whose load balancer the cloud refuses is tried again after five seconds, then ten.
const TRIED_AGAIN: Duration = Duration::from_secs(45);

/// A mistake that is easily made: the path of a health check without the slash.
const HEALTH_CHECK_PATH: &str = "sim.ccm.rs/health-check-path";

/// Tells the chapters about Services.
pub(super) async fn tell(
    stage: &mut Stage,
    teller: Teller,
    machines: &mut Vec<Instance>,
) -> Result<(), Error> {
    let web = address(stage, teller).await?;
    port(stage, teller, &web).await?;
    machines.push(targets(stage, teller, &web).await?);
    mistake(stage, teller).await?;
    quota(stage, teller).await?;
    deletion(stage, teller).await
}

/// A Service of the demo.
struct Made {
    name: &'static str,
    uid: String,
}

impl Made {
    /// Its pieces of one kind in the cloud.
    async fn pieces<P: Piece>(&self, console: &Console) -> Result<Vec<P>, ConsoleError> {
        let tags = [(OWNER_TAG.to_owned(), self.uid.clone())].into();
        console.all_pieces(ListPieces::tagged(tags)).await
    }
}

fn services(stage: &Stage) -> Api<Service> {
    Api::namespaced(stage.control_plane.admin_client(), "default")
}

async fn make(stage: &Stage, name: &'static str, annotations: Value) -> Result<Made, Error> {
    let service = serde_json::from_value(json!({
        "metadata": {"name": name, "annotations": annotations},
        "spec": {
            "type": "LoadBalancer",
            "selector": {"app": name},
            "ports": [{"port": 80, "protocol": "TCP"}],
        },
    }))?;
    let made = services(stage).create(&PostParams::default(), &service).await?;
    Ok(Made { name, uid: made.metadata.uid.unwrap_or_default() })
}

async fn patch(stage: &Stage, name: &str, patch: Value) -> Result<(), Error> {
    services(stage).patch(name, &PatchParams::default(), &Patch::Merge(patch)).await?;
    Ok(())
}

/// What a Service shows once all is well.
fn is_served(service: &ServiceView) -> bool {
    service.is_ready() && service.held && !service.addresses.is_empty()
}

fn serves(name: &'static str) -> impl Fn(&Picture) -> bool {
    move |picture: &Picture| picture.services.get(name).is_some_and(is_served)
}

/// Whether the condition and an event say so.
fn pends(name: &'static str, reason: &'static str) -> impl Fn(&Picture) -> bool {
    move |picture: &Picture| {
        let Some(service) = picture.services.get(name) else { return false };
        let is_said = picture
            .events
            .iter()
            .any(|said| said.warning && said.about.0 == "Service" && said.about.1 == name);
        let ready = service.ready.as_ref();
        let is_told = ready.is_some_and(|ready| ready.status == "False" && ready.reason == reason);
        is_said && is_told && service.addresses.is_empty()
    }
}

async fn address(stage: &mut Stage, teller: Teller) -> Result<Made, Error> {
    let text = "\
        A Service of type LoadBalancer is made. First it gets a finalizer: nothing is made in the cloud \
         for a Service that could vanish meanwhile. Then the cloud gets an address, a load balancer, a \
         target group with all nodes, a listener, and at last a rule in the firewall that all Services \
         share. Its address is told when clients can use it.";
    teller.chapter("9. A Service gets its address", text).await;
    let since = Instant::now();
    let web = make(stage, "web", json!({})).await?;
    stage.expect("the Service has its address and is ready", SOON, serves(web.name)).await?;
    let took = took(since.elapsed());
    let addresses = web.pieces::<Address>(&stage.console).await?;
    let of_cloud: Vec<_> = addresses.iter().map(|it| it.address.to_string()).collect();
    let shown = stage.picture().services.get(web.name).map(|it| it.addresses.clone());
    if shown.as_ref() != Some(&of_cloud) {
        return Err(format!("the Service says {shown:?}, and the cloud has {of_cloud:?}").into());
    }
    let nodes = stage.picture().nodes.len() as u64;
    let targets = counts(&web.pieces(&stage.console).await?);
    if targets != [nodes] {
        return Err(format!("{nodes} nodes, and targets by group: {targets:?}").into());
    }
    let address = of_cloud.join(", ");
    teller.out.ok(format_args!("web is reached at {address}, {took} after it was made"));
    Ok(web)
}

fn counts(groups: &[TargetGroup]) -> Vec<u64> {
    groups.iter().map(|group| group.target_count).collect()
}

async fn port(stage: &mut Stage, teller: Teller, web: &Made) -> Result<(), Error> {
    let text = "\
        The port is to be 8080. What differs is changed and nothing else: the address stays, the new \
         listener is there before the old one goes, and the firewall is opened before it is closed.";
    teller.chapter("10. A port changes", text).await;
    let before = stage.picture().services.get(web.name).map(|it| it.addresses.clone());
    let since = Instant::now();
    let ports = json!([{"op": "replace", "path": "/spec/ports/0/port", "value": 8080}]);
    let ports = serde_json::from_value(ports)?;
    let change = Patch::<()>::Json(ports);
    services(stage).patch(web.name, &PatchParams::default(), &change).await?;
    let moved = async |console: &Console| {
        let listeners: Vec<Listener> = web.pieces(console).await?;
        Ok(listeners.iter().map(|it| it.port.get()).eq([8080]))
    };
    stage.expect_in_cloud("one listener, at 8080", SOON, moved).await?;
    let took = took(since.elapsed());
    stage.expect("the Service is ready again", SOON, serves(web.name)).await?;
    if stage.picture().services.get(web.name).map(|it| it.addresses.clone()) != before {
        return Err("the address has changed with the port".into());
    }
    teller.out.ok(format_args!("web is reached at 8080, {took} after the change"));
    Ok(())
}

async fn targets(stage: &mut Stage, teller: Teller, web: &Made) -> Result<Instance, Error> {
    let text = "\
        A new node is not a target before it is initialised. One that comes alone is one within two \
         seconds; a burst of them is one change for each load balancer.";
    teller.chapter("11. A node joins the targets", text).await;
    let machine = stage.console.create_instance(&machine(6)).await?;
    stage.boot(&machine).await?;
    let done = |picture: &Picture| is_initialized(picture, &machine);
    stage.expect("the new node is as the cloud says", SOON, done).await?;
    let since = Instant::now();
    let nodes = stage.picture().nodes.len() as u64;
    let all = async |console: &Console| Ok(counts(&web.pieces(console).await?) == [nodes]);
    stage.expect_in_cloud("every node is a target", SOON, all).await?;
    let took = took(since.elapsed());
    let said = |picture: &Picture| {
        let about = ("Service".to_owned(), web.name.to_owned());
        let is_said = |reason: &str| reason == "UpdatedLoadBalancer";
        picture.events.iter().any(|said| said.about == about && is_said(&said.reason))
    };
    stage.expect("an event on the Service says so", SOON, said).await?;
    teller.out.ok(format_args!("{} is a target, {took} after it was initialised", machine.name));
    Ok(machine)
}

async fn mistake(stage: &mut Stage, teller: Teller) -> Result<(), Error> {
    let text = format!(
        "Another Service has the annotation {HEALTH_CHECK_PATH}, and its slash was forgotten. Nobody \
         has to read our log: what is wrong, and what is accepted, stands on the Service. Web is not \
         touched. Then the slash is added."
    );
    teller.chapter("12. A Service that stays pending, and why", &text).await;
    let shop = make(stage, "shop", json!({HEALTH_CHECK_PATH: "healthy"})).await?;
    let told = pends(shop.name, "InvalidSpec");
    stage.expect("the Service says InvalidSpec, by condition and event", SOON, told).await?;
    describe(stage, teller.out, shop.name);
    let picture = stage.picture();
    let ready = picture.services.get(shop.name).and_then(|it| it.ready.as_ref());
    let words = ready.map(|ready| ready.message.as_str()).unwrap_or_default();
    if ![HEALTH_CHECK_PATH, "healthy", "begins with /"].iter().all(|word| words.contains(word)) {
        return Err(format!("the condition does not say key, value and remedy: {words}").into());
    }
    let since = Instant::now();
    let mended = json!({"metadata": {"annotations": {HEALTH_CHECK_PATH: "/healthy"}}});
    patch(stage, shop.name, mended).await?;
    stage.expect("the Service has its address and is ready", SOON, serves(shop.name)).await?;
    teller.out.ok(format_args!(
        "shop said what was wrong; {} after that was put right it had its address",
        took(since.elapsed())
    ));
    Ok(())
}

async fn quota(stage: &mut Stage, teller: Teller) -> Result<(), Error> {
    let text = "\
        The account may have two addresses and no more, and both are in use. A third Service says so, and \
         what can be done. The quota is raised; nobody has to tell the cloud-controller-manager, for it \
         tries again after five seconds, then ten.";
    teller.chapter("13. The quota is used up", text).await;
    set_quota(stage, 2).await?;
    let late = make(stage, "late", json!({})).await?;
    let told = pends(late.name, "QuotaExceeded");
    stage.expect("the Service says QuotaExceeded, by condition and event", SOON, told).await?;
    describe(stage, teller.out, late.name);
    let since = Instant::now();
    set_quota(stage, 100).await?;
    stage.expect("the Service has its address", TRIED_AGAIN, serves(late.name)).await?;
    teller.out.ok(format_args!(
        "late has its address, {} after the quota was raised",
        took(since.elapsed())
    ));
    Ok(())
}

async fn set_quota(stage: &Stage, addresses: u64) -> Result<(), Error> {
    let quotas = Some([(Quota::Addresses, addresses)].into());
    stage.console.change_settings(&SettingsPatch { quotas, ..SettingsPatch::default() }).await?;
    Ok(())
}

async fn deletion(stage: &mut Stage, teller: Teller) -> Result<(), Error> {
    let text = "\
        Each Service is held by its finalizer until the cloud has been looked at and shows nothing of it. \
         The last one takes the shared firewall along.";
    teller.chapter("14. The Services are deleted", text).await;
    let names: Vec<_> = stage.picture().services.into_keys().collect();
    let since = Instant::now();
    for name in &names {
        services(stage).delete(name, &DeleteParams::default()).await?;
    }
    let gone = |picture: &Picture| picture.services.is_empty();
    stage.expect("the Services are gone", SOON, gone).await?;
    let mut left = stage.console.snapshot(&[].into()).await?.pieces;
    // The nodes are there still.
    left.retain(|line| !line.starts_with("route "));
    if !left.is_empty() {
        return Err(format!("left in the cloud:\n  {}", left.join("\n  ")).into());
    }
    teller.out.ok(format_args!(
        "{} are gone, and nothing of them is left in the cloud, after {}",
        names.join(", "),
        took(since.elapsed())
    ));
    Ok(())
}

/// The end of what `kubectl describe service` shows, and the condition, which it does not.
fn describe(stage: &Stage, out: Out, name: &str) {
    let picture = stage.picture();
    out.line(format_args!("\n  $ kubectl describe service {name}\n  …\n  Events:"));
    let about = ("Service".to_owned(), name.to_owned());
    for said in picture.events.iter().filter(|said| said.about == about) {
        let kind = if said.warning { "Warning" } else { "Normal" };
        out.line(format_args!("    {kind:<8} {:<24} {}", said.reason, said.message));
    }
    let ready = picture.services.get(name).and_then(|service| service.ready.as_ref());
    if let Some(ready) = ready {
        out.line(format_args!(
            "\n  $ kubectl get service {name} -o jsonpath='{{.status.conditions}}'\n  {ready}\n"
        ));
    }
}
