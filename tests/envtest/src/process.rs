//! Processes that we start: never unrecorded, and told apart by more than a number.

use std::{
    fmt,
    fs::File,
    io::{self, Write},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    str::FromStr,
    time::{Duration, Instant},
};

use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use crate::{
    error::{Context, Error, Run},
    instance::Instance,
};

/// Pause between two looks at something that has no event to wait for.
pub(crate) const POLL: Duration = Duration::from_millis(20);

/// How much of a log goes into an error.
const TAIL_LINES: usize = 25;

/// One process, for ever: the system hands a process ID out again, but not with the same start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    pub(crate) pid: u32,
    /// Clock ticks from boot to the start of the process. `exec` does not change it.
    pub(crate) started: u64,
}

impl Identity {
    /// The process that has this ID now. `None`: there is none, or it has ended and nobody has asked how.
    pub fn of(pid: u32) -> Option<Self> {
        let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let stat = parse_stat(&text)?;
        stat.running.then_some(Self { pid, started: stat.started })
    }

    /// The number that it has while it runs.
    pub fn pid(self) -> u32 {
        self.pid
    }

    /// Asks it to end (SIGTERM) if it still runs, and says whether it did.
    pub fn ask_to_end(self) -> Result<bool, Error> {
        let Some(handle) = self.raw().and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok())
        else {
            return Ok(false);
        };
        // Looked at through the number after the handle was opened: if it is still this one, so is the handle.
        if !self.is_alive() {
            return Ok(false);
        }
        match pidfd_send_signal(&handle, Signal::TERM) {
            Err(Errno::SRCH) => Ok(false),
            sent => sent.map(|()| true).context(|| format!("asking process {} to end", self.pid)),
        }
    }

    /// Whether it runs.
    pub fn is_alive(self) -> bool {
        Self::of(self.pid) == Some(self)
    }

    /// The program it runs, also when its file has been deleted or replaced since.
    pub(crate) fn program(self) -> Option<PathBuf> {
        let link = std::fs::read_link(format!("/proc/{}/exe", self.pid)).ok()?;
        match link.to_str().and_then(|text| text.strip_suffix(" (deleted)")) {
            Some(text) => Some(text.into()),
            None => Some(link),
        }
    }

    /// Kills it if it is still this process and runs `program`; says whether it did.
    ///
    /// The handle is opened before the checks, so that what was checked is what is killed even if the ID is
    /// given to another process in between.
    pub(crate) fn kill_if_runs(self, program: &Path) -> bool {
        let Some(handle) = self.raw().and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok())
        else {
            return false;
        };
        self.is_alive()
            && self.program().is_some_and(|running| running == program)
            && pidfd_send_signal(&handle, Signal::KILL).is_ok()
    }

    fn raw(self) -> Option<Pid> {
        Pid::from_raw(self.pid.try_into().ok()?)
    }
}

/// As it is written to files: the number and the start.
impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.pid, self.started)
    }
}

/// The text names no process.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a process's number and start")]
pub struct ParseIdentityError(String);

impl FromStr for Identity {
    type Err = ParseIdentityError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parsed = text
            .split_once(' ')
            .and_then(|(pid, started)| Some((pid.parse().ok()?, started.parse().ok()?)));
        match parsed {
            Some((pid, started)) => Ok(Self { pid, started }),
            None => Err(ParseIdentityError(text.to_owned())),
        }
    }
}

struct Stat {
    running: bool,
    started: u64,
}

/// `/proc/<pid>/stat`: the second field is the program's name in brackets and may hold blanks and brackets itself,
/// so counting starts after the last one. <https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html>
fn parse_stat(text: &str) -> Option<Stat> {
    let (_, rest) = text.rsplit_once(')')?;
    let mut fields = rest.split_ascii_whitespace();
    let state = fields.next()?;
    // `state` is field 3, `starttime` field 22.
    let started = fields.nth(18)?.parse().ok()?;
    Some(Stat { running: !matches!(state, "Z" | "X"), started })
}

