//! The binary against a real control plane and a simulated cloud.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so by failing")]
#![expect(clippy::print_stdout, reason = "figures, for whoever runs with --nocapture")]

mod doubt;
mod follow;
mod hostile;
mod initialise;
mod ipam;
mod lease;
mod lifecycle;
mod matrix;
mod migration;
mod outage;
mod process;
mod provided_ip;
mod race;
mod rights;
mod routes;
mod services;
mod serving;
mod start;
mod swap;
mod volumes;
