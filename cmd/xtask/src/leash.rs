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
    use super::*;

    fn ends(script: impl FnOnce(Identity) -> Leash) -> bool {
        let mut child = Command::new("sleep").arg("60").process_group(0).spawn().unwrap();
        let mut leash = script(Identity::of(child.id()).unwrap());
        // As the system does when we end.
        leash.pipe = None;
        leash.shell.wait().unwrap();
        // It takes the signal a moment later.
        let killed = (0..20).any(|_| {
            std::thread::park_timeout(std::time::Duration::from_millis(10));
            child.try_wait().unwrap().is_some()
        });
        child.kill().unwrap();
        child.wait().unwrap();
        killed
    }

    #[test]
    fn what_is_on_a_leash_ends_with_us() {
        assert!(ends(|leader| Leash::on_group(leader).unwrap()));
        let sleep = std::fs::canonicalize("/bin/sleep").unwrap();
        assert!(ends(|leader| Leash::on_program(leader.pid(), &sleep).unwrap()));
    }

    #[test]
    fn who_has_got_the_number_since_does_not() {
        let another = |leader: Identity| format!("{} 1", leader.pid()).parse().unwrap();
        assert!(!ends(|leader| Leash::on_group(another(leader)).unwrap()));
        let program = Path::new("/usr/bin/another");
        assert!(!ends(|leader| Leash::on_program(leader.pid(), program).unwrap()));
    }
}
