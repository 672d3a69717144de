//! `cargo xtask demo`: a cluster's control plane, a cloud and the cloud-controller-manager, live.
//!
//! Nothing is mocked: etcd, kube-apiserver, the cloud and the cloud-controller-manager are processes
//! of their own. Only kubelets are played.

mod picture;
pub(crate) mod stage;
mod story;
mod viewer;

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use ccm_core::report::Chain;
use simcloud::api::{Instance, InstanceId, RunState};
use tokio::time::sleep;

use self::picture::NodeView;
use self::stage::{METRICS_TOKEN, Programs, Stage};
use self::story::Teller;
use crate::Error;
use crate::out::{Out, Tone, took};
use crate::signals::Signals;

/// Before each chapter of the story. Four lines of text, and there is no hurry.
const TIME_TO_READ: Duration = Duration::from_secs(6);

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// End after the story, with exit code 0 if everything was as expected and 1 if not
    #[arg(long)]
    pub(crate) once: bool,
}

/// Runs the demo.
pub(crate) async fn run(args: Args, out: Out) -> Result<(), Error> {
    let since = Instant::now();
    // Up to here nothing has to be stopped, so signals may do what they always do.
    let programs = Programs::prepare(out).await?;
    let mut signals = Signals::listen()?;
    let mut stage = tokio::select! {
        stage = Stage::set(&programs, out) => stage?,
        () = signals.next() => return Err("interrupted".into()),
    };
    let pause = if args.once { Duration::ZERO } else { TIME_TO_READ };
    let teller = Teller { out, pause };
    let shown = tokio::select! {
        told = story::tell(&mut stage, teller) => match told {
            Ok(()) if args.once => Ok(()),
            Ok(()) => tokio::select! {
                ended = stay(&mut stage, out) => Err(ended),
                () = signals.next() => Ok(()),
            },
            Err(err) => Err(err),
        },
        () = signals.next() => Err("interrupted before the story was over".into()),
    };
    out.heading("Stopping");
    let dir = stage.control_plane.dir().to_owned();
    let stopped = stage.strike().await;
    if stopped.is_ok() {
        let dir = dir.display();
        out.line(format_args!("no process of this demo runs any more, and {dir} is removed"));
    }
    shown?;
    stopped?;
    if args.once {
        out.line("");
        out.ok(format_args!("all was as expected; {} in all", took(since.elapsed())));
    }
    Ok(())
}

/// Keeps everything running and plays the kubelet of each machine that the viewer makes. Ends only
/// when a program does.
async fn stay(stage: &mut Stage, out: Out) -> Error {
    if let Err(err) = invite(stage, out) {
        return err;
    }
    let mut booted: BTreeSet<InstanceId> = BTreeSet::new();
    let nodes = stage.picture().nodes;
    loop {
        // The cloud may be made to fail by the viewer; then there is just nothing new.
        let machines = stage.console.all_instances([].into()).await.unwrap_or_default();
        for machine in machines {
            let played = play(stage, &machine, &nodes, &mut booted).await;
            if let Err(err) = played {
                let text = format_args!("{}: {}", machine.name, Chain(&*err)).to_string();
                out.line(out.paint(Tone::Bad, text));
            }
        }
        tokio::select! {
            ended = stage.ended() => return ended,
            () = sleep(Duration::from_secs(1)) => {}
        }
    }
}

/// Plays the kubelet of one machine: it registers once, and is heard of while the machine runs.
async fn play(
    stage: &Stage,
    machine: &Instance,
    first: &BTreeMap<String, NodeView>,
    booted: &mut BTreeSet<InstanceId>,
) -> Result<(), Error> {
    let runs = machine.state == RunState::Running;
    if runs && booted.insert(machine.id.clone()) && !first.contains_key(&machine.name) {
        return stage.boot(machine).await;
    }
    let picture = stage.picture();
    let own = format!("sim://{}", machine.id);
    let node = picture.nodes.get(&machine.name);
    match node.filter(|node| node.provider_id.as_deref() == Some(&own)) {
        Some(node) if node.ready == "True" && !runs => stage.silence(machine).await,
        Some(node) if node.ready != "True" && runs => stage.wake(machine).await,
        Some(_) | None => Ok(()),
    }
}

/// Says how to look around.
fn invite(stage: &Stage, out: Out) -> Result<(), Error> {
    let dir = stage.control_plane.dir().display();
    let url = stage.console.url();
    let metrics = &stage.metrics_url;
    let kubeconfig = stage.kubeconfig.display();
    let env = stage.write(
        "env",
        &format!(
            r#"export KUBECONFIG="{kubeconfig}"
demo_cloud() {{ demo_token=$1 demo_path=$2; shift 2; curl -sS -H "Authorization: Bearer $(cat "{dir}/$demo_token")" "{url}/$demo_path" "$@"; echo; }}
cloud() {{ demo_call=$1; shift; demo_cloud operator.token "v1/$demo_call" "$@"; }}
control() {{ demo_call=$1; shift; demo_cloud control.token "control/$demo_call" "$@"; }}
metrics() {{ curl -sS --insecure -H "Authorization: Bearer $(cat "{dir}/{METRICS_TOKEN}")" {metrics}; }}
"#
        ),
    )?;
    let first = stage.picture().nodes.values().find_map(|node| node.provider_id.clone());
    let id = first.as_deref().and_then(|id| id.strip_prefix("sim://")).unwrap_or("<ID>").to_owned();
    out.heading("It stays up until Ctrl-C, and goes on showing what changes");
    out.line(format_args!("kubeconfig: {kubeconfig}"));
    out.line(format_args!("log:        {}", stage.log().display()));
    out.line("");
    out.line("In another terminal, to look around:");
    out.line("");
    out.line(format_args!("  . {}", env.display()));
    out.line("  kubectl get nodes -o wide");
    out.line("  kubectl get nodes -L topology.kubernetes.io/zone,node.kubernetes.io/instance-type");
    out.line("  kubectl get services");
    out.line("  kubectl get events");
    out.line("  metrics | grep ccm_");
    out.line("");
    out.line("and to change something:");
    out.line("");
    let try_this = [
        (r#"cloud instances -d '{"name": "mine"}'"#.to_owned(), "a machine joins"),
        (
            format!(r#"cloud instances/{id} -X PATCH -d '{{"instance_type": "sim.large"}}'"#),
            "a label follows",
        ),
        (format!("cloud instances/{id}/stop -X POST"), "a node is tainted"),
        (format!("cloud instances/{id}/terminate -X POST"), "a node is deleted"),
        ("control tokens/ccm/revoke -X POST".to_owned(), "the cloud says no"),
        ("control tokens/ccm/restore -X POST".to_owned(), "and yes again"),
        ("kubectl create service loadbalancer web --tcp=80".to_owned(), "a load balancer is made"),
        ("kubectl annotate service web sim.ccm.rs/internal=maybe".to_owned(), "a mistake is told"),
        ("control snapshot".to_owned(), "what load balancers are made of"),
        ("control calls".to_owned(), "what the cloud was asked"),
    ];
    for (command, what) in try_this {
        out.line(format_args!("  {command}  {}", out.paint(Tone::Dim, format_args!("# {what}"))));
    }
    out.line("");
    out.text(
        "`cargo xtask kubectl` stands in for kubectl: it takes the one on PATH if that is within \
         one minor version of this API server, and builds one otherwise (about a minute, once).",
    );
    out.line("");
    Ok(())
}
