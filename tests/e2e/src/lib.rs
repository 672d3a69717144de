//! The binary against a real control plane and a simulated cloud: what a test of the whole needs.
//!
//! A [`World`] is a control plane, a cloud, and as many cloud-controller-managers as a test asks
//! for, each a process of its own. Everything is looked at from the outside: objects, the API
//! server's audit log, the cloud's call log, HTTPS endpoints, exit codes.
//!
//! What a newcomer gets wrong: control planes are slow to start, so tests share a few, one after
//! the other (`stage`). A test finds no nodes, no lease and no events, but names and versions go
//! on, and it must run on the runtime of [`run`].

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says so by failing")]

mod aws;
mod binaries;
mod ccm;
mod cloud;
mod documented;
mod guardian;
mod https;
mod pieces;
mod process;
mod proxy;
mod rights;
mod routes;
mod seen;
mod services;
mod stage;
mod traffic;
mod volumes;
mod wait;
mod world;

pub use aws::{ANNOTATION, Aws, Go, annotation_key};
pub use ccm::{Account, Ccm, SHORT_LEASE, Setup, Target, in_the_cloud, refused};
pub use cloud::Cloud;
pub use https::{Answer, Asker};
pub use process::{Process, Signal};
pub use proxy::Proxy;
pub use rights::{LEASE, NAMESPACE, least};
pub use routes::Pods;
pub use seen::{Seen, instance_known};
pub use services::{SeenService, Wanted, ports};
pub use stage::run;
pub use traffic::Traffic;
pub use volumes::{DRIVER, SeenVolume, WantedVolume};
pub use wait::{LONG, SOON, wait_until};
pub use world::{Options, World};
