//! The binary on AWS, as far as the fake goes.

#![allow(clippy::unwrap_used, reason = "this is a test")]

mod adoption;
mod annotations;
mod figures;
mod nodes;
mod policy;
mod services;
