//! The process that fakes are forked from, which is killed here: alone in its test binary.

use std::path::{Path, PathBuf};
use std::process::Command;

use ccm_awscloud::AwsCloud;
use serde_json::json;

/// Folders of fakes and of their nursery, of this process.
fn folders() -> Vec<PathBuf> {
    let ours = format!("ccm-awscloud-{}-", std::process::id());
    let entries = std::fs::read_dir(std::env::temp_dir()).into_iter().flatten().flatten();
    let names = entries.filter(|it| it.file_name().to_string_lossy().starts_with(&ours));
    names.map(|entry| entry.path()).collect()
}

fn is_nursery(folder: &Path) -> bool {
    folder.join("socket").exists()
}

#[tokio::test]
async fn one_that_was_killed_is_replaced_and_its_fakes_outlive_it() {
    let before = AwsCloud::start().await.unwrap();
    let found = folders();
    let [nursery] = found.iter().filter(|folder| is_nursery(folder)).collect::<Vec<_>>()[..] else {
        panic!("{found:?}")
    };
    kill_whoever_listens(nursery);

    let after = AwsCloud::start().await.unwrap();
    for cloud in [&before, &after] {
        cloud.aws("ec2", "describe_vpcs", json!({})).await.unwrap();
    }
    drop((before, after));
    let left = folders();
    assert!(left.iter().all(|folder| is_nursery(folder)) && left.len() == 1, "{left:?}");
}

/// By its command, which names its socket. Its fakes have the same one, and are not our children. Waits until
/// nobody listens any more: until then it might take one more.
fn kill_whoever_listens(folder: &Path) {
    let (ours, socket) = (std::process::id().to_string(), folder.join("socket"));
    let mut pgrep = Command::new("pgrep");
    let found = pgrep.args(["-P", &ours, "-f"]).arg(&socket).output().expect("pgrep is installed");
    let pid = String::from_utf8_lossy(&found.stdout).trim().to_owned();
    assert!(Command::new("kill").args(["-KILL", &pid]).status().is_ok_and(|it| it.success()));
    let stat = || std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    while !stat().is_empty() && !stat().contains(") Z ") {
        std::thread::yield_now();
    }
}
