//! `cargo xtask cluster`: a cluster with one real node, to play with.
//!
//! It is in the background, so that the terminal in which it was asked for is free to use it. A process of its own holds
//! it: when that ends, by `down` or by a signal, all of the cluster does.

use std::fs::{File, TryLockError};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use ccm_node::{Ccm, Cluster, NODE, Setup, needs};
use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt as _, AsyncRead, BufReader};
use tokio::sync::oneshot;
use tokio::time::sleep;

use crate::out::{Out, Tone, took};
use crate::signals::Signals;
use crate::{Error, build};

/// What the holder says last.
const READY: &str = "ready";

/// The pause between two looks at what runs.
const LOOK: Duration = Duration::from_secs(1);

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Bring it up; it stays up until `down`
    Up(Up),
    /// Take it down
    Down,
    /// Hold it, as `up` asks for it
    #[command(hide = true)]
    Hold(Hold),
}

#[derive(Debug, clap::Args)]
pub(crate) struct Up {
    #[command(flatten)]
    given: Given,
}

#[derive(Debug, clap::Args)]
struct Given {
    /// An OCI archive with the cloud-controller-manager's image, instead of one that is made from this folder
    #[arg(long, value_name = "FILE.tar")]
    image: Option<PathBuf>,
    /// The manifest that is filled in for this cluster
    #[arg(long, value_name = "FILE")]
    manifest: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Hold {
    #[command(flatten)]
    given: Given,
    #[arg(long)]
    manager: PathBuf,
    #[arg(long)]
    simcloud: PathBuf,
}

pub(crate) async fn run(command: Command, out: Out) -> Result<(), Error> {
    match command {
        Command::Up(args) => up(args, out).await,
        Command::Down => down(out).await,
        Command::Hold(args) => hold(args, out).await,
    }
}

/// Builds what is needed and starts a process that holds the cluster.
async fn up(args: Up, out: Out) -> Result<(), Error> {
    let missing = needs::missing();
    if !missing.is_empty() {
        let words: Vec<_> = missing.iter().map(ToString::to_string).collect();
        let packages = needs::packages(&missing);
        let how = if packages.is_empty() {
            String::new()
        } else {
            format!("; apt-get install {}", packages.join(" "))
        };
        return Err(format!("a real node needs {}{how}", words.join(", ")).into());
    }
    drop(Place::find()?.take()?);
    let since = Instant::now();
    let built = build::programs(&["cloud-controller-manager", "simcloud"], &[]).await?;
    let program = |name: &str| built.get(name).ok_or_else(|| format!("cargo built no {name}"));
    let mut command = tokio::process::Command::new(std::env::current_exe()?);
    command.args(["cluster", "hold", "--manager"]).arg(program("cloud-controller-manager")?);
    command.arg("--simcloud").arg(program("simcloud")?);
    for (flag, file) in [("--image", args.given.image), ("--manifest", args.given.manifest)] {
        if let Some(file) = file {
            command.arg(flag).arg(
                file.canonicalize().map_err(|err| format!("{flag} {}: {err}", file.display()))?,
            );
        }
    }
    // What the terminal sends is for us. If we end too early, the pipe tells it so.
    let mut holder = command
        .process_group(0)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let stderr = holder.stderr.take().ok_or("it was asked for")?;
    let said = tokio::spawn(copy(stderr, out));
    let stdout = holder.stdout.take().ok_or("it was asked for")?;
    if copy(stdout, out).await {
        out.ok(format_args!("up after {}", took(since.elapsed())));
        return Ok(());
    }
    said.await?;
    Err(format!("the cluster is not up ({})", holder.wait().await?).into())
}

/// Repeats lines, and says whether the last of them was that it is ready.
async fn copy(from: impl AsyncRead + Unpin, out: Out) -> bool {
    let mut lines = BufReader::new(from).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        if line == READY {
            return true;
        }
        out.line(line);
    }
    false
}

/// Asks the holder to end and waits until it has.
async fn down(out: Out) -> Result<(), Error> {
    let place = Place::find()?;
    let since = Instant::now();
    match place.take() {
        Ok(_) => {
            let why = std::fs::read_to_string(place.ended()).unwrap_or_default();
            out.line(format_args!(
                "no cluster is up{}",
                if why.is_empty() { "" } else { "; the last one: " }
            ));
            out.line(why.trim());
            return Ok(());
        }
        Err(_) => kill_process(place.holder()?, Signal::TERM)?,
    }
    while place.take().is_err() {
        sleep(Duration::from_millis(50)).await;
    }
    out.ok(format_args!("down after {}, and nothing of it is left", took(since.elapsed())));
    Ok(())
}

/// Brings the cluster up, says how to use it, and holds it until a signal comes.
async fn hold(args: Hold, out: Out) -> Result<(), Error> {
    let place = Place::find()?;
    let mut lock = place.take()?;
    lock.set_len(0)?;
    writeln!(lock, "{}", std::process::id())?;
    std::fs::remove_file(place.ended()).ok();
    let mut signals = Signals::listen()?;
    let mut cluster = tokio::select! {
        cluster = start(&args, out) => cluster?,
        () = signals.next() => return Err("interrupted".into()),
        () = nobody_waits() => return Err("interrupted".into()),
    };
    out.line(READY);
    let why = loop {
        tokio::select! {
            () = signals.next() => break None,
            () = sleep(LOOK) => {}
        }
        if let Err(err) = cluster.expect_running() {
            break Some(err);
        }
    };
    let stopped = cluster.stop().await;
    let ended = why.map_or(stopped, Err);
    if let Err(err) = &ended {
        // Nobody reads what we say any more.
        std::fs::write(place.ended(), format!("{err:?}\n"))?;
    }
    ended
}

