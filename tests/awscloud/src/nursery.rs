//! Where fakes come from: a process of ours that has loaded moto once and forks.
//!
//! Loading it takes a second and a half of a processor, and a test binary has a fake for nearly each of its tests.

use std::{
    fs::File,
    io::Write as _,
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
    time::{Duration, Instant},
};

use serde_json::json;
use tokio::sync::Mutex;

use crate::{
    cache,
    environment::{self, tail},
    error::{Context, Error},
    program,
    server::{Folder, POLL, TAIL_LINES},
};

/// How long moto may take to be loaded: two seconds on an idle machine. Whoever asks meanwhile waits, too, and
/// begins anew where it was in vain.
const LOADED: Duration = Duration::from_mins(3);

/// The only one of this process. It is not dropped: it ends with its pipe, which the system closes
/// however we end.
static NURSERY: Mutex<Option<Nursery>> = Mutex::const_new(None);

#[derive(Debug)]
struct Nursery {
    child: Child,
    _pipe: Option<ChildStdin>,
    dir: Folder,
    python: PathBuf,
}

/// A fake that has been asked for.
#[derive(Debug)]
pub(crate) struct Born {
    /// It lives as long as this connection.
    pub(crate) connection: UnixStream,
    /// The Python that it runs on.
    pub(crate) python: PathBuf,
}

/// Asks for a fake in this folder, with these of moto's gaps left as they are. The first of a
/// process waits until moto is loaded, and the first ever until it is installed.
pub(crate) async fn ask(folder: &Path, without: &[&str]) -> Result<Born, Error> {
    let mut nursery = NURSERY.lock().await;
    if let Some(Ok(born)) = nursery.as_ref().map(|nursery| nursery.ask(folder, without)) {
        return Ok(born);
    }
    // There is none yet, or somebody has killed it.
    *nursery = None;
    let started = Nursery::start().await?;
    let born = started.ask(folder, without);
    *nursery = Some(started);
    born.context(|| "asking for a fake AWS".to_owned())
}

impl Nursery {
    fn ask(&self, folder: &Path, without: &[&str]) -> std::io::Result<Born> {
        let asked = json!({ "folder": folder, "without": without });
        let mut connection = UnixStream::connect(self.socket())?;
        writeln!(connection, "{asked}")?;
        Ok(Born { connection, python: self.python.clone() })
    }

    async fn start() -> Result<Self, Error> {
        let prepare = || {
            let cache = cache::folder()?;
            Ok::<_, Error>((environment::python(&cache)?, program::folder(&cache)?))
        };
        let prepared = tokio::task::spawn_blocking(prepare).await;
        let (python, package) = prepared.map_err(|err| Error::Process {
            what: format!("was not prepared: {err}"),
            log: String::new(),
        })??;
        let dir = Folder::new()?;
        let mut command = command(&python, &package, &dir)?;
        let mut child = command.spawn().context(|| format!("starting {}", python.display()))?;
        let pipe = child.stdin.take();
        let mut nursery = Self { child, _pipe: pipe, dir, python };
        let since = Instant::now();
        while !nursery.socket().exists() {
            if let Some(status) = nursery.child.try_wait().ok().flatten() {
                let what = format!("ended with {status} while it was loaded");
                return Err(Error::Process { what, log: nursery.log() });
            }
            if since.elapsed() > LOADED {
                return Err(Error::NotReady { waited: LOADED, log: nursery.log() });
            }
            tokio::time::sleep(POLL).await;
        }
        Ok(nursery)
    }

    fn socket(&self) -> PathBuf {
        self.dir.join("socket")
    }

    fn log(&self) -> String {
        tail(&self.dir.join("log"), TAIL_LINES)
    }
}

impl Drop for Nursery {
    fn drop(&mut self) {
        // Both fail only when it has ended already.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

fn command(python: &Path, package: &Path, dir: &Path) -> Result<Command, Error> {
    let log = dir.join("log");
    let what = || format!("creating {}", log.display());
    let out = File::create(&log).context(what)?;
    let err = out.try_clone().context(what)?;
    let mut command = Command::new(python);
    command
        .args(["-m", "awscloud", "--nursery"])
        .arg(dir.join("socket"))
        // Credentials, proxies and Python's own settings are not for it.
        .env_clear()
        .env("PYTHONPATH", package)
        .env("HOME", dir)
        // Sets come in the same order in every run: addresses are given out from one.
        .env("PYTHONHASHSEED", "0")
        .current_dir(dir)
        .stdin(Stdio::piped())
        .stdout(out)
        .stderr(err);
    Ok(command)
}
