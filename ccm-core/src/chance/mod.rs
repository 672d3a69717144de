//! What the seeded schedules share: chance that can be had again, and counts of what happened.

mod campaign;
mod figures;
mod rng;

pub(crate) use self::campaign::{Campaign, End};
pub(crate) use self::figures::Figures;
pub(crate) use self::rng::Rng;