/// Returns when `up` has ended, which is too early while the cluster is not up.
async fn nobody_waits() {
    let (ended, end) = oneshot::channel();
    // A thread that nobody waits for: it may stay in the read for as long as we live.
    std::thread::spawn(move || {
        std::io::copy(&mut std::io::stdin(), &mut std::io::sink()).ok();
        ended.send(()).ok();
    });
    end.await.ok();
}

async fn start(args: &Hold, out: Out) -> Result<Cluster, Error> {
    let cluster = Cluster::start(&Setup { simcloud: args.simcloud.clone() }).await?;
    let Given { image, manifest } = &args.given;
    let ccm = Ccm::of(image.as_deref(), manifest.as_deref(), &args.manager, cluster.dir())?;
    ccm.import(&cluster).await?;
    let manifest = ccm.fill_in(&cluster)?;
    invite(&cluster, &manifest, out).await?;
    Ok(cluster)
}

/// Says how to look around.
async fn invite(cluster: &Cluster, manifest: &Path, out: Out) -> Result<(), Error> {
    let (dir, url) = (cluster.dir().display(), cluster.cloud().url());
    let kubeconfig = cluster.kubeconfig().display();
    let enter = cluster.node().enter();
    let machine = cluster.cloud().all_instances([].into()).await?;
    let machine = machine.first().map(|machine| machine.id.to_string()).unwrap_or_default();
    let env = cluster.dir().join("env");
    std::fs::write(
        &env,
        format!(
            r#"export KUBECONFIG="{kubeconfig}"
cluster_cloud() {{ cluster_token=$1 cluster_path=$2; shift 2; curl -sS -H "Authorization: Bearer $(cat "{dir}/cloud/$cluster_token")" "{url}/$cluster_path" "$@"; echo; }}
cloud() {{ cluster_call=$1; shift; cluster_cloud operator.token "v1/$cluster_call" "$@"; }}
control() {{ cluster_call=$1; shift; cluster_cloud control.token "control/$cluster_call" "$@"; }}
node() {{ {enter} "$@"; }}
"#
        ),
    )?;
    let manifest = manifest.display();
    out.heading(
        "A cluster with one node, which waits for its cloud, until `cargo xtask cluster down`",
    );
    out.line(format_args!("kubeconfig: {kubeconfig}"));
    out.line(format_args!("logs:       {dir}"));
    out.line("");
    out.line(format_args!("  . {}", env.display()));
    let try_this = [
        (format!("kubectl describe node {NODE}"), "nothing runs on it yet: see its taint"),
        (format!("kubectl apply -f {manifest}"), "the image is there already"),
        ("kubectl get nodes -o wide".to_owned(), "the node has what the cloud says of it"),
        ("kubectl get pods -A -o wide".to_owned(), "it runs on the node that it has initialised"),
        ("kubectl logs -n kube-system ds/cloud-controller-manager".to_owned(), ""),
        ("kubectl create service loadbalancer web --tcp=80".to_owned(), "a load balancer is made"),
        ("kubectl get services".to_owned(), "and its address"),
        ("control snapshot".to_owned(), "what it is made of"),
        (
            format!("cloud instances/{machine}/stop -X POST; node pkill -STOP kubelet"),
            "a machine that stops: tainted within a minute",
        ),
        (
            format!("cloud instances/{machine}/start -X POST; node pkill -CONT kubelet"),
            "and is back",
        ),
        ("node ps ax".to_owned(), "what runs on the node"),
        (
            "node ctr -n k8s.io images import FILE.tar".to_owned(),
            "another image; there is no registry",
        ),
        (format!("kubectl delete -f {manifest}"), "all of it goes"),
    ];
    for (command, what) in try_this {
        let what = if what.is_empty() { String::new() } else { format!("  # {what}") };
        out.line(format_args!("  {command}{}", out.paint(Tone::Dim, what)));
    }
    out.line("");
    out.text("`cargo xtask kubectl` stands in for a kubectl that is missing or too old.");
    Ok(())
}

/// Where it is said which process holds a cluster.
///
/// The file is locked as long as that process lives, however it ends: the number in it is then nobody else's.
#[derive(Debug)]
struct Place(PathBuf);

impl Place {
    fn find() -> Result<Self, Error> {
        let folder = |name| std::env::var_os(name).map(PathBuf::from).filter(|it| it.is_absolute());
        let cache = folder("XDG_CACHE_HOME").or_else(|| Some(folder("HOME")?.join(".cache")));
        let cache = cache.ok_or("neither XDG_CACHE_HOME nor HOME says where to note what is up")?;
        let place = cache.join("ccm-rs").join("cluster");
        std::fs::create_dir_all(&place)?;
        Ok(Self(place))
    }

    /// Takes the lock, if no cluster is up.
    fn take(&self) -> Result<File, Error> {
        let path = self.0.join("holder");
        let file = File::options().write(true).create(true).truncate(false).open(&path)?;
        match file.try_lock() {
            Ok(()) => Ok(file),
            Err(TryLockError::WouldBlock) => {
                Err("a cluster is up already; `cargo xtask cluster down` takes it down".into())
            }
            Err(TryLockError::Error(err)) => {
                Err(format!("locking {}: {err}", path.display()).into())
            }
        }
    }

    /// To be asked while somebody has the lock.
    fn holder(&self) -> Result<Pid, Error> {
        let text = std::fs::read_to_string(self.0.join("holder"))?;
        let pid = text.trim().parse().ok().and_then(Pid::from_raw);
        pid.ok_or_else(|| "it is just being brought up or taken down".into())
    }

    /// Why the last one ended by itself.
    fn ended(&self) -> PathBuf {
        self.0.join("ended")
    }
}
