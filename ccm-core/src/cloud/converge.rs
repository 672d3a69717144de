//! What we make in a cloud: one shape for load balancers and routes.
//!
//! A provider says what is looked at and changed together ([`Unit`]), what is there (`Observed`),
//! and what has to change ([`Plan`]); the framework's engine decides when, carries changes out one
//! stage at a time, looks again, and is the only caller of [`Converge::apply`].

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::call::{Read, Write};
use super::error::{CloudError, Kind};
use super::instance::{NodeIdentity, Observation};
use super::load_balancer::IngressPoint;
use super::names::Uid;

/// What a Kubernetes object asks for, read and checked: a load balancer or a route.
pub trait Spec: fmt::Debug + Send + Sync + 'static {
    /// The object that asks.
    fn identity(&self) -> &Arc<Identity>;

    /// Whether somebody waits for the first of it, as far as the object says: an address, or a node
    /// that can be reached. Who waits goes first.
    fn is_awaited(&self) -> bool;
}

/// Which object. The UID tells it from a later one of the same name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectId {
    /// `metadata.namespace`; empty for an object without one.
    pub namespace: Arc<str>,
    /// `metadata.name`.
    pub name: Arc<str>,
    /// `metadata.uid`.
    pub uid: Uid,
}

impl fmt::Display for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.namespace.is_empty() {
            f.write_str(&self.name)
        } else {
            write!(f, "{}/{}", self.namespace, self.name)
        }
    }
}

/// Enough about an object to take down what it has, when the object itself is gone or unreadable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Which object.
    pub id: ObjectId,
    /// Its annotations as last seen: several clouds keep IDs there.
    pub annotations: BTreeMap<String, String>,
    /// Its finalizers as last seen: on some clouds they say which program serves the object.
    pub finalizers: BTreeSet<String>,
    /// The addresses that it was last seen with.
    pub ingress: Vec<IngressPoint>,
}

/// What is wanted for one object.
#[derive(Debug)]
pub enum Want<S> {
    /// It is to be as the spec says.
    Present(Arc<S>),
    /// Nothing of it is to be left: the object is deleted, changed its type, or is not ours any more.
    Absent(Arc<Identity>),
    /// What it has stays, and it counts as a user of everything shared: the object cannot be read,
    /// or it is not its turn. So a typo in one Service never closes another's firewall. Members may
    /// still come and go where nodes do: a mistake that lasts should not cost the last of them.
    Keep(Arc<Identity>),
}

impl<S> Clone for Want<S> {
    fn clone(&self) -> Self {
        match self {
            Self::Present(spec) => Self::Present(Arc::clone(spec)),
            Self::Absent(identity) => Self::Absent(Arc::clone(identity)),
            Self::Keep(identity) => Self::Keep(Arc::clone(identity)),
        }
    }
}

impl<S: Spec> Want<S> {
    /// What is known of the object in any case.
    pub fn identity(&self) -> &Arc<Identity> {
        match self {
            Self::Present(spec) => spec.identity(),
            Self::Absent(identity) | Self::Keep(identity) => identity,
        }
    }

    /// Which object.
    pub fn id(&self) -> &ObjectId {
        &self.identity().id
    }

    /// The same object while it is not its turn.
    #[must_use]
    pub fn kept(&self) -> Self {
        match self {
            Self::Present(_) | Self::Absent(_) => Self::Keep(Arc::clone(self.identity())),
            Self::Keep(identity) => Self::Keep(Arc::clone(identity)),
        }
    }
}

/// What is looked at and changed together, and never by two at a time.
///
/// Pieces that have to go in an order of their own when an object *changes* (a private link before
/// the frontend that it hangs on, the address after it) belong to one unit, as stages: between
/// units there is only building order and its reverse. Whoever names a unit describes it alike.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Unit {
    /// The unit's name in this provider.
    pub name: UnitName,
    /// What makes it worth a new look. It wakes only when one of these has changed.
    pub inputs: Inputs,
    /// How long changes are collected before the unit is looked at, so that many objects' changes
    /// to a shared unit become one pass.
    pub settle: Duration,
    /// A Lease that other programs honour too.
    pub lock: Option<Lock>,
}

/// A Lease by which programs that change the same thing take turns.
///
/// Not needed for a look that finds nothing to do. Otherwise it is taken, the unit is looked at
/// live (what was seen before may be another holder's past), and it is held until the pass ends,
/// also where it ends with an error. Units that name one Lease take turns among themselves too.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Lock {
    /// The Lease, as `namespace/name`.
    pub lease: Arc<str>,
    /// `spec.holderIdentity` while it is ours. The same for every replica, where the other
    /// programs know this one by that name.
    pub holder: Arc<str>,
    /// `spec.leaseDurationSeconds`: for how long others leave it alone after a crash.
    pub duration: Duration,
    /// Key of an annotation of the Lease in which each holder leaves its name for the next one.
    pub previous_holder: Option<Arc<str>>,
}

