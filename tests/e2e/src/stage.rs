//! Control planes, shared by tests one after the other.
//!
//! One takes five seconds to start, so there are as many as tests run at once. A test takes one that
//! is free, or starts one, and leaves it to the next unless it has failed.

use std::collections::BTreeSet;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use ccm_envtest::{ControlPlane, Options, ServiceAccountAccess, peer};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Event, Node};
use kube::api::{DeleteParams, ListParams};
use kube::{Api, ResourceExt};
use tokio::runtime::Runtime;
use tokio::sync::{OwnedRwLockReadGuard, OwnedRwLockWriteGuard, RwLock};

use crate::rights::{self, NAMESPACE};
use crate::{services, volumes};

/// Clients live as long as the runtime in which they were made, so there is one for all tests.
static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().unwrap());

static FREE: Mutex<Vec<Stage>> = Mutex::new(Vec::new());

/// Tests that measure run alone.
static ALONE: LazyLock<Arc<RwLock<()>>> = LazyLock::new(Arc::default);

/// Runs a test.
pub fn run(test: impl Future<Output = ()>) {
    RUNTIME.block_on(test);
}

/// A control plane and the accounts of the programs under test.
#[derive(Debug)]
pub(crate) struct Stage {
    pub(crate) control_plane: ControlPlane,
    /// `cloud-controller-manager`, another one with the same rights, to tell two replicas apart, one
    /// that may not delete Nodes, one that knows nothing of volumes, one that may only read, and the Go
    /// library's.
    pub(crate) accounts: Box<[ServiceAccountAccess; 6]>,
}

/// Who else may be at work.
#[derive(Debug)]
#[expect(dead_code, reason = "held, not read")]
pub(crate) enum Turn {
    Shared(OwnedRwLockReadGuard<()>),
    Alone(OwnedRwLockWriteGuard<()>),
}

impl Turn {
    pub(crate) async fn take(alone: bool) -> Self {
        let lock = Arc::clone(&ALONE);
        if alone {
            Self::Alone(lock.write_owned().await)
        } else {
            Self::Shared(lock.read_owned().await)
        }
    }
}

impl Stage {
    /// An empty one.
    pub(crate) async fn take() -> Self {
        let free = FREE.lock().unwrap_or_else(PoisonError::into_inner).pop();
        match free {
            Some(stage) => {
                stage.clear().await;
                stage
            }
            None => Self::start().await,
        }
    }

    /// For the next test.
    pub(crate) fn leave(self) {
        FREE.lock().unwrap_or_else(PoisonError::into_inner).push(self);
    }

    async fn start() -> Self {
        let options = Options { audit: true, ..Options::default() };
        let control_plane = ControlPlane::start_with(options).await.unwrap();
        let account = async |name, grants: &[_]| {
            control_plane.service_account(NAMESPACE, name, grants).await.unwrap()
        };
        let accounts = Box::new([
            account("cloud-controller-manager", &rights::least()).await,
            account("cloud-controller-manager-2", &rights::least()).await,
            account("cloud-controller-manager-3", &rights::without_deletion()).await,
            account("cloud-controller-manager-4", &rights::without_volumes()).await,
            account("reader", &rights::reading()).await,
            account(peer::CALLER, &peer::grants(NAMESPACE)).await,
        ]);
        Self { control_plane, accounts }
    }

    async fn clear(&self) {
        let client = self.control_plane.admin_client();
        let (delete, all) = (DeleteParams::default(), ListParams::default());
        Api::<Node>::all(client.clone()).delete_collection(&delete, &all).await.unwrap();
        services::clear(client.clone()).await;
        volumes::clear(client.clone()).await;
        let events = Api::<Event>::all(client.clone()).list_metadata(&all).await.unwrap();
        let namespaces: BTreeSet<_> = events.iter().filter_map(ResourceExt::namespace).collect();
        for namespace in namespaces {
            let events = Api::<Event>::namespaced(client.clone(), &namespace);
            events.delete_collection(&delete, &all).await.unwrap();
        }
        let leases = Api::<Lease>::namespaced(client, NAMESPACE);
        let ours = ListParams::default().fields(&format!("metadata.name={}", rights::LEASE));
        leases.delete_collection(&delete, &ours).await.unwrap();
    }
}
