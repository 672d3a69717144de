//! What has to change in a unit. Pure.

mod down;
mod firewall;
mod own;
#[cfg(test)]
mod tests;

pub(crate) use firewall::plan as plan_firewall;
pub(crate) use own::plan as plan_own;

use std::time::Duration;

use ccm_core::cloud::Later;

/// When what the cloud works on is looked at again: pieces take seconds to come and go.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// Up to so many steps go one after the other, beyond that together.
///
/// The answer to a step that is alone says what the unit is now, so that no look is needed behind
/// it; after several the engine looks again, which is at least four calls here. And what the
/// answer says is true where a look may still show the past. So for a few steps this is fewer calls
/// and no more time.
const MOST_IN_A_ROW: usize = 4;

/// Adds steps as stages: a few of them one by one, many together.
fn push_stages<T>(stages: &mut Vec<Vec<T>>, steps: Vec<T>) {
    if steps.len() > MOST_IN_A_ROW {
        stages.push(steps);
    } else {
        stages.extend(steps.into_iter().map(|step| vec![step]));
    }
}

fn later(waits_for: String) -> Later {
    Later { waits_for, look_again: LOOK_AGAIN }
}
