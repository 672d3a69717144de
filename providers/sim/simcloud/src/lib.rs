#![doc = include_str!("../README.md")]

pub mod api;
#[cfg(feature = "console")]
pub mod console;

#[cfg(feature = "server")]
mod calls;
#[cfg(feature = "server")]
mod faults;
#[cfg(feature = "server")]
mod limits;
#[cfg(feature = "server")]
mod persist;
#[cfg(feature = "server")]
mod request;
#[cfg(feature = "server")]
mod rng;
#[cfg(feature = "server")]
mod server;
#[cfg(feature = "server")]
mod settings;
#[cfg(feature = "server")]
mod state;

#[cfg(feature = "server")]
pub use persist::StateFileError;
#[cfg(feature = "server")]
pub use server::{BadToken, Config, Running, SimCloud, StartError, Token};
