//! The controllers. Each is a folder with the same rooms: `decide` (pure: what was observed in,
//! what should change in the cluster out), `act` (carries a decision out and decides nothing), and
//! the module itself (queue, wiring).

mod known;
pub mod node;
pub mod node_lifecycle;
mod progress;
pub mod rehearsal;
pub mod route;
#[cfg(test)]
mod schedules;
pub mod service;
mod write;

pub use write::WriteClient;
