//! The cloud as its callers meet it: over HTTP.

#![allow(clippy::unwrap_used, reason = "these are tests")]

mod behaviour;
mod controls;
mod faults;
mod instances;
mod load_balancers;
mod process;
mod routes;
mod support;
mod volumes;
