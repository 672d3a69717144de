//! What load balancers promise: [`Converge`](ccm_core::cloud::Converge) for
//! [`LoadBalancerSpec`](ccm_core::cloud::LoadBalancerSpec), as the framework's engine drives it.
//!
//! *Settled* is said of a process all of whose Services are done, or gone, and of which a fresh look
//! finds nothing to do. Nothing is judged before that; what went on until then is the provider's.

mod changes;
mod crashes;
mod faults;
mod lifecycle;
mod plans;
mod sharing;
mod story;
mod targets;

pub use self::changes::*;
pub use self::crashes::*;
pub use self::faults::*;
pub use self::lifecycle::*;
pub use self::plans::*;
pub use self::sharing::*;
pub use self::targets::*;
