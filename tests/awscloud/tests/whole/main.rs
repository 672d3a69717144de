//! The fake from outside. One fake for all tests here, which are told apart by their callers and
//! clusters.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says so by failing")]

mod corrections;
mod faults;
mod machines;
mod process;
mod snapshots;

use ccm_awscloud::{AwsCloud, Console};
use tokio::sync::OnceCell;

/// Never dropped; it ends with the test process.
static CLOUD: OnceCell<AwsCloud> = OnceCell::const_new();

/// A console that calls as `caller`. One for each test: connections belong to a test's runtime.
async fn console(caller: &str) -> Console {
    let cloud = CLOUD.get_or_init(async || AwsCloud::start().await.unwrap()).await;
    Console::new(cloud.url()).unwrap().as_caller(caller)
}
