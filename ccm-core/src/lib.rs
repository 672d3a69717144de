//! The framework: the contract that a cloud implements, and the controllers, process and
//! command line that every cloud gets with it.
//!
//! Dependencies point one way: `app → controllers → {converge, fleet} → governor → cluster → cloud`. The
//! [`cloud`] module holds the contract and nothing else of ours; it knows no Kubernetes client.

pub mod app;
#[cfg(test)]
mod chance;
pub mod cloud;
pub mod cluster;
pub mod controllers;
pub mod converge;
pub mod fleet;
pub mod governor;
pub mod queue;
pub mod report;
pub mod telemetry;
