//! Whoever has a cluster may be killed, and cannot clean up.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
    time::{Duration, Instant},
};

use ccm_node::{Cluster, Error, Setup};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::Command,
    time::sleep,
};

use crate::{
    say,
    stage::{expect_nothing_of, program, took},
};

/// The argument with which we are a process that will be killed.
pub(crate) const HOLD: &str = "hold-until-killed";

/// What the guardian promises, with room for two cores that also compile.
const PATIENCE: Duration = Duration::from_secs(20);

/// Starts a cluster, says where, and waits.
pub(crate) async fn hold() -> Result<(), Error> {
    let cluster = Cluster::start(&Setup { simcloud: program("simcloud")? }).await?;
    say(format_args!("{}", cluster.dir().display()));
    std::future::pending().await
}

/// Kills somebody who has a cluster, and waits until the machine has nothing of it.
pub(crate) async fn is_clean() -> Result<(), Error> {
    let mut holder = Command::new(std::env::current_exe()?)
        .arg(HOLD)
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let stdout = holder.stdout.take().ok_or("it was asked for")?;
    let dir = BufReader::new(stdout).lines().next_line().await?;
    let dir = dir.map(PathBuf::from).filter(|dir| dir.is_dir()).ok_or("there is no cluster")?;
    let processes = processes_of(&dir).len();
    holder.kill().await?;
    let since = Instant::now();
    let left = loop {
        let left = processes_of(&dir);
        let nothing = expect_nothing_of(&dir);
        if left.is_empty() && (nothing.is_ok() || since.elapsed() > PATIENCE) {
            break nothing;
        }
        if since.elapsed() > PATIENCE {
            break Err(format!("still running: {left:?}").into());
        }
        sleep(Duration::from_millis(50)).await;
    };
    left?;
    say(format_args!(
        "its owner killed: {processes} processes and all else gone after {}",
        took(since)
    ));
    Ok(())
}

/// Processes with the directory on their command line.
fn processes_of(dir: &Path) -> Vec<u32> {
    let dir = dir.display().to_string();
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let is_of = |pid: &u32| {
        let command = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&command).contains(&dir)
    };
    pids.filter(is_of).collect()
}
