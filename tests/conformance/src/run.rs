//! Runs one behaviour.

use std::panic::{AssertUnwindSafe, resume_unwind};
use std::time::Duration;

use futures::FutureExt;
use tokio::runtime::Builder;
use tokio::time::timeout;

use crate::harness::Harness;

/// How long one behaviour may take, without the making of the harness. A guess: launching a few
/// machines in a real cloud takes a minute or two each.
pub const TIME_LIMIT: Duration = Duration::from_mins(10);

/// Runs one behaviour against a harness of its own, and tidies up in any case. What
/// [`conformance!`](crate::conformance) makes tests of; of use alone where a test needs more than
/// the macro offers.
pub fn run<H: Harness>(harness: impl Future<Output = H>, behaviour: impl AsyncFnOnce(&H)) {
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.expect("a runtime can be made").block_on(async {
        let harness = harness.await;
        let kept = AssertUnwindSafe(timeout(TIME_LIMIT, behaviour(&harness))).catch_unwind().await;
        harness.tidy_up().await;
        match kept {
            Ok(Ok(())) => {}
            Ok(Err(_)) => panic!("the behaviour did not end within {} s", TIME_LIMIT.as_secs()),
            Err(panic) => resume_unwind(panic),
        }
    });
}
