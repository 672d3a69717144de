//! A fake AWS for tests: [moto](https://docs.getmoto.org), a third party's fake, with its gaps
//! corrected by named rules, faults on request and a log of all calls.
//!
//! [`AwsCloud::start`] installs it (once for all checkouts of a user) and starts it as a process of
//! its own; the [`Console`] is the test's hand on it. What is corrected is in the book
//! (`docs/src/reference/aws-fake.md`), how to use it in this crate's `README.md`.

mod api;
mod cache;
mod console;
mod environment;
mod error;
mod nursery;
mod program;
mod server;

pub use api::{
    Call, Calls, Correction, Fault, FaultKind, Instance, Launch, Network, Refusal, Settings, World,
};
pub use console::Console;
pub use error::Error;
pub use server::AwsCloud;
