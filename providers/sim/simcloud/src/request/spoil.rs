//! What is left of an answer that a fault strikes.

use crate::api::{FaultKind, InstanceId};
use crate::faults::Strike;
use crate::rng::Rng;
use crate::state::{Cloud, Refusal};

use super::{Answer, List, Shown};

/// What is left of an answer that a fault strikes.
pub(crate) fn spoil(
    answer: Answer,
    strike: &Strike,
    cloud: &Cloud,
    rng: &mut Rng,
) -> Result<Answer, Refusal> {
    Ok(match strike.kind {
        FaultKind::CutPage { missing_share } => match answer {
            Answer::List(mut list) => {
                cut(&mut list, strike, missing_share, cloud, rng);
                Answer::List(list)
            }
            other @ (Answer::One(_) | Answer::Made(_)) => other,
        },
        FaultKind::EmptyPage => match answer {
            Answer::List(list) => Answer::List(list.without_next().without_items()),
            other @ (Answer::One(_) | Answer::Made(_)) => other,
        },
        FaultKind::DropPageToken => match answer {
            Answer::List(list) => Answer::List(list.without_next()),
            other @ (Answer::One(_) | Answer::Made(_)) => other,
        },
        FaultKind::NotFound => match answer {
            Answer::One(shown) => {
                let (what, id) = shown.what();
                return Err(Refusal::not_found(what, id));
            }
            other @ (Answer::Made(_) | Answer::List(_)) => other,
        },
        FaultKind::Unauthenticated
        | FaultKind::PermissionDenied
        | FaultKind::Throttle { .. }
        | FaultKind::ServerError { .. }
        | FaultKind::Hang { .. }
        | FaultKind::Slow { .. }
        | FaultKind::LoseResponse
        | FaultKind::Reset
        | FaultKind::FailProvisioning => answer,
    })
}

/// Leaves out what the fault names, or a share of all.
fn cut(list: &mut List, strike: &Strike, missing_share: f64, cloud: &Cloud, rng: &mut Rng) {
    let is_instance = |one: &Shown, word: &str| {
        let is_target = |id: &InstanceId| cloud.fleet.is_named(id, word);
        one.is_instance(word) || matches!(one, Shown::Target(target) if is_target(&target.instance))
    };
    match (&strike.instance, &strike.resource) {
        (Some(word), _) => list.items.retain(|one| !is_instance(one, word)),
        (None, Some(word)) => list.items.retain(|one| !one.is_piece(word)),
        (None, None) => {
            for _ in 0..share_of(list.items.len(), missing_share) {
                let most = list.items.len() - 1;
                let drawn = usize::try_from(rng.up_to(most as u64)).unwrap_or(most);
                list.items.remove(drawn);
            }
        }
    }
}

/// So much of so many, rounded, and at least one of any.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "a share of a page is small and not negative"
)]
fn share_of(many: usize, share: f64) -> usize {
    let rounded = (many as f64 * share).round() as usize;
    rounded.max(1).min(many)
}
