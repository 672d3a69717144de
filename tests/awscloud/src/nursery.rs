//! Where fakes come from: a process of ours that has loaded moto once and forks.
//!
//! Loading it takes a second and a half of a processor, and a test binary has a fake for nearly each of its tests.

use std::{
    fs::File,
    io::Write as _,
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
    time::Instant,
};

use serde_json::json;
use tokio::sync::Mutex;

use crate::{
    cache,
    environment::{self, tail},
    error::{Context, Error},
    program,
    server::{POLL, START, TAIL_LINES, own_folder},
};

/// The only one of this process. It is not dropped: it ends with its pipe, which the system closes
/// however we end.
static NURSERY: Mutex<Option<Nursery>> = Mutex::const_new(None);

#[derive(Debug)]
struct Nursery {
    child: Child,
    _pipe: Option<ChildStdin>,
    dir: PathBuf,
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
    let has_ended = |it: &mut Nursery| it.child.try_wait().is_ok_and(|status| status.is_some());
    // Somebody may have killed it.
    if nursery.as_mut().is_some_and(has_ended) {
        *nursery = None;
    }
    let nursery = match &mut *nursery {
        Some(nursery) => nursery,
        none => none.insert(Nursery::start().await?),
    };
    let asked = json!({ "folder": folder, "without": without });
    let connect = || {
        let mut connection = UnixStream::connect(nursery.socket())?;
        writeln!(connection, "{asked}")?;
        Ok(connection)
    };
    let connection = connect().context(|| "asking for a fake AWS".to_owned())?;
    Ok(Born { connection, python: nursery.python.clone() })
}

impl Nursery {
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
        let dir = own_folder()?;
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
            if since.elapsed() > START {
                return Err(Error::NotReady { waited: START, log: nursery.log() });
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
        std::fs::remove_dir_all(&self.dir).ok();
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
