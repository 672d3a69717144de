//! What ends that which we have started, should we be killed.

use std::ffi::OsStr;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};

use ccm_envtest::Identity;

use crate::Error;

const PROGRAM: &str = include_str!("leash/program.sh");

const GROUP: &str = include_str!("leash/group.sh");

/// A shell that waits for our end. Dropping it lets go.
#[derive(Debug)]
pub(crate) struct Leash {
    shell: Child,
    /// Never written to; the system closes it when we end.
    pipe: Option<ChildStdin>,
}

impl Leash {
    /// Kills this process, as long as it runs this file.
    pub(crate) fn on_program(pid: u32, file: &Path) -> Result<Self, Error> {
        Self::start(PROGRAM, &[pid.to_string().as_ref(), file.as_ref()])
    }

    /// Kills the process group that this process leads, as long as it does.
    pub(crate) fn on_group(leader: Identity) -> Result<Self, Error> {
        // The number and the start, which the script looks at one by one.
        let leader = leader.to_string();
        let words: Vec<&OsStr> = leader.split(' ').map(OsStr::new).collect();
        Self::start(GROUP, &words)
    }

    fn start(script: &str, args: &[&OsStr]) -> Result<Self, Error> {
        let mut shell = Command::new("/bin/sh")
            .args(["-c", script, "ccm-xtask-leash"])
            .args(args)
            .current_dir("/")
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let pipe = shell.stdin.take();
        Ok(Self { shell, pipe })
    }
}

impl Drop for Leash {
    fn drop(&mut self) {
        // Before the pipe closes, at which it would act. Both fail only when it has ended already.
        self.shell.kill().ok();
        self.shell.wait().ok();
        self.pipe = None;
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    /// Whether a process ends that the leash is on. It takes the signal a moment later, which may be
    /// a long one.
    fn ends(script: impl FnOnce(Identity) -> Leash, patience: Duration) -> bool {
        let mut child = Command::new("sleep").arg("60").process_group(0).spawn().unwrap();
        let mut leash = script(Identity::of(child.id()).unwrap());
        // As the system does when we end.
        leash.pipe = None;
        leash.shell.wait().unwrap();
        let since = Instant::now();
        let mut killed = false;
        while !killed && since.elapsed() < patience {
            std::thread::park_timeout(Duration::from_millis(10));
            killed = child.try_wait().unwrap().is_some();
        }
        child.kill().unwrap();
        child.wait().unwrap();
        killed
    }

    #[test]
    fn what_is_on_a_leash_ends_with_us() {
        let patience = Duration::from_secs(20);
        assert!(ends(|leader| Leash::on_group(leader).unwrap(), patience));
        let sleep = std::fs::canonicalize("/bin/sleep").unwrap();
        assert!(ends(|leader| Leash::on_program(leader.pid(), &sleep).unwrap(), patience));
    }

    #[test]
    fn who_has_got_the_number_since_does_not() {
        let another = |leader: Identity| format!("{} 1", leader.pid()).parse().unwrap();
        let patience = Duration::from_millis(200);
        assert!(!ends(|leader| Leash::on_group(another(leader)).unwrap(), patience));
        let program = Path::new("/usr/bin/another");
        assert!(!ends(|leader| Leash::on_program(leader.pid(), program).unwrap(), patience));
    }
}
