//! The process.

use std::{
    fs::File,
    ops::Deref,
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

use crate::{
    cache,
    console::Console,
    environment::{self, tail},
    error::{Context, Error},
    program,
};

/// How long it may take to come up: two seconds on an idle machine, far more beside a compiler.
const START: Duration = Duration::from_mins(1);

/// Pause between two looks at something that has no event to wait for.
const POLL: Duration = Duration::from_millis(20);

/// Lines of its log in an error.
const TAIL_LINES: usize = 40;

/// A running fake AWS with a state of its own. Ends when it is dropped, and when our process ends.
#[derive(Debug)]
pub struct AwsCloud {
    console: Console,
    child: Child,
    /// It ends when this pipe does, which the system closes however we end.
    _pipe: Option<ChildStdin>,
    dir: PathBuf,
    python: PathBuf,
}

impl AwsCloud {
    /// Starts one. Installs moto first if need be, which takes half a minute and the network; who
    /// has it already waits two seconds.
    pub async fn start() -> Result<Self, Error> {
        Self::start_without(&[]).await
    }

    /// As [`start`](Self::start), with these of moto's gaps left as they are: names of
    /// [corrections](crate::Correction).
    pub async fn start_without(corrections: &[&str]) -> Result<Self, Error> {
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
        let address = dir.join("address");
        let mut command = command(&python, &package, &dir)?;
        command.arg("--folder").arg(&dir);
        for name in corrections {
            command.args(["--without", name]);
        }
        let mut child = command.spawn().context(|| format!("starting {}", python.display()))?;
        let pipe = child.stdin.take();
        // From here on an early return drops it, which ends the process.
        let mut cloud = Self { console: Console::new("")?, child, _pipe: pipe, dir, python };
        let since = Instant::now();
        let url = loop {
            if let Ok(url) = std::fs::read_to_string(&address) {
                break url;
            }
            if let Some(status) = cloud.child.try_wait().ok().flatten() {
                let what = format!("ended with {status}");
                return Err(Error::Process { what, log: cloud.log() });
            }
            if since.elapsed() > START {
                return Err(Error::NotReady { waited: START, log: cloud.log() });
            }
            tokio::time::sleep(POLL).await;
        };
        cloud.console = Console::new(url.trim())?;
        Ok(cloud)
    }

    /// `http://127.0.0.1:<port>`: the endpoint of every service and of the instance metadata.
    pub fn url(&self) -> &str {
        self.console.url()
    }

    /// The test's hand on it.
    pub fn console(&self) -> &Console {
        &self.console
    }

    /// The Python that has moto and boto3, for tests written in it.
    pub fn python(&self) -> &Path {
        &self.python
    }

    /// The last lines that it has written: traces of what moto did not do.
    pub fn log(&self) -> String {
        tail(&self.dir.join("log"), TAIL_LINES)
    }
}

impl Deref for AwsCloud {
    type Target = Console;

    fn deref(&self) -> &Console {
        &self.console
    }
}

impl Drop for AwsCloud {
    fn drop(&mut self) {
        // Both fail only when it has ended already.
        self.child.kill().ok();
        self.child.wait().ok();
        std::fs::remove_dir_all(&self.dir).ok();
    }
}

fn own_folder() -> Result<PathBuf, Error> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let name = format!("ccm-awscloud-{}-{number}", std::process::id());
    let dir = std::env::temp_dir().join(name);
    // Of an earlier process with our number.
    std::fs::remove_dir_all(&dir).ok();
    std::fs::create_dir_all(&dir).context(|| format!("creating {}", dir.display()))?;
    Ok(dir)
}

fn command(python: &Path, package: &Path, dir: &Path) -> Result<Command, Error> {
    let log = dir.join("log");
    let what = || format!("creating {}", log.display());
    let out = File::create(&log).context(what)?;
    let err = out.try_clone().context(what)?;
    let mut command = Command::new(python);
    command
        .args(["-m", "awscloud"])
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
