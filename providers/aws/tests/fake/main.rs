//! The provider on a fake AWS, over HTTP.
//!
//! These tests wait far more than they work: `cargo xtask test` runs many at once.

#![allow(clippy::unwrap_used, reason = "this is a test")]

mod classic;
mod conformance;
mod elsewhere;
mod network;
mod process;
mod stage;
