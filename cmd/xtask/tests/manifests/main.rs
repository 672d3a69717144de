//! What is checked in to be applied to a cluster: its three forms say the same, and an API server takes them.
//!
//! That they are what the program prints is checked by `cargo xtask manifests --check`.

#![allow(clippy::unwrap_used, reason = "this is a test")]

mod accepted;
mod charts;
mod kustomize;
mod objects;
mod rights;

/// Whatever went wrong.
type Error = Box<dyn std::error::Error + Send + Sync>;

/// The providers of a release.
const PROVIDERS: [&str; 2] = ["aws", "sim"];
