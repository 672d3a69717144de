//! What happens, in order.

use std::time::{Duration, Instant};

use ccm_node::{DAEMON_SET, Error, NODE, PAUSE};
use k8s_openapi::api::core::v1::{Event, Node, Pod, Service};
use kube::{Api, ResourceExt, api::ListParams};
use simcloud::api::{Address, ListPieces, LoadBalancer};

use crate::{
    probes::{Probes, unwell},
    say,
    stage::{NAMESPACE, Stage, took},
};

const UNINITIALIZED: &str = "node.cloudprovider.kubernetes.io/uninitialized";

/// A pod that tolerates nothing.
const PLAIN_POD: &str = r#"{"spec": {"terminationGracePeriodSeconds": 0}}"#;

/// What nobody leads at most when a version is rolled out; 0.6 to 1.8 s were measured. A lease that was not given back
/// takes 15 s to run out.
const VACANCY: Duration = Duration::from_secs(12);

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
    stage
        .until("no node is for a pod that tolerates nothing", async |stage| {
            let status = plain_pod(stage).await?.status.unwrap_or_default();
            let conditions = status.conditions.iter().flatten();
            let is_unschedulable = conditions.into_iter().any(|it| {
                it.type_ == "PodScheduled" && it.reason.as_deref() == Some("Unschedulable")
            });
            let waits = is_unschedulable && status.phase.as_deref() == Some("Pending");
            Ok(if waits { Ok(()) } else { Err(format!("{status:?}")) })
        })
        .await?;

    let since = Instant::now();
    let applied = stage.kubectl.run(&["apply", "-f", stage.manifest()?]).await?;
    let objects = std::fs::read_to_string(stage.manifest()?)?;
    let objects = objects.lines().filter(|line| line.starts_with("kind: ")).count();
    let created = applied.lines().filter(|line| line.ends_with(" created")).count();
    expect(
        objects > 0 && created == objects && applied.lines().count() == objects,
        &format!("{objects} objects are created: {applied}"),
    )?;
    let initialized = stage
        .until("the node is initialised", async |stage| {
            let node = stage.node().await?;
            Ok(if is_tainted(&node) { Err(format!("{:?}", node.spec)) } else { Ok(took(since)) })
        })
        .await?;
    ready_pod(stage, |_| true).await?;
    let ready = took(since);
    stage
        .until("a pod that tolerates nothing runs", async |stage| {
            let phase = plain_pod(stage).await?.status.and_then(|status| status.phase);
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
    let says_so = |line: &str| line.contains("node initialised") && line.contains(NODE);
    expect(
        logs.lines().any(says_so),
        &format!("the log says that the node is initialised: {logs}"),
    )?;
    // Wherever the image has it.
    let program = ["exec", "-n", NAMESPACE, &name, "--", "/proc/1/exe", "--version"];
    let version = stage.kubectl.run(&program).await?;
    let expected = format!("cloud-controller-manager v{} (commit ", env!("CARGO_PKG_VERSION"));
    let commit = version.trim().strip_prefix(&expected).and_then(|rest| rest.strip_suffix(')'));
    let is_expected = match (commit, &stage.commit) {
        (Some(commit), Some(expected)) => commit == expected,
        (Some(_), None) => true,
        (None, _) => false,
    };
    expect(is_expected, &format!("the version of {:?}: {version}", stage.commit))?;
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
    // The first look at whether it lives comes later than its lease.
    let probes = stage
        .until("both probes have been answered", async |stage| {
            let probes = Probes::of(stage).await?;
            let all = ["Liveness", "Readiness"].map(|kind| probes.count(kind, "successful"));
            Ok(if all.iter().all(|&count| count > 0) { Ok(probes) } else { Err(probes.0) })
        })
        .await?;
    expect(probes.count("Liveness", "failed") == 0, &probes.0)?;
    expect(restarts(&ready_pod(stage, |_| true).await?) == 1, "it was restarted once, by us")?;
    say(format_args!(
        "its probes were answered; the first look at whether it lives after {}",
        took(since)
    ));
    Ok(())
}

/// Another version takes over; the lease is given back, so nobody waits for its end.
async fn rolled(stage: &mut Stage) -> Result<(), Error> {
    let before = stage.leader_other_than("").await?;
    let first = image_id(&ready_pod(stage, |_| true).await?)?;
    let next = format!("{}-next", stage.ccm.image()?);
    stage.ccm.import_another(&stage.cluster, &next).await?;
    let since = Instant::now();
    let set = format!("*={next}");
    let daemonset = format!("daemonset/{DAEMON_SET}");
    stage.kubectl.run(&["set", "image", "-n", NAMESPACE, &daemonset, &set]).await?;
    let leader = stage.leader_other_than(&before).await?;
    let leads = took(since);
    let pod = ready_pod(stage, |pod| image_of(pod) == Some(&next)).await?;
    expect(image_id(&pod)? != first, &format!("{first} is another image than before"))?;
    stage.kubectl.run(&["rollout", "status", "-n", NAMESPACE, &daemonset, "--timeout=60s"]).await?;
    let vacancy = stage.vacancy(&leader).ok_or("the lease was given back")?;
    say(format_args!(
        "rolled to another version: it leads after {leads}, is ready after {}; nobody led for {:.2} s",
        took(since),
        vacancy.as_secs_f64()
    ));
    expect(vacancy < VACANCY, "the next one leads without waiting for the lease")
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
    let cloud = stage.cluster.cloud();
    let balancers = cloud.all_pieces::<LoadBalancer>(ListPieces::default()).await?;
    let [balancer] = &balancers[..] else {
        return Err(format!("the cloud has one load balancer: {balancers:?}").into());
    };
    let addresses = cloud.all_pieces::<Address>(ListPieces::default()).await?;
    let of_it = addresses.iter().filter(|it| balancer.addresses.contains(&it.id));
    let of_it: Vec<_> = of_it.map(|it| it.address.to_string()).collect();
    expect(of_it.contains(&address), &format!("{address} is the load balancer's: {of_it:?}"))?;

    let since = Instant::now();
    stage.kubectl.run(&["delete", "service", "web", "--wait"]).await?;
    let left = stage.cluster.cloud().snapshot(&[].into()).await?;
    expect(left == before, &format!("the cloud has what it had before: {left:?}, {before:?}"))?;
    say(format_args!("deleted, and the cloud has nothing of it after {}", took(since)));
    Ok(())
}

/// What one file has brought, the same file takes away.
async fn removed(stage: &mut Stage) -> Result<(), Error> {
    let unwell = unwell(stage).await?;
    expect(unwell.is_empty(), &format!("no probe has failed: {unwell:?}"))?;
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

async fn plain_pod(stage: &Stage) -> Result<Pod, Error> {
    Ok(Api::<Pod>::namespaced(stage.cluster.client(), "default").get("plain").await?)
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

/// The digest of what runs.
fn image_id(pod: &Pod) -> Result<String, Error> {
    let statuses = pod.status.as_ref().and_then(|status| status.container_statuses.as_ref());
    let id = statuses.and_then(|statuses| Some(statuses.first()?.image_id.clone()));
    Ok(id.ok_or("a container that runs has an image")?)
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
