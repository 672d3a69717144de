//! However a process ends that has a control plane, the control plane ends too.

#![allow(clippy::unwrap_used, reason = "helpers of tests, too")]

mod common;

use std::{
    io::{BufRead, BufReader},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use common::{eventually, record_of, remains, runs};
use rstest::rstest;
use rustix::process::{Pid, Signal, kill_process, kill_process_group};

/// What is promised after `kill -9`, where the machine is not busy with something else.
const PROMISED: Duration = Duration::from_secs(5);

/// And where it is.
const PATIENCE: Duration = Duration::from_secs(30);

/// A process with a control plane, and a temporary folder that only it and its successors look into: other tests'
/// starts sweep, too.
struct Holder {
    child: Child,
    etcd: u32,
    apiserver: u32,
    guardian: u32,
    dir: PathBuf,
}

/// Removed at the end of a test that succeeds.
struct Temporary(PathBuf);

impl Temporary {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("envtest-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    /// Records and directories that are left in it.
    fn leftovers(&self) -> Vec<PathBuf> {
        let state = std::fs::read_dir(&self.0).unwrap().flatten().next();
        let entries = state.into_iter().flat_map(|state| std::fs::read_dir(state.path()).unwrap());
        entries.flatten().map(|entry| entry.path()).collect()
    }

    /// Processes that were started with it on their command line.
    fn processes(&self) -> Vec<u32> {
        let name = self.0.to_str().unwrap();
        std::fs::read_dir("/proc")
            .unwrap()
            .flatten()
            .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
            .filter(|pid| {
                let cmdline = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
                String::from_utf8_lossy(&cmdline).contains(name) && runs(*pid)
            })
            .collect()
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            std::fs::remove_dir_all(&self.0).unwrap();
        }
    }
}

fn hold(temporary: &Path, variables: &[(&str, &str)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_envtest-hold"));
    command
        .env("TMPDIR", temporary)
        .envs(variables.iter().copied())
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(Stdio::piped());
    command
}

impl Holder {
    /// Returns when its control plane is ready.
    fn start(temporary: &Path) -> Self {
        Self::of(hold(temporary, &[]))
    }

    fn of(mut command: Command) -> Self {
        let mut child = command.spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
        let words: Vec<(String, String)> = lines
            .take_while(|line| line != "ready")
            .map(|line| line.split_once(' ').map(|(a, b)| (a.into(), b.into())).unwrap())
            .collect();
        let word = |name: &str| {
            let found = words.iter().find(|(found, _)| found == name);
            found.map_or_else(|| panic!("no {name}: {words:?}"), |(_, value)| value.clone())
        };
        let pid = |name: &str| word(name).parse().unwrap();
        Self {
            etcd: pid("etcd"),
            apiserver: pid("apiserver"),
            guardian: pid("guardian"),
            dir: word("directory").into(),
            child,
        }
    }

    fn pids(&self) -> [u32; 3] {
        [self.etcd, self.apiserver, self.guardian]
    }
}

fn raw(pid: u32) -> Pid {
    Pid::from_raw(pid.try_into().unwrap()).unwrap()
}

/// Some shells start what runs in the background deaf to interrupts, and it is inherited.
fn ignores(pid: u32, signal: Signal) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:")).unwrap();
    u64::from_str_radix(ignored.trim(), 16).unwrap() >> (signal.as_raw() - 1) & 1 == 1
}

#[rstest]
#[case::killed("killed", Signal::KILL)]
#[case::interrupted("interrupted", Signal::INT)]
#[case::terminated("terminated", Signal::TERM)]
#[case::hung_up("hung-up", Signal::HUP)]
#[tokio::test]
async fn a_guardian_takes_away_what_a_dead_process_leaves(
    #[case] name: &str,
    #[case] signal: Signal,
) {
    let temporary = Temporary::new(name);
    let mut holder = Holder::start(&temporary.0);
    assert!(holder.pids().iter().all(|pid| runs(*pid)) && holder.dir.exists());

    // The whole group, as a terminal does it.
    let signal = if ignores(holder.child.id(), signal) { Signal::KILL } else { signal };
    kill_process_group(raw(holder.child.id()), signal).unwrap();
    let took = eventually("all gone", PATIENCE, || !remains(&holder.pids(), &holder.dir)).await;
    eprintln!("{name}: gone after {took:?}");
    assert!(!holder.child.wait().unwrap().success());
    assert_eq!(temporary.leftovers(), Vec::<PathBuf>::new());
}

#[tokio::test]
async fn the_next_start_sweeps_when_the_guardian_is_dead_too() {
    let temporary = Temporary::new("swept");
    let mut first = Holder::start(&temporary.0);
    kill_process(raw(first.guardian), Signal::KILL).unwrap();
    first.child.kill().unwrap();
    first.child.wait().unwrap();
    eventually("the guardian is dead", PATIENCE, || !runs(first.guardian)).await;
    assert!(runs(first.etcd) && runs(first.apiserver) && first.dir.exists(), "nobody's");

    let mut second = Holder::start(&temporary.0);
    assert!(!remains(&first.pids(), &first.dir), "swept before it was ready");
    assert!(second.pids().iter().all(|pid| runs(*pid)) && second.dir.exists());

    // A living owner is let be, by a third.
    let mut third = Holder::start(&temporary.0);
    assert!(second.pids().iter().all(|pid| runs(*pid)) && second.dir.exists());
    for holder in [&mut second, &mut third] {
        holder.child.kill().unwrap();
        holder.child.wait().unwrap();
        eventually("all gone", PATIENCE, || !remains(&holder.pids(), &holder.dir)).await;
    }
    assert_eq!(temporary.leftovers(), Vec::<PathBuf>::new());
}

#[tokio::test]
async fn what_is_to_be_kept_is_kept_without_processes() {
    let temporary = Temporary::new("kept");
    let mut holder = Holder::of(hold(&temporary.0, &[("CCM_ENVTEST_KEEP", "1")]));
    holder.child.kill().unwrap();
    holder.child.wait().unwrap();
    let record = record_of(&holder.dir);
    eventually("the guardian is done", PATIENCE, || {
        !record.exists() && !holder.pids().iter().any(|pid| runs(*pid))
    })
    .await;
    let log = std::fs::read_to_string(holder.dir.join("kube-apiserver.log")).unwrap();
    assert!(log.contains("v1.36"), "{log}");
}

#[test]
fn without_binaries_and_go_it_says_what_to_do() {
    let temporary = Temporary::new("no-go");
    let folder = temporary.0.to_str().unwrap();
    let nothing = [("KUBEBUILDER_ASSETS", ""), ("PATH", folder), ("XDG_CACHE_HOME", folder)];
    let output = hold(&temporary.0, &nothing).output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success());
    for part in ["no etcd", "no go on PATH", "Install Go 1.26", "KUBEBUILDER_ASSETS"] {
        assert!(text.contains(part), "{part} not in {text}");
    }
}

