//! What happens, in order.

use std::time::{Duration, Instant};

use ccm_node::{DAEMON_SET, Error, NODE};
use k8s_openapi::api::core::v1::{Event, Node, Pod, Service};
use kube::{Api, ResourceExt, api::ListParams};
use simcloud::api::{ListPieces, LoadBalancer};

use crate::{
    say,
    stage::{NAMESPACE, Stage, took},
};

const UNINITIALIZED: &str = "node.cloudprovider.kubernetes.io/uninitialized";

/// A pod that tolerates nothing.
const PLAIN_POD: &str = r#"{"spec": {"terminationGracePeriodSeconds": 0}}"#;

/// The image that every node has for its own purposes.
const PAUSE: &str = "ccm-rs.test/pause:1";

pub(crate) async fn all(stage: &mut Stage) -> Result<(), Error> {
    installed(stage).await?;
    looked_into(stage).await?;
    killed(stage).await?;
    rolled(stage).await?;
    asked_for_a_load_balancer(stage).await?;
    removed(stage).await
}

/// The program starts on the node that waits for it, and initialises that very node.
async fn installed(stage: &mut Stage) -> Result<(), Error> {
    let node = stage.node().await?;
    expect(is_tainted(&node), "the node waits for its cloud")?;
    expect(provider_id(&node).is_none(), "the node has no provider ID yet")?;
    let image = format!("--image={PAUSE}");
    let plain = ["run", "plain", &image, "--restart=Never"];
    let overrides = format!("--overrides={PLAIN_POD}");
    stage.kubectl.run(&[&plain[..], &[&overrides]].concat()).await?;

    let since = Instant::now();
    let applied = stage.kubectl.run(&["apply", "-f", stage.manifest()?]).await?;
    expect(applied.lines().all(|line| line.ends_with(" created")), &applied)?;
    let initialized = stage
        .until("the node is initialised", async |stage| {
            let node = stage.node().await?;
            Ok(if is_tainted(&node) { Err(format!("{:?}", node.spec)) } else { Ok(took(since)) })
        })
        .await?;
    let pod = ready_pod(stage, |_| true).await?;
    let ready = took(since);
    expect(restarts(&pod) == 0, "the probes never failed")?;
    stage
        .until("a pod that tolerates nothing runs", async |stage| {
            let pods = Api::<Pod>::namespaced(stage.cluster.client(), "default");
            let phase = pods.get("plain").await?.status.and_then(|status| status.phase);
            Ok(if phase.as_deref() == Some("Running") { Ok(()) } else { Err(format!("{phase:?}")) })
        })
        .await?;
    say(format_args!(
        "applied on the tainted node: initialised after {initialized}, ready after {ready}, a pod without tolerations \
         runs after {}",
        took(since)
    ));

    let node = stage.node().await?;
    let machine = stage.cluster.cloud().all_instances([].into()).await?;
    let machine = machine.iter().find(|it| it.name == NODE).ok_or("the node's machine")?;
    expect(provider_id(&node) == Some(&*format!("sim://{}", machine.id)), "the provider ID")?;
    let address = stage.cluster.node().address().to_string();
    let addresses = node.status.iter().filter_map(|status| status.addresses.as_ref()).flatten();
    let mut internal = addresses.filter(|it| it.type_ == "InternalIP");
    expect(internal.any(|it| it.address == address), "the node's own address")?;
    let label = |key: &str| node.labels().get(key).cloned();
    expect(label("topology.kubernetes.io/zone").as_ref() == Some(&machine.zone), "the zone")?;
    let kind = label("node.kubernetes.io/instance-type");
    expect(kind.as_ref() == Some(&machine.instance_type), "the instance type")?;

    let leader = stage.leader_other_than("").await?;
    stage
        .until("the event that it leads", async |stage| {
            let events = Api::<Event>::namespaced(stage.cluster.client(), NAMESPACE);
            let events = events.list(&ListParams::default()).await?;
            let leads = events.iter().any(|event| {
                event.reason.as_deref() == Some("LeaderElection")
                    && event.message.as_deref().is_some_and(|said| said.contains("became leader"))
            });
            Ok(if leads { Ok(()) } else { Err("none".to_owned()) })
        })
        .await?;
    say(format_args!("{leader} leads, and an event says so"));
    Ok(())
}

