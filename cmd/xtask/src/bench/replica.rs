//! One of several cloud-controller-managers that want the lease. It has many lives, each a process
//! of its own with an identity of its own; its service account stays.

use std::convert::Infallible;
use std::path::PathBuf;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::time::{Instant, sleep, timeout};

use super::rig::{Account, Binaries, Rig};
use crate::Error;
use crate::program::Program;

/// How long a supervisor waits before it starts an ended program again.
pub(super) const PAUSE: Duration = Duration::from_secs(1);

/// How a life ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct End {
    pub(super) at: Instant,
    /// With exit code 0.
    pub(super) is_success: bool,
}

pub(super) struct Replica {
    binary: PathBuf,
    args: Vec<String>,
    dir: PathBuf,
    user: String,
    lives: usize,
    process: Program,
}

impl Replica {
    /// Starts it, with all flags at their defaults.
    pub(super) fn start(binaries: &Binaries, rig: &Rig, account: Account) -> Result<Self, Error> {
        let (binary, args) = (binaries.ccm.clone(), rig.ccm_args(account));
        let name = match account {
            Account::First => "first",
            Account::Second => "second",
            Account::Peer => return Err("no replica of ours".into()),
        };
        let dir = rig.plane.dir().join(name);
        std::fs::create_dir(&dir)?;
        let process = Program::start(PROGRAM, &binary, &args, dir.join("0.log"))?;
        Ok(Self { binary, args, dir, user: rig.user(account).to_owned(), lives: 1, process })
    }

    /// Its name in the audit log.
    pub(super) fn user(&self) -> &str {
        &self.user
    }

    /// The last lines of its log.
    pub(super) fn tail(&self) -> String {
        self.process.tail()
    }

    /// Sends it a signal; it must be running.
    pub(super) async fn signal(&mut self, signal: Signal) -> Result<(), Error> {
        if let Ok(ended) = timeout(Duration::ZERO, self.process.ended()).await {
            return Err(ended);
        }
        let pid = i32::try_from(self.process.pid()).ok().and_then(Pid::from_raw);
        // Ours until we ask again how it ended, so this cannot hit a stranger.
        Ok(kill_process(pid.ok_or("no process ID")?, signal)?)
    }

    /// Waits until it has ended by itself. May be dropped and called again.
    pub(super) async fn end(&mut self) -> End {
        self.process.ended().await;
        let at = Instant::now();
        // It has ended: this only says how.
        End { at, is_success: self.process.stop().await.is_ok() }
    }

    /// Gives it another life, if it has ended. Says whether it had.
    pub(super) async fn restart_if_ended(&mut self) -> Result<bool, Error> {
        if timeout(Duration::ZERO, self.process.ended()).await.is_err() {
            return Ok(false);
        }
        let log = self.dir.join(format!("{}.log", self.lives));
        self.process = Program::start(PROGRAM, &self.binary, &self.args, log)?;
        self.lives += 1;
        Ok(true)
    }

    /// Does what a supervisor does, and notes each end.
    pub(super) async fn keep_up(&mut self, ends: &mut Vec<End>) -> Result<Infallible, Error> {
        loop {
            ends.push(self.end().await);
            sleep(PAUSE).await;
            self.restart_if_ended().await?;
        }
    }

    /// Ends it in order.
    pub(super) async fn stop(mut self) -> Result<(), Error> {
        self.process.stop().await
    }
}

const PROGRAM: &str = "cloud-controller-manager";
