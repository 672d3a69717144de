//! In a file of its own, so that no other test runs beside it.

use std::time::{Duration, Instant};

use ccm_envtest::ControlPlane;

/// What a developer is promised for each run of a test.
const PROMISED: Duration = Duration::from_secs(10);

/// A machine that is busy with something else may need another try; so many in a row are our fault.
const TRIES: usize = 8;

#[tokio::test]
async fn one_alone_is_ready_within_ten_seconds() {
    let mut took = Vec::new();
    for _ in 0..TRIES {
        let since = Instant::now();
        let control_plane = ControlPlane::start().await.unwrap();
        took.push(since.elapsed());
        control_plane.stop().await.unwrap();
        if took.last().is_some_and(|last| *last < PROMISED) {
            break;
        }
    }
    eprintln!("ready after {took:?}");
    assert!(took.iter().any(|took| *took < PROMISED), "{took:?}");
}