/// kubectl reaches the pod through the API server and the kubelet.
async fn looked_into(stage: &mut Stage) -> Result<(), Error> {
    let name = ready_pod(stage, |_| true).await?.name_any();
    let logs = stage.kubectl.run(&["logs", "-n", NAMESPACE, &name]).await?;
    expect(logs.contains(NODE), "the log speaks of the node")?;
    // Wherever the image has it.
    let program = ["exec", "-n", NAMESPACE, &name, "--", "/proc/1/exe", "--version"];
    let version = stage.kubectl.run(&program).await?;
    expect(!version.trim().is_empty(), "it says its version")?;
    say(format_args!(
        "kubectl logs: {} lines; kubectl exec: {}",
        logs.lines().count(),
        version.trim()
    ));
    Ok(())
}

/// A program that is killed comes back, and leads once its own lease has run out.
async fn killed(stage: &mut Stage) -> Result<(), Error> {
    let pod = ready_pod(stage, |_| true).await?;
    let before = stage.leader_other_than("").await?;
    let status = pod.status.as_ref().and_then(|status| status.container_statuses.as_ref());
    let id = status.and_then(|statuses| statuses.first()?.container_id.clone());
    let id = id.ok_or("a running container has an ID")?;
    let id = id.trim_start_matches("containerd://");
    let tasks = stage.cluster.node().run(&["ctr", "--namespace=k8s.io", "tasks", "list"]).await?;
    let pid = tasks.lines().find_map(|line| {
        let mut words = line.split_whitespace();
        (words.next() == Some(id)).then(|| words.next()).flatten()
    });
    let pid = pid.ok_or_else(|| format!("no process of {id}:\n{tasks}"))?;
    let since = Instant::now();
    stage.cluster.node().run(&["sh", "-c", &format!("kill -KILL {pid}")]).await?;
    ready_pod(stage, |pod| restarts(pod) == 1).await?;
    let back = took(since);
    let leader = stage.leader_other_than(&before).await?;
    say(format_args!("killed: ready again after {back}, {leader} leads after {}", took(since)));
    Ok(())
}

/// Another version takes over; the lease is given back, so nobody waits for its end.
async fn rolled(stage: &mut Stage) -> Result<(), Error> {
    let before = stage.leader_other_than("").await?;
    let image = stage.ccm.image()?.to_owned();
    let next = format!("{image}-next");
    stage.cluster.node().tag(&image, &next).await?;
    let since = Instant::now();
    let set = format!("*={next}");
    let daemonset = format!("daemonset/{DAEMON_SET}");
    stage.kubectl.run(&["set", "image", "-n", NAMESPACE, &daemonset, &set]).await?;
    let leader = stage.leader_other_than(&before).await?;
    let leads = took(since);
    ready_pod(stage, |pod| image_of(pod) == Some(&next)).await?;
    stage.kubectl.run(&["rollout", "status", "-n", NAMESPACE, &daemonset, "--timeout=60s"]).await?;
    let vacancy = stage.vacancy(&leader).ok_or("the lease was given back")?;
    say(format_args!(
        "rolled to another version: it leads after {leads}, is ready after {}; nobody led for {:.2} s",
        took(since),
        vacancy.as_secs_f64()
    ));
    // Far below the 15 s that a lease takes to run out.
    expect(vacancy < Duration::from_secs(10), "the next one leads without waiting for the lease")
}

/// A Service gets its address from the cloud, and gives it back.
async fn asked_for_a_load_balancer(stage: &mut Stage) -> Result<(), Error> {
    let before = stage.cluster.cloud().snapshot(&[].into()).await?;
    let since = Instant::now();
    stage.kubectl.run(&["create", "service", "loadbalancer", "web", "--tcp=80"]).await?;
    let address = stage
        .until("the Service has an address", async |stage| {
            let services = Api::<Service>::namespaced(stage.cluster.client(), "default");
            let status = services.get("web").await?.status;
            let ingress = status.clone().and_then(|status| status.load_balancer?.ingress);
            let address = ingress.into_iter().flatten().find_map(|ingress| ingress.ip);
            Ok(address.ok_or_else(|| format!("{status:?}")))
        })
        .await?;
    say(format_args!("a Service has the address {address} after {}", took(since)));
    let balancers = stage.cluster.cloud().all_pieces::<LoadBalancer>(ListPieces::default()).await?;
    expect(balancers.len() == 1, "the cloud has one load balancer")?;

    let since = Instant::now();
    stage.kubectl.run(&["delete", "service", "web", "--wait"]).await?;
    let left = stage.cluster.cloud().snapshot(&[].into()).await?;
    expect(left == before, &format!("the cloud has what it had before: {left:?}, {before:?}"))?;
    say(format_args!("deleted, and the cloud has nothing of it after {}", took(since)));
    Ok(())
}

