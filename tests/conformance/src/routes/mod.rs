//! What routes promise: [`Converge`](ccm_core::cloud::Converge) for
//! [`RouteSpec`](ccm_core::cloud::RouteSpec), as the framework's engine drives it.
//!
//! Nothing here depends on whether a provider makes routes one by one, each node a unit, or writes a
//! table that all nodes share, many at once. *Settled* is said of a process all of whose nodes are
//! routed, or gone, and of which a fresh look finds nothing to do. Nothing is judged before that.

mod crashes;
mod faults;
mod lifecycle;
mod ownership;
mod plans;
mod story;

pub use self::crashes::*;
pub use self::faults::*;
pub use self::lifecycle::*;
pub use self::ownership::*;
pub use self::plans::*;
