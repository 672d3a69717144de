//! How a behaviour ends: kept, broken, or not offered by this cloud.

use std::any::Any;
use std::panic::{AssertUnwindSafe, resume_unwind};

use futures::FutureExt;
use serde::Serialize;
use tokio::time::timeout;

use crate::harness::Harness;
use crate::run::TIME_LIMIT;

/// How a behaviour ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "outcome", content = "says", rename_all = "snake_case")]
pub enum Outcome {
    /// The promise is kept.
    Passed,
    /// It is broken; says how that was noticed.
    Failed(String),
    /// This cloud, or this harness, does not do what the promise is about; says what that is.
    NotOffered(String),
}

/// The end of a behaviour that cannot be asked for here.
struct NotOffered(String);

/// Ends a behaviour that is about something that this cloud, or its harness, does not do.
///
/// Not a failure, and so no panic that anybody would see.
pub fn not_offered(what: impl Into<String>) -> ! {
    resume_unwind(Box::new(NotOffered(what.into())))
}

/// Runs a behaviour and tidies up in any case.
pub(crate) async fn outcome_of<H: Harness>(harness: &H, behaviour: impl Future) -> Outcome {
    let kept = AssertUnwindSafe(timeout(TIME_LIMIT, behaviour)).catch_unwind().await;
    harness.tidy_up().await;
    match kept {
        Ok(Ok(_)) => Outcome::Passed,
        Ok(Err(_)) => {
            let limit = TIME_LIMIT.as_secs();
            Outcome::Failed(format!("the behaviour did not end within {limit} s"))
        }
        Err(panic) => match panic.downcast::<NotOffered>() {
            Ok(not_offered) => Outcome::NotOffered(not_offered.0),
            Err(panic) => Outcome::Failed(message(&*panic)),
        },
    }
}

fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "it panicked without a word".to_owned())
}
