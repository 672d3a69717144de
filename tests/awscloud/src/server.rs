//! The process.

use std::{
    io::{ErrorKind, Read as _},
    net::Shutdown,
    ops::Deref,
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

use crate::{
    console::Console,
    environment::tail,
    error::{Context, Error},
    nursery,
};

/// How long it may take to come up: two seconds on an idle machine, far more beside a compiler.
pub(crate) const START: Duration = Duration::from_mins(1);

/// How long its end is waited for. It takes milliseconds.
const END: Duration = Duration::from_secs(10);

/// Pause between two looks at something that has no event to wait for.
pub(crate) const POLL: Duration = Duration::from_millis(20);

/// Lines of its log in an error.
pub(crate) const TAIL_LINES: usize = 40;

/// A running fake AWS with a state of its own. Ends when it is dropped, and when our process ends.
#[derive(Debug)]
pub struct AwsCloud {
    console: Console,
    /// It ends when this does, which the system closes however we end.
    connection: UnixStream,
    dir: Folder,
    python: PathBuf,
}

impl AwsCloud {
    /// Starts one. Installs moto first if need be, which takes half a minute and the network; who
    /// has it already waits two seconds for the first of a process, and less than half a second for
    /// the others.
    pub async fn start() -> Result<Self, Error> {
        Self::start_without(&[]).await
    }

    /// As [`start`](Self::start), with these of moto's gaps left as they are: names of
    /// [corrections](crate::Correction).
    pub async fn start_without(corrections: &[&str]) -> Result<Self, Error> {
        let dir = Folder::new()?;
        let address = dir.join("address");
        let nursery::Born { connection, python } = nursery::ask(&dir, corrections).await?;
        connection.set_nonblocking(true).context(|| "waiting for a fake AWS".to_owned())?;
        // From here on an early return drops it, which ends the process.
        let mut cloud = Self { console: Console::new("")?, connection, dir, python };
        let since = Instant::now();
        let url = loop {
            if let Ok(url) = std::fs::read_to_string(&address) {
                break url;
            }
            if cloud.has_ended() {
                let what = "ended before it answered".to_owned();
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

    /// It never writes into the connection, which ends with it.
    fn has_ended(&mut self) -> bool {
        match self.connection.read(&mut [0]) {
            Ok(read) => read == 0,
            Err(err) => err.kind() != ErrorKind::WouldBlock,
        }
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
        // They fail only when it has ended already.
        self.connection.shutdown(Shutdown::Write).ok();
        self.connection.set_nonblocking(false).ok();
        self.connection.set_read_timeout(Some(END)).ok();
        self.connection.read_exact(&mut [0]).ok();
    }
}

/// A folder of a process of ours, which goes with it.
#[derive(Debug)]
pub(crate) struct Folder(PathBuf);

impl Folder {
    /// An empty one.
    pub(crate) fn new() -> Result<Self, Error> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("ccm-awscloud-{}-{number}", std::process::id());
        let dir = std::env::temp_dir().join(name);
        // Of an earlier process with our number.
        std::fs::remove_dir_all(&dir).ok();
        std::fs::create_dir_all(&dir).context(|| format!("creating {}", dir.display()))?;
        Ok(Self(dir))
    }
}

impl Deref for Folder {
    type Target = Path;

    fn deref(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).ok();
    }
}