/// Names a unit: one object's own, or one that several objects share.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum UnitName {
    /// What belongs to this object alone.
    Own(ObjectId),
    /// What several objects use, e.g. `security-group` or `load-balancer/3f2a`. The text is
    /// stable: it names metrics and log lines.
    Shared(Arc<str>),
}

impl fmt::Display for UnitName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Own(id) => fmt::Display::fmt(id, f),
            Self::Shared(name) => f.write_str(name),
        }
    }
}

/// What a unit is made from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(clippy::struct_excessive_bools, reason = "a set of four, each set on its own")]
pub struct Inputs {
    /// The specs of the objects that use it.
    pub spec: bool,
    /// Nodes and their instances.
    pub nodes: bool,
    /// Endpoints of the Services that use it.
    pub endpoints: bool,
    /// Status of the Services that use it.
    pub status: bool,
}

impl Unit {
    /// The one unit of an object that shares nothing: made from its spec and the nodes.
    pub fn own(id: &ObjectId) -> Self {
        let inputs = Inputs { spec: true, nodes: true, endpoints: false, status: false };
        let name = UnitName::Own(id.clone());
        Self { name, inputs, settle: Duration::ZERO, lock: None }
    }

    /// A unit that several objects share, made from their specs.
    pub fn shared(name: impl Into<Arc<str>>) -> Self {
        let inputs = Inputs { spec: true, nodes: false, endpoints: false, status: false };
        Self { name: UnitName::Shared(name.into()), inputs, settle: Duration::ZERO, lock: None }
    }
}

/// Everything that a unit is planned from.
///
/// Complete: no unit is looked at before every list behind it is in, and every object of this
/// cluster that has something in the unit is in `wants`.
#[derive(Debug)]
pub struct World<S> {
    /// One want for each object that uses the unit, in the order of their IDs.
    pub wants: Vec<Want<S>>,
    /// All nodes that may be members, with what the cloud says of their machines. `Unknown` means:
    /// leave the member as it is. One list for all units, in the order of the nodes' names. Empty
    /// for routes: each [`RouteSpec`](super::RouteSpec) has its node.
    pub nodes: Arc<[Member]>,
}

/// A node that may be a member of a load balancer.
#[derive(Clone, Debug)]
pub struct Member {
    /// The node.
    pub node: NodeIdentity,
    /// Its machine.
    pub instance: Arc<Observation>,
}

/// One change, as data.
///
/// At most one request that takes effect. `Display` is the line that a dry run and the log show.
/// Equality is what the engine's check for "does not converge" rests on: a change that is planned
/// twice in one pass ends the pass, so two changes that differ must not be equal.
pub trait Change: fmt::Debug + fmt::Display + Clone + Eq + Hash + Send + Sync + 'static {
    /// What it does to the users of the thing.
    fn effect(&self) -> Effect;
}

/// What a change does to the users of what it changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Effect {
    /// Makes something.
    Create,
    /// Changes something; traffic goes on.
    Update,
    /// Deletes something that is not used any more.
    Delete,
    /// Something has to go before it can come back: traffic stops for a while.
    Interrupt,
}

/// What has to happen to a unit.
///
/// No stages and nothing later: all is as it should be. That is what success means.
#[derive(Debug)]
pub struct Plan<C> {
    /// Steps that may run together, one stage after the other. Only the first stage is carried
    /// out; then the unit is looked at again and planned anew. So there are no references to
    /// results that do not exist yet. Where a step fails, the others of its stage are sent all the
    /// same, and the stages behind it wait.
    pub stages: Vec<Vec<Step<C>>>,
    /// What cannot be said or done yet.
    pub later: Vec<Later>,
    /// What each object is told, beside an error too. At most one for each want; a want without
    /// one is not done and may hold something.
    pub reports: Vec<Report>,
}

impl<C> Default for Plan<C> {
    fn default() -> Self {
        Self { stages: Vec::new(), later: Vec::new(), reports: Vec::new() }
    }
}

impl<C> Plan<C> {
    /// Whether nothing is left to do or to wait for.
    pub fn is_done(&self) -> bool {
        self.stages.iter().all(Vec::is_empty) && self.later.is_empty()
    }
}

/// A change, with whom it is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step<C> {
    /// What is done.
    pub change: C,
    /// The wants that asked for it. Where it fails for what was asked (not because the cloud is
    /// away, busy, or was changed by somebody else), each of them is tried alone while the others
    /// keep what they have, so that one user's mistake stays theirs. Empty: all of them.
    pub wanted_by: Vec<ObjectId>,
    /// A failure that the rest need not wait for.
    pub tolerate: Option<Tolerate>,
}

