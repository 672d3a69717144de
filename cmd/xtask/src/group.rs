//! A command with all that it starts, which never outlives us: cargo's compilers, and the tests that it runs.

use std::process::ExitStatus;

use ccm_envtest::Identity;
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::process::{Child, Command};

use crate::Error;
use crate::leash::Leash;

/// A running command in a process group of its own. Dropping it kills the group.
#[derive(Debug)]
pub(crate) struct Group {
    child: Child,
    leader: Pid,
    has_ended: bool,
    /// What has ended already needs none.
    _leash: Option<Leash>,
}

impl Group {
    /// Starts it. What a terminal sends on Ctrl-C does not reach it: who starts it listens, and drops this.
    pub(crate) fn start(mut command: Command) -> Result<Self, Error> {
        let child = command.process_group(0).kill_on_drop(true).spawn()?;
        let pid = child.id().ok_or("it ended at once")?;
        let leader = i32::try_from(pid).ok().and_then(Pid::from_raw).ok_or("no process ID")?;
        let leash = Identity::of(pid).map(Leash::on_group).transpose()?;
        Ok(Self { child, leader, has_ended: false, _leash: leash })
    }

    /// Waits for its end.
    pub(crate) async fn ended(mut self) -> Result<ExitStatus, Error> {
        let status = self.child.wait().await?;
        self.has_ended = true;
        Ok(status)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // The leader has not been asked how it ended, so the number is the group's, if anything is left of it.
        if !self.has_ended {
            kill_process_group(self.leader, Signal::KILL).ok();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::process::Stdio;
    use std::time::Duration;

    use tokio::io::{AsyncBufReadExt as _, BufReader};

    use super::*;

    fn command(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]).stdout(Stdio::piped());
        command
    }

    #[tokio::test]
    async fn what_a_command_has_started_goes_with_it() {
        let mut group = Group::start(command("sleep 60 & echo $!; wait")).unwrap();
        let stdout = group.child.stdout.take().unwrap();
        let line = BufReader::new(stdout).lines().next_line().await.unwrap().unwrap();
        let sleep = Identity::of(line.parse().unwrap()).unwrap();
        drop(group);
        for _ in 0..500 {
            if !sleep.is_alive() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("it still runs");
    }

    #[tokio::test]
    async fn how_a_command_ended_is_said() {
        assert!(Group::start(command("exit 0")).unwrap().ended().await.unwrap().success());
        let status = Group::start(command("exit 7")).unwrap().ended().await.unwrap();
        assert_eq!(status.code(), Some(7));
    }
}