/// What to run.
#[derive(Debug)]
pub(crate) struct Launch<'a> {
    /// The name in errors and of the log.
    pub(crate) name: &'static str,
    pub(crate) program: &'a Path,
    pub(crate) args: &'a [String],
}

/// A process of ours. Dropping it kills it and waits for its end.
#[derive(Debug)]
pub struct Process {
    name: &'static str,
    child: Child,
    identity: Identity,
    command: String,
    log: PathBuf,
}

impl Process {
    /// Starts `launch` so that it is in the instance's record before its first instruction.
    ///
    /// A process killed between start and record would be nobody's. So what starts is a shell that waits for a line
    /// and only then becomes the program; if we die before we send the line, it reads the end of the pipe and goes.
    /// It is in a process group of its own: Ctrl-C in a terminal is for us, and we decide in which order things end.
    /// It gets no environment, because etcd reads `ETCD_*` and the API server proxies from there.
    pub(crate) fn start(launch: &Launch<'_>, instance: &mut Instance) -> Result<Self, Error> {
        const GATE: &str = r#"read -r go || exit 125; exec "$@" </dev/null"#;

        let name = launch.name;
        let log = instance.dir().join(format!("{name}.log"));
        let out = File::options()
            .append(true)
            .create(true)
            .open(&log)
            .context(|| format!("opening {}", log.display()))?;
        let err = out.try_clone().context(|| format!("opening {}", log.display()))?;
        let mut child = Command::new("/bin/sh")
            .args(["-c", GATE, name])
            .arg(launch.program)
            .args(launch.args)
            .env_clear()
            .current_dir(instance.dir())
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(out)
            .stderr(err)
            .spawn()
            .context(|| format!("starting {name}"))?;
        let gate = child.stdin.take();
        let identity = Identity::of(child.id());
        // From here on an early return drops the process, which ends it.
        let mut process = Self {
            name,
            identity: identity.unwrap_or(Identity { pid: child.id(), started: 0 }),
            child,
            command: command_line(launch.program, launch.args),
            log,
        };
        if identity.is_none() {
            return Err(process.exited_error());
        }
        instance.record(process.identity, launch.program)?;
        gate.ok_or_else(|| io::Error::other("no pipe"))
            .and_then(|mut gate| gate.write_all(b"go\n"))
            .context(|| format!("starting {name}"))?;
        Ok(process)
    }

    /// Its process ID.
    pub fn pid(&self) -> u32 {
        self.identity.pid
    }

    pub(crate) fn identity(&self) -> Identity {
        self.identity
    }

    /// How it ended, if it has.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// An error if it has ended.
    pub fn expect_running(&mut self) -> Result<(), Error> {
        if self.ended().is_some() { Err(self.exited_error()) } else { Ok(()) }
    }

    /// That it is not ready, with all that may help to find out why.
    pub fn not_ready(&self, waited: Duration, last: String) -> Error {
        Error::NotReady { program: self.name, waited, last, run: Box::new(self.run()) }
    }

    fn exited_error(&mut self) -> Error {
        Error::Exited {
            program: self.name,
            status: self.ended().map_or_else(|| "unknown".to_owned(), |status| status.to_string()),
            run: Box::new(self.run()),
        }
    }

    fn run(&self) -> Run {
        let tail = tail(&self.log, TAIL_LINES);
        Run { command: self.command.clone(), log: self.log.clone(), tail }
    }

    /// Sends a signal. Safe from hitting a stranger: the ID is ours until we have asked how the process ended.
    pub(crate) fn signal(&mut self, signal: Signal) -> Result<(), Error> {
        self.expect_running()?;
        let pid = self
            .identity
            .raw()
            .ok_or_else(|| Error::Refused(format!("{} is no process ID", self.identity.pid)))?;
        rustix::process::kill_process(pid, signal)
            .context(|| format!("sending a signal to {}", self.name))
    }