impl<C> Step<C> {
    /// A step for everybody who uses the unit, whose failure ends the pass.
    pub fn new(change: C) -> Self {
        Self { change, wanted_by: Vec::new(), tolerate: None }
    }

    /// Says who asked for it.
    #[must_use]
    pub fn wanted_by(mut self, id: &ObjectId) -> Self {
        self.wanted_by.push(id.clone());
        self
    }

    /// Goes on when this sort of failure happens, and leaves the note instead.
    #[must_use]
    pub fn tolerating(mut self, kind: Kind, note: impl Into<String>) -> Self {
        self.tolerate = Some(Tolerate { kind, note: note.into() });
        self
    }
}

/// A failure that a step may end with. The change then counts as made for the rest of the pass: a
/// plan that still has it is not taken for one that does not converge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tolerate {
    /// The sort of failure. What a rate limit asks for does not matter in the comparison.
    pub kind: Kind,
    /// What is noted on the objects instead of an error.
    pub note: String,
}

/// Something that cannot be said or done yet. Holds no worker while it waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Later {
    /// What is waited for, for people: "an address for the load balancer".
    pub waits_for: String,
    /// When to look again.
    pub look_again: Duration,
}

/// What an object is told. Published before the first stage and after every stage.
///
/// Says what was observed, not what the stages will make of it. An object of several units has a
/// report from each: it holds something while one of them says so, is as far as the least of them,
/// and has the addresses that the last of them in building order sets. What is said of a
/// [`Want::Keep`] is not published.
#[derive(Debug, PartialEq, Eq)]
pub struct Report {
    /// Which object.
    pub id: ObjectId,
    /// Whether the cloud holds anything for it: then the finalizer stays.
    pub holds: Holds,
    /// What becomes of `status.loadBalancer.ingress`.
    pub ingress: Ingress,
    /// Annotations to write back, `None` to take one away. Several clouds keep IDs there.
    pub annotations: BTreeMap<String, Option<String>>,
    /// Finalizers of the provider's own, beside the framework's: there while they stand for
    /// [`Something`](Holds::Something). Some clouds tell their programs apart by them.
    pub finalizers: BTreeMap<String, Holds>,
    /// Conditions to set on the object.
    pub conditions: Vec<ReportedCondition>,
    /// Things worth an event that stop nothing: a key that was read leniently, a limit that is near.
    pub notes: Vec<Note>,
    /// How far the object is.
    pub verdict: Verdict,
}

impl Report {
    /// A report that changes nothing on the object and says how far it is.
    pub fn new(id: &ObjectId, holds: Holds, verdict: Verdict) -> Self {
        Self {
            id: id.clone(),
            holds,
            ingress: Ingress::Leave,
            annotations: BTreeMap::new(),
            finalizers: BTreeMap::new(),
            conditions: Vec::new(),
            notes: Vec::new(),
            verdict,
        }
    }
}

/// Whether the cloud holds anything for an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holds {
    /// It does, or it is not certain that it does not.
    Something,
    /// It certainly does not, or what is left is left on purpose (a protected load balancer), and
    /// a note says so.
    Nothing,
}

/// What becomes of the addresses in an object's status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ingress {
    /// They stay as they are.
    Leave,
    /// They become these, in this order.
    Set(Vec<IngressPoint>),
}

/// A condition of the provider's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReportedCondition {
    /// `type`.
    pub kind: &'static str,
    /// `status`; `None` is `Unknown`.
    pub status: Option<bool>,
    /// `reason`, one word.
    pub reason: &'static str,
    /// `message`, a sentence.
    pub message: String,
}

/// Something that the object's owner should hear.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// The event's reason, one word.
    pub reason: &'static str,
    /// A sentence that names the key, the value and what is accepted.
    pub message: String,
}

/// How far an object is, as far as this unit goes.
///
/// Decides with [`Holds`], and not with the plan being empty, when the next unit's turn comes: so
/// nobody waits for another's operation. A unit hands over what is [`Present`](Want::Present) to
/// the unit behind it once that is `Done`, and what is [`Absent`](Want::Absent) to the unit before
/// it once it holds [`Nothing`](Holds::Nothing).
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    /// As it should be. Clearing away what is left of an earlier form of the object may go on.
    Done,
    /// On the way; says what is waited for.
    Progressing(String),
    /// Cannot be had; the error says who must act. What the object has stays, and the plan goes on
    /// for the others.
    Refused(CloudError),
    /// Another program serves it; says which, and how that is known. Each unit, this one's successors
    /// too, clears away what it has. Nothing is written on the object, and a finalizer of ours goes once it holds [`Nothing`](Holds::Nothing).
    Elsewhere(String),
}

