//! Configuration and credentials of the provider, read again when they change.
//!
//! A provider that can be built from the new files takes the place of the old one, and the
//! controllers start over with it; the process, its lease and its endpoints stay. What cannot be
//! used is said once, and the old one goes on.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;
use tracing::{error, info};

use super::flags::Options;
use super::{user_agent, wiring};
use crate::cloud::{BoxError, CloudProvider, ClusterId, Registration};
use crate::report::Chain;
use crate::telemetry::ProcessMetrics;

/// From one look at the files to the next. A `ConfigMap` or `Secret` takes a kubelet a minute.
const LOOK: Duration = Duration::from_secs(5);

/// Builds the provider from its configuration as it is now, and refuses what the process could not
/// run with.
pub(super) fn provider(
    registration: &Registration,
    options: &Options,
) -> Result<Arc<dyn CloudProvider>, BoxError> {
    let cloud = registration.provider(
        options.cloud.config.as_deref(),
        options.cluster.name.as_str().into(),
        user_agent(),
        options.cluster.cidrs.clone(),
    )?;
    if cloud.cluster_id() == ClusterId::Missing && !options.cloud.allow_untagged {
        let message = "the provider's configuration gives no cluster ID, so this cluster's resources could not \
                       be told from another's; set one, or --allow-untagged-cloud=true";
        return Err(message.into());
    }
    wiring::without_ranges(&*cloud, options)?;
    Ok(cloud)
}

/// Looks at the files that the provider was built from.
pub(super) struct Reload<'a> {
    registration: &'a Registration,
    options: &'a Options,
    metrics: ProcessMetrics,
    cluster_id: ClusterId,
    seen: Files,
}

/// What the files held: nothing where one cannot be read. A hash each, because they hold secrets.
type Files = BTreeMap<PathBuf, Option<u64>>;

impl<'a> Reload<'a> {
    /// `cloud` was built just now.
    pub(super) fn new(
        registration: &'a Registration,
        options: &'a Options,
        cloud: &dyn CloudProvider,
        metrics: ProcessMetrics,
    ) -> Self {
        let paths = options.cloud.config.clone().into_iter().chain(cloud.files());
        let seen = paths.map(|path| (path, None)).collect();
        let cluster_id = cloud.cluster_id();
        Self { registration, options, metrics, cluster_id, seen: look(seen) }
    }

    /// Waits until the files have changed and a provider could be built from them. May be dropped
    /// and called again.
    pub(super) async fn next(&mut self) -> Arc<dyn CloudProvider> {
        loop {
            sleep(LOOK).await;
            if let Some(cloud) = self.look_again() {
                return cloud;
            }
        }
    }

    /// A provider, where the files have changed since the last look and one could be built.
    pub(super) fn look_again(&mut self) -> Option<Arc<dyn CloudProvider>> {
        let now = look(self.seen.clone());
        if now == self.seen {
            return None;
        }
        // Once for each content: who mends it makes another.
        self.seen = now;
        match self.build() {
            Ok(cloud) => {
                let more = cloud.files().into_iter().map(|path| (path, None));
                self.seen = look(self.seen.clone().into_iter().chain(more).collect());
                self.metrics.reloaded(true);
                info!("the provider's configuration or credentials have changed and are used now");
                Some(cloud)
            }
            Err(err) => {
                self.metrics.reloaded(false);
                error!(
                    error = %Chain(&*err),
                    "the provider's configuration or credentials have changed and cannot be used; those of before go on"
                );
                None
            }
        }
    }

    fn build(&self) -> Result<Arc<dyn CloudProvider>, BoxError> {
        let cloud = provider(self.registration, self.options)?;
        let id = cloud.cluster_id();
        // What was made so far bears the old one: it would be made once more.
        if id != self.cluster_id {
            let name = |id: &ClusterId| match id {
                ClusterId::Given(id) => format!("{id:?}"),
                ClusterId::Discovered => "one that the cloud is asked for".to_owned(),
                ClusterId::Missing => "none".to_owned(),
            };
            let (old, new) = (name(&self.cluster_id), name(&id));
            return Err(format!(
                "the cluster ID changes from {old} to {new}, which takes a restart"
            )
            .into());
        }
        Ok(cloud)
    }
}

fn look(files: Files) -> Files {
    let hash = |path: &PathBuf| {
        let bytes = std::fs::read(path).ok()?;
        let mut hasher = DefaultHasher::new();
        bytes.hash(&mut hasher);
        Some(hasher.finish())
    };
    files.into_keys().map(|path| (path.clone(), hash(&path))).collect()
}
