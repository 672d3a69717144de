//! A real etcd and kube-apiserver on loopback, for tests, the demo and measurements.
//!
//! ```no_run
//! # async fn example() -> Result<(), ccm_envtest::Error> {
//! use ccm_envtest::{ControlPlane, Grant, kubelet::Kubelet};
//!
//! let control_plane = ControlPlane::start().await?;
//! Kubelet::new("node-1").node_ip("10.0.0.1").register(&control_plane.admin_client()).await?;
//! let grants = [Grant::ClusterRoleNamed("view".into())];
//! let account = control_plane.service_account("kube-system", "ccm", &grants).await?;
//! // Run the program under test with `account.kubeconfig()`.
//! control_plane.stop().await?;
//! # Ok(())
//! # }
//! ```
//!
//! What a newcomer gets wrong: there is no kube-controller-manager, scheduler or kubelet. Nobody turns nodes Unknown,
//! deletes dependents, empties namespaces or takes the not-ready taint away; [`kubelet`] plays as much as is needed. The
//! crate `ccm-node` puts them there.
//!
//! Everything that is started is stopped, however we end. A [`ControlPlane`] that goes out of scope kills its processes
//! and removes its directory. If our process is killed, a guardian does that (`guardian`); if the guardian is killed
//! too, the next start does (`sweep`). `CCM_ENVTEST_KEEP=1` keeps the directories with the logs.
//!
//! Linux only: processes are told apart with the help of `/proc`.

mod access;
mod apiserver;
pub mod audit;
pub mod binaries;
mod certificates;
mod cgroups;
mod control_plane;
mod error;
mod etcd;
mod grant;
mod guardian;
mod instance;
pub mod kubelet;
pub mod pause;
pub mod peer;
mod ports;
mod process;
mod record;
mod sweep;
mod toolchain;

pub use access::{Credentials, ServiceAccountAccess};
pub use binaries::Binary;
pub use control_plane::{ControlPlane, KUBELET_CLIENT, Options};
pub use error::{Error, Run};
pub use grant::Grant;
pub use process::{Identity, ParseIdentityError, Process};
