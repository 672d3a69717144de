//! A program of ours as a process of its own, which never outlives us.

use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::time::timeout;

use crate::Error;
use crate::leash::Leash;

/// How long a program may take to end by itself. The cloud-controller-manager finishes what it has
/// begun and gives its lease back.
const GRACE: Duration = Duration::from_secs(15);

/// Lines of its log in an error.
const TAIL_LINES: usize = 15;

/// A running program. Dropping it kills it.
#[derive(Debug)]
pub(crate) struct Program {
    name: &'static str,
    child: tokio::process::Child,
    pid: u32,
    log: PathBuf,
    _leash: Leash,
}

impl Program {
    /// Starts it with its output going into a file.
    ///
    /// It is in a process group of its own: Ctrl-C in a terminal is for us, and we decide in which
    /// order things end. It gets no environment, so that what the user has set changes nothing.
    pub(crate) fn start(
        name: &'static str,
        file: &Path,
        args: &[String],
        log: PathBuf,
    ) -> Result<Self, Error> {
        let file = file.canonicalize()?;
        let out = std::fs::File::create(&log)?;
        let child = tokio::process::Command::new(&file)
            .args(args)
            .env_clear()
            .stdin(Stdio::null())
            .stdout(out.try_clone()?)
            .stderr(out)
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(|err| format!("cannot start {}: {err}", file.display()))?;
        let pid = child.id().ok_or_else(|| format!("{name} ended at once"))?;
        let leash = Leash::on_program(pid, &file)?;
        Ok(Self { name, child, pid, log, _leash: leash })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.pid
    }

    pub(crate) fn log(&self) -> &Path {
        &self.log
    }

    /// Waits for its end, which is not expected. May be dropped and called again.
    pub(crate) async fn ended(&mut self) -> Error {
        let how = match self.child.wait().await {
            Ok(status) => status.to_string(),
            Err(err) => err.to_string(),
        };
        format!("{} ended by itself ({how})\n{}", self.name, self.tail()).into()
    }

    /// The last lines of its log.
    pub(crate) fn tail(&self) -> String {
        let text = std::fs::read(&self.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<_> = text.lines().map(|line| format!("  | {line}")).collect();
        let tail = &lines[lines.len().saturating_sub(TAIL_LINES)..];
        format!(
            "last lines of {} (CCM_ENVTEST_KEEP=1 keeps it):\n{}",
            self.log.display(),
            tail.join("\n")
        )
    }

    /// Asks it to end, and insists when it takes too long.
    pub(crate) async fn stop(&mut self) -> Result<(), Error> {
        if self.child.try_wait()?.is_none() {
            let pid = i32::try_from(self.pid).ok().and_then(Pid::from_raw);
            // Ours until we have asked how it ended, so this cannot hit a stranger.
            kill_process(pid.ok_or("no process ID")?, Signal::TERM)?;
        }
        let Ok(status) = timeout(GRACE, self.child.wait()).await else {
            self.child.kill().await?;
            return Err(format!("{} did not end within {GRACE:?}", self.name).into());
        };
        let status: ExitStatus = status?;
        if status.success() {
            Ok(())
        } else {
            Err(format!("{} ended with {status}\n{}", self.name, self.tail()).into())
        }
    }
}
