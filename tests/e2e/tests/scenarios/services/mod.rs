//! Services of type `LoadBalancer`.

mod basics;
mod crashes;
mod crowd;
mod drift;
mod interruptions;
mod isolation;
mod members;
mod mistakes;
mod plan;