    /// Asks it to end, and insists after `grace`.
    pub async fn stop(&mut self, grace: Duration) -> Result<(), Error> {
        if self.ended().is_some() {
            return Ok(());
        }
        self.signal(Signal::TERM)?;
        // A stopped process takes the signal only when it is continued.
        self.signal(Signal::CONT).ok();
        let since = Instant::now();
        while since.elapsed() < grace {
            if self.ended().is_some() {
                return Ok(());
            }
            tokio::time::sleep(POLL).await;
        }
        self.kill();
        Ok(())
    }

    fn kill(&mut self) {
        // Both fail only when it has ended already.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The command as one would type it, to try it by hand.
pub(crate) fn command_line(program: &Path, args: &[String]) -> String {
    let quoted = |arg: &String| {
        if arg.contains(|c: char| c.is_whitespace() || "'\"$&;()<>|*".contains(c)) {
            format!("'{}'", arg.replace('\'', r"'\''"))
        } else {
            arg.clone()
        }
    };
    let program = program.display().to_string();
    let words: Vec<String> = std::iter::once(&program).chain(args).map(quoted).collect();
    words.join(" ")
}

/// The last lines of a log, as far as they are text.
pub(crate) fn tail(log: &Path, count: usize) -> String {
    let text = std::fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn stat(name: &str, state: char) -> String {
        format!(
            "4242 ({name}) {state} 1 4242 4242 0 -1 4194560 100 0 0 0 1 2 0 0 20 0 9 0 777123 1000 5 18446744073709551615\n"
        )
    }

    #[rstest]
    #[case::plain("etcd", 'S', true)]
    #[case::blanks("tmux: server", 'R', true)]
    #[case::brackets("a) Z 1 (b", 'S', true)]
    #[case::stopped("etcd", 'T', true)]
    #[case::ended_and_not_asked_for("etcd", 'Z', false)]
    fn a_start_time_is_read_whatever_the_name(
        #[case] name: &str,
        #[case] state: char,
        #[case] running: bool,
    ) {
        let parsed = parse_stat(&stat(name, state)).unwrap();
        assert_eq!((parsed.started, parsed.running), (777_123, running));
    }

    #[test]
    fn half_a_line_is_no_process() {
        assert!(parse_stat("4242 (etcd) S 1 4242").is_none());
        assert!(parse_stat("").is_none());
    }

    #[test]
    fn we_are_alive_and_nobody_with_another_start_is() {
        let me = Identity::of(std::process::id()).unwrap();
        assert!(me.is_alive());
        assert!(!Identity { started: me.started + 1, ..me }.is_alive());
        assert_eq!(me.program().unwrap(), std::env::current_exe().unwrap());
    }

    #[test]
    fn a_process_is_known_again_from_its_text() {
        let me = Identity::of(std::process::id()).unwrap();
        assert_eq!(me.to_string().parse(), Ok(me));
        for text in ["", "12", "a b", "-1 2", "1 2 3"] {
            assert!(text.parse::<Identity>().is_err(), "{text}");
        }
    }

    #[test]
    fn only_the_very_process_is_asked_to_end() {
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        let identity = Identity::of(child.id()).unwrap();
        let another = Identity { started: identity.started + 1, ..identity };
        assert!(!another.ask_to_end().unwrap());
        assert!(identity.ask_to_end().unwrap());
        assert!(!child.wait().unwrap().success());
        assert!(!identity.ask_to_end().unwrap());
    }

    #[test]
    fn a_process_with_another_program_is_not_killed() {
        let me = Identity::of(std::process::id()).unwrap();
        assert!(!me.kill_if_runs(Path::new("/usr/bin/another")));
    }

    #[test]
    fn a_command_can_be_pasted() {
        let args = ["--name=a".to_owned(), "it's one".to_owned()];
        assert_eq!(command_line(Path::new("/bin/x"), &args), r"/bin/x --name=a 'it'\''s one'");
    }
}
