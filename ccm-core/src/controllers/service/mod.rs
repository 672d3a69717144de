//! The service controller: gives Services of type `LoadBalancer` what they ask for.

pub mod act;
pub mod members;
pub mod spec;
