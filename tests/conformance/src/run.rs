//! Runs one behaviour.

use std::time::Duration;

use tokio::runtime::{Builder, Runtime};

use crate::harness::Harness;
use crate::outcome::{Outcome, outcome_of};

/// How long one behaviour may take, without the making of the harness. A guess: launching a few
/// machines in a real cloud takes a minute or two each, and some behaviours are walked through dozens of times.
pub const TIME_LIMIT: Duration = Duration::from_mins(20);

/// Runs one behaviour against a harness of its own, and tidies up in any case. What
/// [`conformance!`](crate::conformance) makes tests of; of use alone where a test needs more than
/// the macro offers.
#[expect(clippy::print_stderr, reason = "a test harness has no other word for it")]
pub fn run<H: Harness>(harness: impl Future<Output = H>, behaviour: impl AsyncFnOnce(&H)) {
    let outcome = runtime().block_on(async {
        let harness = harness.await;
        outcome_of(&harness, behaviour(&harness)).await
    });
    match outcome {
        Outcome::Passed => {}
        Outcome::NotOffered(what) => eprintln!("not offered: {what}"),
        Outcome::Failed(how) => panic!("{how}"),
    }
}

pub(crate) fn runtime() -> Runtime {
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.expect("a runtime can be made")
}
