//! What several tests need.
#![allow(dead_code, reason = "each test file uses its part")]

use std::{
    path::Path,
    time::{Duration, Instant},
};

/// Waits for a state and says how long it took.
pub(crate) async fn eventually(
    what: &str,
    within: Duration,
    mut is_so: impl FnMut() -> bool,
) -> Duration {
    let since = Instant::now();
    while !is_so() {
        assert!(since.elapsed() < within, "not within {within:?}: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    since.elapsed()
}

/// Whether the process runs; one that has ended and waits to be asked how does not.
pub(crate) fn runs(pid: u32) -> bool {
    let Ok(stat) = std::fs::read_to_string(format!("/proc/{pid}/stat")) else { return false };
    let state = stat.rsplit_once(')').and_then(|(_, rest)| rest.trim_start().chars().next());
    !matches!(state, None | Some('Z' | 'X'))
}

/// What an instance consists of, from outside.
pub(crate) fn remains(pids: &[u32], dir: &Path) -> bool {
    pids.iter().any(|pid| runs(*pid)) || dir.exists() || record_of(dir).exists()
}

/// The record beside an instance's directory.
pub(crate) fn record_of(dir: &Path) -> std::path::PathBuf {
    dir.with_extension("record")
}
