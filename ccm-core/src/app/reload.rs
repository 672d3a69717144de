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
use tracing::subscriber::{NoSubscriber, with_default};
use tracing::{error, info};

use super::flags::Options;
use super::{user_agent, wiring};
use crate::cloud::{BoxError, CloudProvider, ClusterId, Registration};
use crate::report::Chain;
use crate::telemetry::ProcessMetrics;

/// From one look at the files to the next. A `ConfigMap` or `Secret` takes a kubelet a minute.
const LOOK: Duration = Duration::from_secs(5);

/// How often a provider is built anew because a file that it names was not looked at before. A guess:
/// once is the rule, and more where its configuration changes meanwhile.
const BUILDS: u8 = 3;

/// A provider, and what its files held before it was built.
pub(super) struct Built {
    pub(super) cloud: Arc<dyn CloudProvider>,
    files: Files,
}

/// Builds the provider from its configuration as it is now, and refuses what the process could not
/// run with.
pub(super) fn provider(registration: &Registration, options: &Options) -> Result<Built, BoxError> {
    built(options, Files::new(), || build(registration, options))
}

/// Builds after looking at the files, those that are `known` and those that the provider turns out to
/// have: a change while it is built shall be one from what has been seen.
fn built(
    options: &Options,
    known: Files,
    build: impl Fn() -> Result<Arc<dyn CloudProvider>, BoxError>,
) -> Result<Built, BoxError> {
    let config = options.cloud.config.clone();
    let mut files = look(known.into_keys().chain(config.clone()));
    let mut cloud = build()?;
    for _ in 1..BUILDS {
        let its_own = cloud.files();
        if its_own.iter().all(|path| files.contains_key(path)) {
            break;
        }
        // Which of them it was built from is not known.
        let now = look(config.clone().into_iter().chain(its_own));
        let is_same = config.as_ref().is_none_or(|config| now.get(config) == files.get(config));
        files = now;
        // What it warns of in the same configuration has been said.
        cloud = if is_same { with_default(NoSubscriber::default(), &build)? } else { build()? };
    }
    let paths: Vec<PathBuf> = config.into_iter().chain(cloud.files()).collect();
    files.retain(|path, _| paths.contains(path));
    Ok(Built { cloud, files })
}

fn build(
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
    /// Of a provider that was built some time ago.
    pub(super) fn new(
        registration: &'a Registration,
        options: &'a Options,
        built: &Built,
        metrics: ProcessMetrics,
    ) -> Self {
        let (seen, cluster_id) = (built.files.clone(), built.cloud.cluster_id());
        Self { registration, options, metrics, cluster_id, seen }
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
        let now = look(self.seen.clone().into_keys());
        if now == self.seen {
            return None;
        }
        // Once for each content: who mends it makes another.
        self.seen = now;
        match built(self.options, self.seen.clone(), || self.build()) {
            Ok(Built { cloud, files }) => {
                self.seen = files;
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
        let cloud = build(self.registration, self.options)?;
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

fn look(paths: impl IntoIterator<Item = PathBuf>) -> Files {
    let hash = |path: &PathBuf| {
        let bytes = std::fs::read(path).ok()?;
        let mut hasher = DefaultHasher::new();
        bytes.hash(&mut hasher);
        Some(hasher.finish())
    };
    paths.into_iter().map(|path| (path.clone(), hash(&path))).collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Mutex;

    use prometheus_client::registry::Registry;

    use super::*;
    use crate::app::flags::{Command, Program, parse};
    use crate::cloud::annotations::Annotations;
    use crate::cloud::{
        Belongs, ConfigError, Install, Needs, NodeIdentity, Policy, Registration, Setup,
    };

    /// Built from a file of which it says only that it was.
    #[derive(Debug)]
    struct Cloud {
        token: PathBuf,
    }

    impl CloudProvider for Cloud {
        fn name(&self) -> &'static str {
            "toy"
        }

        fn cluster_id(&self) -> ClusterId {
            ClusterId::Given("c".to_owned())
        }

        fn belongs(&self, _: &NodeIdentity) -> Belongs {
            Belongs::Unsaid
        }

        fn files(&self) -> Vec<PathBuf> {
            vec![self.token.clone()]
        }
    }

    /// What each building read, and what is written into which file after it.
    static READ: Mutex<Vec<String>> = Mutex::new(Vec::new());
    static NEXT: Mutex<Vec<(&str, &str)>> = Mutex::new(Vec::new());

    /// The configuration names the file with the token. Both change right after they were read.
    #[expect(clippy::unnecessary_wraps, reason = "a registration's shape")]
    fn build_toy(_: &Setup) -> Result<Arc<dyn CloudProvider>, ConfigError> {
        let read = |name: &str| std::fs::read_to_string(folder().join(name)).unwrap();
        let token = folder().join(read("config"));
        READ.lock().unwrap().push(std::fs::read_to_string(&token).unwrap());
        tracing::warn!("a key that nobody knows");
        if let Some((name, text)) = NEXT.lock().unwrap().pop() {
            write(name, text);
        }
        Ok(Arc::new(Cloud { token }))
    }

    fn folder() -> PathBuf {
        std::env::temp_dir().join(format!("ccm-reload-{}", std::process::id()))
    }

    fn write(name: &str, text: &str) {
        std::fs::write(folder().join(name), text).unwrap();
    }

    fn options(config: &Path) -> Options {
        let program = Program { name: "ccm", version: "0", commit: None, providers: vec![] };
        let config = format!("--cloud-config={}", config.display());
        match parse(&program, ["ccm", "--cloud-provider=toy", &config]) {
            Ok(Command::Run(options)) => options,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn no_change_is_lost_that_comes_while_the_provider_is_built() {
        std::fs::create_dir_all(folder()).unwrap();
        write("config", "token");
        write("token", "one");
        let registration = Registration {
            name: "toy",
            needs: Needs::default(),
            service_annotations: Annotations::NONE,
            policy: Policy::default(),
            install: Install::default(),
            build: build_toy,
        };
        let options = options(&folder().join("config"));
        let read = || std::mem::take(&mut *READ.lock().unwrap());

        // Of the token's file it is not known before that it is one.
        *NEXT.lock().unwrap() = vec![("token", "three"), ("token", "two")];
        let log = std::fs::File::create(folder().join("log")).unwrap();
        let logging = tracing_subscriber::fmt().with_writer(Mutex::new(log)).finish();
        let built = with_default(logging, || provider(&registration, &options)).unwrap();
        assert_eq!(read(), ["one", "two"]);
        let log = std::fs::read_to_string(folder().join("log")).unwrap();
        assert_eq!(log.matches("a key that nobody knows").count(), 1, "{log}");
        let metrics = ProcessMetrics::register(&mut Registry::default());
        let mut reload = Reload::new(&registration, &options, &built, metrics);
        assert!(reload.look_again().is_some(), "it was three before anybody looked again");
        assert_eq!(read(), ["three"]);
        assert!(reload.look_again().is_none());

        write("token", "four");
        *NEXT.lock().unwrap() = vec![("token", "five")];
        assert!(reload.look_again().is_some());
        assert!(reload.look_again().is_some(), "changed while it was built");
        assert_eq!(read(), ["four", "five"]);

        write("other", "six");
        write("config", "other");
        assert!(reload.look_again().is_some());
        assert_eq!(read(), ["six", "six"], "built once more, for a file that was not looked at");
        write("token", "seven");
        assert!(reload.look_again().is_none(), "what is not read any more is not looked at");
        std::fs::remove_dir_all(folder()).unwrap();
    }
}
