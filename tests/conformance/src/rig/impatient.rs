//! What a provider makes, without the time that its units settle for, nor a lag that the cloud at hand
//! has not.
//!
//! How long changes are collected, and when looks are believed, is the engine's to keep, and tested
//! there. Here it would be most of what the kit waits for, some thousand times.

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use ccm_core::cloud::{
    AnyChange, AnyObserved, Change, CloudError, Converge, Converger, Effect, Learnt, Owned, Plan,
    Read, Spec, Step, Unit, Want, World, Write,
};

/// The same, at once.
#[derive(Debug)]
pub(super) struct Impatient<S: Spec> {
    pub(super) inner: Converger<S>,
    /// Instead of the provider's.
    pub(super) lag: Option<Duration>,
}

/// The provider's change.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) struct Same(AnyChange);

impl fmt::Debug for Same {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl fmt::Display for Same {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl Change for Same {
    fn effect(&self) -> Effect {
        self.0.effect()
    }
}

#[async_trait]
impl<S: Spec> Converge<S> for Impatient<S> {
    type Observed = AnyObserved;
    type Change = Same;

    fn units(&self, want: &Want<S>) -> Vec<Unit> {
        let units = self.inner.units(want).into_iter();
        units.map(|unit| Unit { settle: Duration::ZERO, ..unit }).collect()
    }

    async fn observe(
        &self,
        cx: &Read,
        unit: &Unit,
        world: &World<S>,
    ) -> Result<AnyObserved, CloudError> {
        self.inner.observe(cx, unit, world).await
    }

    fn plan(&self, unit: &Unit, world: &World<S>, observed: &AnyObserved) -> Plan<Same> {
        let Plan { stages, later, reports } = self.inner.plan(unit, world, observed);
        let same = |Step { change, wanted_by, tolerate }| Step {
            change: Same(change),
            wanted_by,
            tolerate,
        };
        let stages = stages.into_iter().map(|stage| stage.into_iter().map(same).collect());
        Plan { stages: stages.collect(), later, reports }
    }

    async fn apply(
        &self,
        cx: &Write,
        change: &Same,
        observed: &AnyObserved,
    ) -> Result<Learnt<AnyObserved>, CloudError> {
        self.inner.apply(cx, &change.0, observed).await
    }

    fn lag(&self) -> Duration {
        self.lag.unwrap_or_else(|| self.inner.lag())
    }

    async fn inventory(&self, cx: &Read) -> Result<Vec<Owned>, CloudError> {
        self.inner.inventory(cx).await
    }
}