/// What one file has brought, the same file takes away.
async fn removed(stage: &mut Stage) -> Result<(), Error> {
    let since = Instant::now();
    let manifest = stage.manifest()?.to_owned();
    stage.kubectl.run(&["delete", "-f", &manifest, "--wait"]).await?;
    let left = ["get", "-f", &manifest, "--ignore-not-found", "-o", "name"];
    let left = stage.kubectl.run(&left).await?;
    expect(left.trim().is_empty(), &format!("all objects of the manifest are gone: {left}"))?;
    stage
        .until("its pods are gone", async |stage| {
            let names: Vec<_> = stage.pods().await?.iter().map(ResourceExt::name_any).collect();
            Ok(if names.is_empty() { Ok(()) } else { Err(format!("{names:?}")) })
        })
        .await?;
    let node = stage.node().await?;
    expect(!is_tainted(&node) && provider_id(&node).is_some(), "the node stays as it is")?;
    // The file's order is also that of the removal, in which the rights go before the pod that would give the Lease back.
    let lease = match stage.lease.holder() {
        holder if holder.is_empty() => "nobody holds it".to_owned(),
        holder => format!("{holder} had no right any more to give it back"),
    };
    say(format_args!(
        "removed after {}: all of the manifest and its pods; the Lease stays, and {lease}",
        took(since)
    ));
    Ok(())
}

/// Waits for a pod of the program's that is ready, as wanted, and alone.
async fn ready_pod(stage: &mut Stage, is_wanted: impl Fn(&Pod) -> bool) -> Result<Pod, Error> {
    stage
        .until("one pod that is ready", async |stage| {
            let pods = stage.pods().await?;
            let seen: Vec<_> = pods
                .iter()
                .map(|pod| format!("{}: {:?}", pod.name_any(), pod.status.as_ref().map(summary)))
                .collect();
            let one = <[Pod; 1]>::try_from(pods).ok().map(|[pod]| pod);
            let found = one.filter(|pod| is_ready(pod) && is_wanted(pod));
            Ok(found.ok_or_else(|| seen.join("; ")))
        })
        .await
}

fn summary(status: &k8s_openapi::api::core::v1::PodStatus) -> String {
    let containers = status.container_statuses.iter().flatten();
    let containers: Vec<_> = containers.map(|container| &container.state).collect();
    format!("{:?} {containers:?}", status.phase)
}

fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.iter().filter_map(|status| status.conditions.as_ref()).flatten();
    pod.metadata.deletion_timestamp.is_none()
        && conditions.into_iter().any(|it| it.type_ == "Ready" && it.status == "True")
}

fn restarts(pod: &Pod) -> i32 {
    let statuses = pod.status.as_ref().and_then(|status| status.container_statuses.as_ref());
    statuses.into_iter().flatten().map(|container| container.restart_count).sum()
}

fn image_of(pod: &Pod) -> Option<&String> {
    pod.spec.as_ref()?.containers.first()?.image.as_ref()
}

fn is_tainted(node: &Node) -> bool {
    let taints = node.spec.as_ref().and_then(|spec| spec.taints.as_ref());
    taints.into_iter().flatten().any(|taint| taint.key == UNINITIALIZED)
}

fn provider_id(node: &Node) -> Option<&str> {
    node.spec.as_ref()?.provider_id.as_deref()
}

fn expect(is_so: bool, what: &str) -> Result<(), Error> {
    if is_so { Ok(()) } else { Err(format!("not so: {what}").into()) }
}
