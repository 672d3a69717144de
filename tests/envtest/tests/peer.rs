//! The Go program in `tests/peer` is one: it builds, it is in order, and it is the library's.

use std::{path::Path, process::Command};

use ccm_envtest::peer;

/// Of these nothing but the names is looked at: what they do is `swap` in the end-to-end tests.
#[tokio::test]
async fn it_has_the_library_s_flags() {
    let path = peer::locate().await.unwrap();
    let output = Command::new(&path).arg("--help").output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    for flag in ["--concurrent-node-syncs", "--cluster-cidr", "--leader-elect-lease-duration"] {
        assert!(output.status.success() && text.contains(flag), "{}: {text}", path.display());
    }
}

#[test]
fn its_sources_are_formatted() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../peer");
    let output = Command::new("gofmt").arg("-l").arg(folder).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(String::from_utf8_lossy(&output.stdout), "");
}
