//! Services of type `LoadBalancer`.

mod basics;
mod crashes;
mod mistakes;
mod interruptions;
mod isolation;
mod members;
