//! [`Converge`] behind `dyn`: what lets the engine hold any provider's load balancers or routes.
//!
//! Vendors write [`Converge`] with their own types and hand over a [`Converger`]; only the engine
//! sees what is in it.

use std::any::Any;
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::call::{Read, Write};
use super::converge::{
    Change, Converge, Effect, Holds, Learnt, Owned, Plan, Report, Spec, Step, Unit, Verdict, Want,
    World,
};
use super::error::{CloudError, Kind};

/// Any provider's [`Converge`] for one kind of spec.
pub struct Converger<S: Spec>(Arc<dyn Erased<S>>);

impl<S: Spec> Converger<S> {
    /// Takes a provider's implementation.
    pub fn new(converge: impl Converge<S>) -> Self {
        Self(Arc::new(converge))
    }

    /// The units of a want; see [`Converge::units`].
    pub fn units(&self, want: &Want<S>) -> Vec<Unit> {
        self.0.units(want)
    }

    /// Looks at a unit; see [`Converge::observe`].
    pub async fn observe(
        &self,
        cx: &Read,
        unit: &Unit,
        world: &World<S>,
    ) -> Result<AnyObserved, CloudError> {
        self.0.observe(cx, unit, world).await
    }

    /// What has to change; see [`Converge::plan`].
    pub fn plan(&self, unit: &Unit, world: &World<S>, observed: &AnyObserved) -> Plan<AnyChange> {
        self.0.plan(unit, world, observed)
    }

    /// Sends one change; see [`Converge::apply`].
    pub async fn apply(
        &self,
        cx: &Write,
        change: &AnyChange,
        observed: &AnyObserved,
    ) -> Result<Learnt<AnyObserved>, CloudError> {
        self.0.apply(cx, change, observed).await
    }

    /// How far looks lag behind changes; see [`Converge::lag`].
    pub fn lag(&self) -> Duration {
        self.0.lag()
    }

    /// Everything with our mark; see [`Converge::inventory`].
    pub async fn inventory(&self, cx: &Read) -> Result<Vec<Owned>, CloudError> {
        self.0.inventory(cx).await
    }
}

impl<S: Spec> Clone for Converger<S> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<S: Spec> fmt::Debug for Converger<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// What a provider observed.
pub struct AnyObserved(Box<dyn Any + Send + Sync>);

impl fmt::Debug for AnyObserved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AnyObserved")
    }
}

/// A provider's change: it can be shown, compared, hashed and sent, and nothing else.
#[derive(Clone)]
pub struct AnyChange(Arc<dyn ErasedChange>);

impl AnyChange {
    /// What it does to the users of what it changes.
    pub fn effect(&self) -> Effect {
        self.0.effect()
    }
}

impl fmt::Display for AnyChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for AnyChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl PartialEq for AnyChange {
    fn eq(&self, other: &Self) -> bool {
        self.0.same_as(other.0.as_any())
    }
}

impl Eq for AnyChange {}

impl Hash for AnyChange {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.0.digest());
    }
}

/// [`Change`] without its `Self` types.
trait ErasedChange: fmt::Debug + fmt::Display + Send + Sync {
    fn effect(&self) -> Effect;
    fn as_any(&self) -> &dyn Any;
    fn same_as(&self, other: &dyn Any) -> bool;
    fn digest(&self) -> u64;
}

impl<C: Change> ErasedChange for C {
    fn effect(&self) -> Effect {
        Change::effect(self)
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn same_as(&self, other: &dyn Any) -> bool {
        other.downcast_ref::<C>() == Some(self)
    }

    fn digest(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.hash(&mut hasher);
        hasher.finish()
    }
}

/// [`Converge`] without its associated types.
#[async_trait]
trait Erased<S: Spec>: fmt::Debug + Send + Sync {
    fn units(&self, want: &Want<S>) -> Vec<Unit>;
    async fn observe(
        &self,
        cx: &Read,
        unit: &Unit,
        world: &World<S>,
    ) -> Result<AnyObserved, CloudError>;
    fn plan(&self, unit: &Unit, world: &World<S>, observed: &AnyObserved) -> Plan<AnyChange>;
    async fn apply(
        &self,
        cx: &Write,
        change: &AnyChange,
        observed: &AnyObserved,
    ) -> Result<Learnt<AnyObserved>, CloudError>;
    fn lag(&self) -> Duration;
    async fn inventory(&self, cx: &Read) -> Result<Vec<Owned>, CloudError>;
}

#[async_trait]
impl<S: Spec, T: Converge<S>> Erased<S> for T {
    fn units(&self, want: &Want<S>) -> Vec<Unit> {
        Converge::units(self, want)
    }

    async fn observe(
        &self,
        cx: &Read,
        unit: &Unit,
        world: &World<S>,
    ) -> Result<AnyObserved, CloudError> {
        let observed = Converge::observe(self, cx, unit, world).await?;
        Ok(AnyObserved(Box::new(observed)))
    }

    fn plan(&self, unit: &Unit, world: &World<S>, observed: &AnyObserved) -> Plan<AnyChange> {
        let Some(observed) = observed.0.downcast_ref() else {
            // A mistake of the engine's. An empty plan would say that all is well.
            let refuse = |want: &Want<S>| {
                let message = "an observation was handed to a provider that did not make it";
                let err = CloudError::new(Kind::Internal, message);
                Report::new(want.id(), Holds::Something, Verdict::Refused(err))
            };
            return Plan { reports: world.wants.iter().map(refuse).collect(), ..Plan::default() };
        };
        let Plan { stages, later, reports } = Converge::plan(self, unit, world, observed);
        let erase = |step: Step<T::Change>| Step {
            change: AnyChange(Arc::new(step.change)),
            wanted_by: step.wanted_by,
            tolerate: step.tolerate,
        };
        let stages =
            stages.into_iter().map(|stage| stage.into_iter().map(erase).collect()).collect();
        Plan { stages, later, reports }
    }

    async fn apply(
        &self,
        cx: &Write,
        change: &AnyChange,
        observed: &AnyObserved,
    ) -> Result<Learnt<AnyObserved>, CloudError> {
        let (Some(change), Some(observed)) =
            (change.0.as_any().downcast_ref(), observed.0.downcast_ref())
        else {
            let message = "a change was handed to a provider that did not plan it";
            return Err(CloudError::new(Kind::Internal, message));
        };
        Ok(match Converge::apply(self, cx, change, observed).await? {
            Learnt::LookAgain => Learnt::LookAgain,
            Learnt::Now(now) => Learnt::Now(AnyObserved(Box::new(now))),
        })
    }

    fn lag(&self) -> Duration {
        Converge::lag(self)
    }

    async fn inventory(&self, cx: &Read) -> Result<Vec<Owned>, CloudError> {
        Converge::inventory(self, cx).await
    }
}
