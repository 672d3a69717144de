//! The engine: the only caller of [`apply`](crate::cloud::Converge::apply).
//!
//! A [`pass`] looks at one unit, plans, carries out the first stage, and looks again, until nothing
//! is left to do or something has to be waited for. Who wants what, what a want is to each of its
//! units, and when a unit is looked at next, is decided by the `book`, which is pure; the [`Engine`]
//! makes the passes and tells the [`Office`] that wanted them.

mod book;
mod cause;
mod engine;
mod entry;
pub mod pass;
mod progress;
#[cfg(test)]
mod schedules;
#[cfg(test)]
mod wants;

pub use self::book::Timing;
pub use self::cause::Cause;
pub use self::engine::{Ended, Engine, Office, PASS_LIMIT, Rehearsed, Settings, Watcher};
pub use self::pass::Changed;
pub use self::progress::{Aim, Progress, Trouble};
