//! The Kubernetes side: clients, the gate that every mutation passes, the lease, events, and the
//! trimmed objects with their caches.

pub mod cache;
pub mod client;
pub mod events;
pub mod facts;
pub mod gate;
pub mod keys;
pub mod lease;
mod meta;
pub mod node;
pub mod nodes;
pub mod pairs;
pub mod rights;
pub mod service;
pub mod services;
pub mod volume;
pub mod volumes;
