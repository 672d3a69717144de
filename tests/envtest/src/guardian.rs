//! A process that outlives us by a moment and takes away what we left behind.
//!
//! `Drop` covers a return and a panic, nothing covers `kill -9` or an interrupt from the terminal but another process.
//! It must work from any test binary, so it is a shell script and not a mode of our own executable. It blocks on a
//! pipe whose only writing end is ours: the system closes that however we end, at once. The end is closed on `exec`,
//! so the processes that we start do not hold it open.
//!
//! It is in a process group of its own and ignores the signals of a terminal, so that what ends us does not end it.
//! Should it be killed as well, the next start [sweeps](crate::sweep).

use std::{
    os::unix::process::CommandExt,
    path::Path,
    process::{Child, ChildStdin, Command, Stdio},
};

use crate::error::{Context, Error};

const SCRIPT: &str = include_str!("guardian.sh");

/// Our end of the pipe, and the process at the other.
#[derive(Debug)]
pub(crate) struct Guardian {
    child: Child,
    /// Never written to.
    _pipe: Option<ChildStdin>,
}

impl Guardian {
    /// Starts watching over the instance of this record.
    pub(crate) fn start(record: &Path) -> Result<Self, Error> {
        let mut child = Command::new("/bin/sh")
            .args(["-c", SCRIPT, "ccm-envtest-guardian"])
            .arg(record)
            .current_dir("/")
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context(|| "starting the guardian".to_owned())?;
        let pipe = child.stdin.take();
        Ok(Self { child, _pipe: pipe })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Guardian {
    /// To be dropped when there is nothing left to guard.
    fn drop(&mut self) {
        // Both fail only when it has ended already.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