/// What the answer to a change taught about the unit.
#[derive(Debug)]
pub enum Learnt<O> {
    /// Nothing that can be relied on: look again.
    LookAgain,
    /// The unit as it is now, so that the next plan needs no new look. Of use where the stage has
    /// this one step; after several the unit is looked at again in any case.
    Now(O),
}

/// Something in the cloud that bears our mark.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owned {
    /// What sort of thing, in the cloud's words.
    pub kind: &'static str,
    /// The cloud's ID or name of it.
    pub id: String,
    /// The UID in its mark, where the mark has one.
    pub owner: Option<Uid>,
    /// `namespace/name` of the object in its mark, where the mark has no UID but this: an object of
    /// this name may be another one than that which it was made for.
    pub object: Option<String>,
}

/// Makes what is there what it should be.
///
/// Look-ups are by name and ownership mark, never by an annotation alone. A piece is deleted only
/// for an object whose UID it carries.
#[async_trait]
pub trait Converge<S: Spec>: fmt::Debug + Send + Sync + 'static {
    /// What the cloud has, in the provider's words.
    type Observed: fmt::Debug + Send + Sync + 'static;
    /// One change, as data.
    type Change: Change;

    /// The units that this want is made of, in building order; they are torn down in reverse.
    ///
    /// Pure. Every object that uses a shared unit returns it, whether it is `Present`, `Absent` or
    /// `Keep`, for as long as it may hold something in it, and whatever the object asks for now:
    /// the side that a flipped annotation points away from has to be cleared too. The same units
    /// in the same order for all three, as far as that is known from the identity. No unit waits
    /// for one behind it. The default is one unit per object.
    fn units(&self, want: &Want<S>) -> Vec<Unit> {
        vec![Unit::own(want.id())]
    }

    /// Looks at one unit.
    ///
    /// Reads only. *Absence* is part of what is observed, never an error: the pieces of a
    /// half-finished creation are found even where a look-up of the whole says "absent". Pages
    /// are followed to the end, or the result is an error. What one want alone is to blame for (the
    /// address that it names does not exist, or may not be read) is observed as well, and
    /// [`plan`](Self::plan) refuses that want: an error stops everybody who uses the unit. What
    /// hardly ever changes (networks, zones) may be kept between looks, as long as
    /// [`Read::freshness`] says; what one's own changes touch is kept no longer than that change.
    /// May be dropped at any await.
    async fn observe(
        &self,
        cx: &Read,
        unit: &Unit,
        world: &World<S>,
    ) -> Result<Self::Observed, CloudError>;

    /// What has to change. Pure: no clock, no randomness, no I/O.
    ///
    /// Empty when nothing differs, also on what the Go program of this cloud left behind. Does not
    /// depend on the order of the wants. Leaves no choice to [`apply`](Self::apply): names, sizes
    /// and order are in the changes.
    fn plan(&self, unit: &Unit, world: &World<S>, observed: &Self::Observed) -> Plan<Self::Change>;

    /// Sends one change: at most one request that takes effect, after any reads it needs.
    /// The cloud's IDs and etags come from what was observed or from those reads, never from the
    /// change: a change names things as they will be found after a crash.
    ///
    /// *Waiting*: where the cloud works on it afterwards and a look would not show that, follows
    /// the operation to its end, until the deadline. Where a look shows it, returns at once, and
    /// the plan says [`Later`]; that way nobody is kept waiting.
    ///
    /// *Repetition*: the same change may be sent again after a crash or a lost answer, and then
    /// finds its work done: that is success. [`Kind::Conflict`] when what was observed is not there
    /// any more. *Cancellation*: may be dropped at any await; a later look finds what it did.
    async fn apply(
        &self,
        cx: &Write,
        change: &Self::Change,
        observed: &Self::Observed,
    ) -> Result<Learnt<Self::Observed>, CloudError>;

    /// For how long a look may go on showing what was there before a change: how far the cloud's
    /// reads lag behind its writes. What was made last may not be seen for as long, so a tear-down
    /// is not believed to be complete before; and what was taken away may be seen, so a look within
    /// this time of an earlier pass's changes is followed by one more; so is a look within this time
    /// of the beginning, since another process may have changed anything just before. The default is
    /// for a cloud that shows its changes at once.
    fn lag(&self) -> Duration {
        Duration::ZERO
    }

    /// Everything in the cloud that bears this cluster's mark, for reports of what nobody wants any
    /// more. Reads only; pages are followed to the end.
    async fn inventory(&self, cx: &Read) -> Result<Vec<Owned>, CloudError>;
}