/// There is no moment during a start at which a process is nobody's.
#[tokio::test]
async fn a_start_that_is_cut_off_leaves_no_process() {
    let temporary = Temporary::new("cut-off");
    let mut took = Vec::new();
    for milliseconds in [0, 5, 10, 15, 20, 30, 50, 80, 150, 300, 600, 1200] {
        let mut child = hold(&temporary.0, &[]).spawn().unwrap();
        // Not waiting for anything: the moment is the input.
        tokio::time::sleep(Duration::from_millis(milliseconds)).await;
        child.kill().unwrap();
        child.wait().unwrap();
        let what = format!("no process after a start cut off at {milliseconds} ms");
        took.push(eventually(&what, PATIENCE, || temporary.processes().is_empty()).await);
    }
    took.sort();
    assert!(took[took.len() / 2] < PROMISED, "{took:?}");
    // A record from before there was a guardian is the next start's to sweep.
    let mut last = Holder::start(&temporary.0);
    let own = [last.dir.clone(), record_of(&last.dir)];
    let others: Vec<_> =
        temporary.leftovers().into_iter().filter(|path| !own.contains(path)).collect();
    assert_eq!(others, Vec::<PathBuf>::new());
    last.child.kill().unwrap();
    last.child.wait().unwrap();
    eventually("all gone", PATIENCE, || !remains(&last.pids(), &last.dir)).await;
}
