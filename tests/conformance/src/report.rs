//! All behaviours of a capability in one go, and what became of each.

use std::fmt;

use futures::future::LocalBoxFuture;
use futures::{StreamExt, stream};
use serde::Serialize;
use tokio::time::Instant;

use crate::balancing::LoadBalancerHarness;
use crate::harness::Harness;
use crate::outcome::{Outcome, outcome_of};
use crate::routing::RouteHarness;
use crate::run::runtime;
use crate::volumes::VolumeHarness;

/// Behaviours that run at once, each against a harness of its own.
const AT_ONCE: usize = 4;

/// One behaviour, by name.
pub struct Behaviour<H> {
    /// Its capability: `instances`.
    pub capability: &'static str,
    /// The name of its function.
    pub name: &'static str,
    run: for<'a> fn(&'a H) -> LocalBoxFuture<'a, ()>,
}

impl<H> fmt::Debug for Behaviour<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}::{}", self.capability, self.name)
    }
}

macro_rules! behaviours {
    ($capability:ident $($name:ident)+) => {
        vec![$(Behaviour {
            capability: stringify!($capability),
            name: stringify!($name),
            run: |harness| Box::pin(crate::$capability::$name(harness)),
        }),+]
    };
}

/// All behaviours of instances.
pub fn of_instances<H: Harness>() -> Vec<Behaviour<H>> {
    crate::__list! { instances, { behaviours } { instances } }
}

/// All behaviours of load balancers.
pub fn of_load_balancers<H: LoadBalancerHarness>() -> Vec<Behaviour<H>> {
    crate::__list! { load_balancers, { behaviours } { load_balancers } }
}

/// All behaviours of routes.
pub fn of_routes<H: RouteHarness>() -> Vec<Behaviour<H>> {
    crate::__list! { routes, { behaviours } { routes } }
}

/// All behaviours of volumes.
pub fn of_volumes<H: VolumeHarness>() -> Vec<Behaviour<H>> {
    crate::__list! { volumes, { behaviours } { volumes } }
}

/// What became of each behaviour. `Display` is for people, [`json`](Self::json) for programs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// In the order in which they were asked for.
    pub behaviours: Vec<Line>,
}

/// What became of one behaviour.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Line {
    /// Its capability.
    pub capability: &'static str,
    /// Its name.
    pub name: &'static str,
    /// How it ended.
    #[serde(flatten)]
    pub outcome: Outcome,
    /// How long that took, without the making of the harness.
    pub millis: u128,
}

impl Report {
    /// Runs these behaviours, each against a harness of its own, a few at once.
    pub fn of<H: Harness>(behaviours: Vec<Behaviour<H>>, harness: impl AsyncFn() -> H) -> Self {
        let harness = &harness;
        let line = async |behaviour: Behaviour<H>| {
            let Behaviour { capability, name, run } = behaviour;
            let harness = harness().await;
            let began = Instant::now();
            let outcome = outcome_of(&harness, run(&harness)).await;
            Line { capability, name, outcome, millis: began.elapsed().as_millis() }
        };
        let behaviours = runtime().block_on(async {
            stream::iter(behaviours).map(line).buffered(AT_ONCE).collect().await
        });
        Self { behaviours }
    }

    /// Whether no promise is broken.
    pub fn is_kept(&self) -> bool {
        !self.behaviours.iter().any(|line| matches!(line.outcome, Outcome::Failed(_)))
    }

    /// The report for programs.
    pub fn json(&self) -> String {
        serde_json::to_string_pretty(self).expect("plain text can be written as JSON")
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (mut passed, mut failed, mut not_offered) = (0, 0, 0);
        for Line { capability, name, outcome, .. } in &self.behaviours {
            let what = format!("{capability}: {}", name.replace('_', " "));
            match outcome {
                Outcome::Passed => {
                    passed += 1;
                    writeln!(f, "passed       {what}")?;
                }
                Outcome::NotOffered(says) => {
                    not_offered += 1;
                    writeln!(f, "not offered  {what}: {says}")?;
                }
                Outcome::Failed(how) => {
                    failed += 1;
                    writeln!(f, "FAILED       {what}: {how}")?;
                }
            }
        }
        writeln!(f, "{passed} passed, {failed} failed, {not_offered} not offered")
    }
}

/// Prints the report, and writes it as JSON to the file that `CCM_CONFORMANCE_JSON` names. What
/// [`report!`](crate::report) makes a test of; fails where a promise is broken.
#[expect(clippy::print_stdout, reason = "that is what it is for")]
pub fn publish(report: &Report) {
    println!("{report}");
    if let Some(path) = std::env::var_os("CCM_CONFORMANCE_JSON")
        && let Err(err) = std::fs::write(&path, report.json())
    {
        panic!("{} cannot be written: {err}", path.display());
    }
    assert!(report.is_kept(), "a promise is broken");
}

/// Makes a test `report`, ignored unless it is asked for, that runs the behaviours of these
/// capabilities and prints what became of each; see the crate's documentation.
#[macro_export]
macro_rules! report {
    ($harness:expr, $($capability:ident),+ $(,)?) => {
        $crate::__report! { $harness, $($crate::__of!($capability)),+ }
    };
}

/// Part of [`report!`].
#[doc(hidden)]
#[macro_export]
macro_rules! __of {
    (instances) => {
        $crate::of_instances()
    };
    (load_balancers) => {
        $crate::of_load_balancers()
    };
    (routes) => {
        $crate::of_routes()
    };
    (volumes) => {
        $crate::of_volumes()
    };
}

/// Part of [`report!`].
#[doc(hidden)]
#[macro_export]
macro_rules! __report {
    ($harness:expr, $($behaviours:expr),+) => {
        #[test]
        #[ignore = "prints the report of all behaviours; to be asked for"]
        fn report() {
            let mut behaviours = ::std::vec::Vec::new();
            $(behaviours.extend($behaviours);)+
            $crate::publish(&$crate::Report::of(behaviours, async || $harness));
        }
    };
}
