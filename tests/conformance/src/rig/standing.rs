//! How far an object is, in the engine's words and by a fresh look.

use std::fmt::Write as _;

use ccm_core::cloud::{Kind, ObjectId};
use ccm_core::converge::{Aim, Progress, Rehearsed};

/// How often in a row a provider may make a mistake before it is taken for one.
const MISTAKES: u32 = 3;

/// Why an object is not as wanted by the engine's word. Panics where only a person can help.
pub(super) fn hindrance(id: &ObjectId, aim: Aim, progress: Option<&Progress>) -> Option<String> {
    let Some(progress) = progress else { return Some(format!("{id} is not known")) };
    if let Some(trouble) = &progress.trouble {
        let passes_by = match trouble.error.kind() {
            // By a look from before a change of ours it may be so, and heals with the next one.
            Kind::InvalidConfiguration | Kind::Unsupported => progress.is_unsure,
            // Once may be because somebody else undid what was done.
            Kind::Internal => trouble.failures < MISTAKES,
            Kind::NotFound
            | Kind::PermissionDenied
            | Kind::QuotaExceeded
            | Kind::RateLimited { .. }
            | Kind::Conflict
            | Kind::Unavailable
            | Kind::Stopped => true,
        };
        assert!(passes_by, "{id} is in trouble: {:?}", trouble.error);
    }
    let is_there = match aim {
        Aim::Present => progress.is_done,
        Aim::Absent => progress.is_gone,
        Aim::Keep => true,
    };
    // Of what is gone nobody waits for one more look.
    let is_sure = aim == Aim::Absent || !progress.is_unsure;
    let is_settled = is_there && is_sure && !progress.is_under_way && progress.trouble.is_none();
    (!is_settled).then(|| format!("{id} is not {aim:?}: {progress:?}"))
}

/// What a fresh look finds to do.
pub(super) fn left_of(rehearsed: &[Rehearsed]) -> Option<String> {
    let mut left = String::new();
    for Rehearsed { unit, plan, .. } in rehearsed {
        match plan {
            Ok(plan) if plan.is_done() => {}
            Ok(plan) => {
                for step in plan.stages.iter().flatten() {
                    let _ = write!(left, "{unit}: {}; ", step.change);
                }
                for later in &plan.later {
                    let _ = write!(left, "{unit} waits for {}; ", later.waits_for);
                }
            }
            Err(err) => {
                let _ = write!(left, "{unit}: {err}; ");
            }
        }
    }
    (!left.is_empty()).then(|| format!("a fresh look finds more to do: {left}"))
}
