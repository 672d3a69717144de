//! The controllers. Each is a folder with the same rooms: `decide` (pure: what was observed in,
//! what should change in the cluster out), `act` (carries a decision out and decides nothing), and
//! the module itself (queue, wiring).

mod known;
mod label;
mod memory;
mod network;
pub mod node;
pub mod node_ipam;
pub mod node_lifecycle;
mod progress;
pub mod rehearsal;
pub mod route;
#[cfg(test)]
mod schedules;
pub mod service;
pub mod volume;
mod waiting;
mod wanting;
mod write;

pub use write::WriteClient;
