//! `cargo xtask cluster`: a cluster with one real node, to play with.
//!
//! It is in the background, so that the terminal in which it was asked for is free to use it. A process of its own holds
//! it: when that ends, by `down` or by a signal, all of the cluster does.

mod invite;
mod place;

use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

use ccm_node::{Ccm, Cluster, Setup, needs};
use tokio::io::{AsyncBufReadExt as _, AsyncRead, BufReader};
use tokio::sync::oneshot;
use tokio::time::sleep;

use self::place::{Place, Taken};
use crate::out::{Out, took};
use crate::signals::Signals;
use crate::{Error, build};

const IS_UP: &str = "a cluster is up already";

/// What the holder says last.
const READY: &str = "ready";

/// The pause between two looks at what runs.
const LOOK: Duration = Duration::from_secs(1);

/// The pause between two looks at whether the holder has ended.
const POLL: Duration = Duration::from_millis(50);

/// How long the holder may take to end: five programs with 5 s each and a node with 10 s, where none of them listens.
const PATIENCE: Duration = Duration::from_mins(1);

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
    if let Taken::ByAnother = Place::find()?.take()? {
        return Err(format!("{IS_UP}; `cargo xtask cluster down` takes it down").into());
    }
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
    if let Taken::ByUs(_) = place.take()? {
        let why = std::fs::read_to_string(place.ended()).unwrap_or_default();
        match why.trim() {
            "" => out.line("no cluster is up"),
            why => out.line(format_args!("no cluster is up; the last one:\n{why}")),
        }
        return Ok(());
    }
    let holder = place.holder()?;
    if !holder.ask_to_end()? {
        return Err("it is just being brought up or taken down".into());
    }
    while let Taken::ByAnother = place.take()? {
        if since.elapsed() > PATIENCE {
            let pid = holder.pid();
            return Err(format!(
                "process {pid} holds the cluster and has not ended within {PATIENCE:?}; `kill -KILL {pid}` ends it, and \
                 the cluster with it"
            )
            .into());
        }
        sleep(POLL).await;
    }
    out.ok(format_args!("down after {}, and nothing of it is left", took(since.elapsed())));
    Ok(())
}

/// Brings the cluster up, says how to use it, and holds it until a signal comes.
async fn hold(args: Hold, out: Out) -> Result<(), Error> {
    let place = Place::find()?;
    let Taken::ByUs(mut lock) = place.take()? else { return Err(IS_UP.into()) };
    lock.is_ours()?;
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
    invite::invite(&cluster, &manifest, out).await?;
    Ok(cluster)
}
