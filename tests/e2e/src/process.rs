//! A process under test: its log, its signals, and its end, which is ours at the latest.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

pub use rustix::process::Signal;

use crate::guardian;
use crate::wait::wait_until;

/// Lines of a log that a failing test prints.
const LAST_LINES: usize = 200;

/// A running program. Killed when it is dropped; its log is printed if the test is failing then.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    ended: Option<ExitStatus>,
    log: PathBuf,
}

impl Process {
    /// Starts the program. Its output goes to `<dir>/<name>.log`.
    pub(crate) fn start(name: &str, dir: &Path, command: &mut Command) -> Self {
        let log = dir.join(format!("{name}.log"));
        let file = File::create(&log).unwrap();
        let child = command
            .stdin(Stdio::null())
            .stdout(file.try_clone().unwrap())
            .stderr(file)
            .spawn()
            .unwrap_or_else(|err| panic!("{command:?} does not start: {err}"));
        guardian::add(child.id());
        Self { name: name.to_owned(), child, ended: None, log }
    }

    /// What it has said so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// The warnings and errors that hold this text, so far.
    pub fn warnings(&self, text: &str) -> Vec<String> {
        let is_one = |line: &&str| {
            let mut words = line.split_whitespace().skip(1);
            matches!(words.next(), Some("WARN" | "ERROR")) && line.contains(text)
        };
        self.log().lines().filter(is_one).map(str::to_owned).collect()
    }

    /// Its process ID.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, signal).unwrap();
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        if self.ended.is_none() {
            self.ended = self.child.try_wait().unwrap();
            if self.ended.is_some() {
                guardian::remove(self.child.id());
            }
        }
        self.ended
    }

    /// Waits until it has ended by itself.
    pub async fn end(&mut self, bound: Duration) -> ExitStatus {
        let what = format!("the end of {}", self.name);
        wait_until(&what, bound, async || self.ended().ok_or("still running")).await
    }

    /// Fails if it has ended.
    pub fn expect_running(&mut self) {
        if let Some(status) = self.ended() {
            panic!("{} has ended with {status}: {}", self.name, self.log());
        }
    }
}

/// Sends a signal to a process that is somebody else's child within us.
pub(crate) fn signal_process(pid: u32, signal: Signal) {
    let pid = rustix::process::Pid::from_raw(pid.try_into().unwrap()).unwrap();
    rustix::process::kill_process(pid, signal).unwrap();
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.ended().is_none() {
            // Both fail only if it has just ended.
            self.child.kill().ok();
            self.child.wait().ok();
            guardian::remove(self.child.id());
        }
        if std::thread::panicking() {
            let log = self.log();
            let lines: Vec<_> = log.lines().collect();
            let last = lines[lines.len().saturating_sub(LAST_LINES)..].join("\n");
            print_log(&self.name, &last);
        }
    }
}

#[expect(clippy::print_stderr, reason = "for whoever reads the failing test")]
fn print_log(name: &str, text: &str) {
    eprintln!("---- log of {name} ----\n{text}\n---- end of {name} ----");
}
