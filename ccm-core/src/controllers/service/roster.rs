//! Who may be a member of load balancers: the nodes, with what the cloud says of their machines.
//!
//! Changes of nodes are collected, so that a burst of them is one change of members: a node that
//! comes alone is a member soon, one that goes leaves at once, and nobody waits longer than
//! [`MOST`].

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::members::{is_member, is_relevant};
use crate::cloud::{
    Belongs, CloudError, CloudProvider, Evidence, Kind, Member, Needs, NodeIdentity, NodeName,
    Observation, RunState, Urgency,
};
use crate::cluster::nodes::{NodeChange, Nodes};
use crate::fleet::Fleet;

/// How long it has to be quiet before new nodes become members: longer than it takes to initialise
/// one, short enough that one that comes alone is a member within two seconds.
pub(super) const QUIET: Duration = Duration::from_secs(1);

/// How soon a node that went is taken out.
pub(super) const SOON: Duration = Duration::from_millis(200);

/// How long the first of a burst waits at most.
pub(super) const MOST: Duration = Duration::from_secs(10);

/// From one look at all members to the next, though no node has changed: their machines may have.
const REFRESH: Duration = Duration::from_mins(5);

/// The same while the cloud does not tell about some.
const DOUBT: Duration = Duration::from_secs(30);

/// The same while some machines are on their way up: traffic goes to them once they run, and no change
/// of their nodes says when.
const STARTING: Duration = Duration::from_secs(10);

/// How old an answer of the cloud may be. A machine does not change its ID, and one that is replaced
/// is found by the node controller.
const MAX_AGE: Duration = Duration::from_mins(10);

/// Collects changes of nodes. Pure: time is handed in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Gathering {
    since: Option<Instant>,
    due: Option<Instant>,
}

impl Gathering {
    /// A node came, or changed.
    pub(super) fn came(&mut self, now: Instant) {
        let since = *self.since.get_or_insert(now);
        let urgent = self.due.filter(|due| *due < now + SOON);
        self.due = urgent.or(Some((now + QUIET).min(since + MOST)));
    }

    /// A node went.
    pub(super) fn went(&mut self, now: Instant) {
        self.since.get_or_insert(now);
        let soon = now + SOON;
        self.due = Some(self.due.map_or(soon, |due| due.min(soon)));
    }

    /// When the members are to be looked at.
    pub(super) fn due(&self) -> Option<Instant> {
        self.due
    }
}

/// What a look at the nodes has shown.
#[derive(Debug)]
pub(super) enum News {
    /// They are other ones, or other machines.
    Changed {
        /// All of them, as they are now.
        members: Arc<[Member]>,
        /// How long the first of the changes has waited.
        waited: Duration,
    },
    /// They are the same, as far as anybody but the provider can tell.
    Renewed {
        /// All of them, as they are now.
        members: Arc<[Member]>,
    },
}

/// Knows who may be a member.
#[derive(Debug)]
pub(super) struct Roster {
    nodes: Arc<Nodes>,
    fleet: Arc<Fleet>,
    needs: Needs,
    intake: Arc<Intake>,
    cloud: Arc<dyn CloudProvider>,
    last: Mutex<Arc<[Member]>>,
    /// Since when the cloud could not tell about a node.
    doubted: Mutex<HashMap<NodeName, Instant>>,
}

#[derive(Debug)]
struct Intake {
    gathering: Mutex<Gathering>,
    changed: Notify,
}

impl Intake {
    fn gathering(&self) -> MutexGuard<'_, Gathering> {
        self.gathering.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self, change: &NodeChange, needs: &Needs) {
        let now = Instant::now();
        match change {
            NodeChange::Applied { old, new } => {
                if !is_relevant(old.as_deref(), new, needs) {
                    return;
                }
                if is_member(new) {
                    self.gathering().came(now);
                } else {
                    self.gathering().went(now);
                }
            }
            NodeChange::Deleted(old) if is_member(old) => self.gathering().went(now),
            NodeChange::Deleted(_) => return,
        }
        self.changed.notify_one();
    }
}

impl Roster {
    /// Fed by the watch from now on.
    pub(super) fn new(
        nodes: Arc<Nodes>,
        fleet: Arc<Fleet>,
        cloud: Arc<dyn CloudProvider>,
        needs: Needs,
    ) -> Self {
        let (gathering, changed) = (Mutex::default(), Notify::new());
        let intake = Arc::new(Intake { gathering, changed });
        let (feed, declared) = (Arc::clone(&intake), needs.clone());
        nodes.on_change(move |change| feed.take(change, &declared));
        let (last, doubted) = (Mutex::default(), Mutex::default());
        Self { nodes, fleet, needs, intake, cloud, last, doubted }
    }

    fn doubted(&self) -> MutexGuard<'_, HashMap<NodeName, Instant>> {
        self.doubted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn last(&self) -> MutexGuard<'_, Arc<[Member]>> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until the members have to be looked at, and gives them.
    pub(super) async fn next(&self) -> News {
        let refresh = Instant::now() + patience(&self.last());
        loop {
            let due = self.intake.gathering().due();
            let at = due.map_or(refresh, |due| due.min(refresh));
            tokio::select! {
                () = tokio::time::sleep_until(at) => {}
                () = self.intake.changed.notified() => continue,
            }
            let since = std::mem::take(&mut *self.intake.gathering()).since;
            let before = Arc::clone(&self.last());
            let members = self.look().await;
            if is_same(&before, &members) {
                return News::Renewed { members };
            }
            let waited = since.map_or(Duration::ZERO, |since| since.elapsed());
            return News::Changed { members, waited };
        }
    }

    /// Looks at everybody. Takes no longer than the fleet's patience.
    ///
    /// Nodes of other clouds are no members, and nobody asks about them. One about which the cloud
    /// could tell nothing a moment ago is asked about again after a while, or when it has changed:
    /// not whenever another node comes or goes.
    pub(super) async fn look(&self) -> Arc<[Member]> {
        let mut nodes = self.nodes.all();
        nodes.retain(|node| is_member(node));
        nodes.sort_by(|one, other| one.name.cmp(&other.name));
        let identities = nodes.iter().map(|node| node.identity(&self.needs));
        let is_foreign =
            |node: &NodeIdentity| matches!(self.cloud.belongs(node), Belongs::Foreign(_));
        let identities: Vec<_> = identities.filter(|node| !is_foreign(node)).collect();
        let before = Arc::clone(&self.last());
        let before: HashMap<&NodeName, &Member> =
            before.iter().map(|member| (&member.node.name, member)).collect();
        let last = |node: &NodeIdentity| {
            before.get(&node.name).copied().filter(|member| member.node.uid == node.uid)
        };

        let now = Instant::now();
        let mut doubted = std::mem::take(&mut *self.doubted());
        doubted.retain(|_, since| now.duration_since(*since) < DOUBT);
        let is_asked = |node: &&NodeIdentity| {
            let is_same = last(node).is_some_and(|member| member.node == **node);
            !(is_same && doubted.contains_key(&node.name))
        };
        let asked: Vec<_> = identities.iter().filter(is_asked).cloned().collect();
        let names: Vec<_> = asked.iter().map(|node| node.name.clone()).collect();
        let sightings = self.fleet.look(asked, MAX_AGE, Urgency::Refresh).await;
        let mut seen: HashMap<_, _> =
            names.into_iter().zip(sightings.into_iter().map(|it| it.observation)).collect();
        let members = identities.into_iter().map(|node| {
            let last = last(&node);
            let instance = match (seen.remove(&node.name), last) {
                (Some(observation), last) => {
                    if !matches!(*observation, Observation::Present(_)) {
                        doubted.insert(node.name.clone(), now);
                    }
                    believed(last, observation)
                }
                (None, Some(last)) => Arc::clone(&last.instance),
                (None, None) => Arc::new(Observation::Unknown(unconfirmed())),
            };
            Member { node, instance }
        });
        let members: Arc<[Member]> = members.collect();
        *self.doubted() = doubted;
        *self.last() = Arc::clone(&members);
        members
    }
}

/// From one look at these members to the next, though no node has changed.
fn patience(members: &[Member]) -> Duration {
    let wait = |member: &Member| match &*member.instance {
        Observation::Present(instance) if instance.state == RunState::Starting => STARTING,
        Observation::Unknown(_) => DOUBT,
        Observation::Present(_) | Observation::Gone(_) => REFRESH,
    };
    members.iter().map(wait).min().unwrap_or(REFRESH)
}

fn unconfirmed() -> CloudError {
    let message = "the cloud's list does not have it, and nobody has confirmed that";
    CloudError::new(Kind::Unavailable, message)
}

/// What a look is taken for. A list that leaves a machine out is a suspicion and no more: where it is
/// right, the node goes soon; where it is wrong, nothing may have happened to the traffic. And what
/// was known of a machine a moment ago is better than nothing.
fn believed(last: Option<&Member>, now: Arc<Observation>) -> Arc<Observation> {
    let doubt = match &*now {
        Observation::Present(_) | Observation::Gone(Evidence::Terminated) => return now,
        Observation::Gone(Evidence::Absent) => unconfirmed(),
        Observation::Unknown(err) => err.repeat(),
    };
    match last {
        Some(member) if matches!(*member.instance, Observation::Present(_)) => {
            Arc::clone(&member.instance)
        }
        Some(_) | None => Arc::new(Observation::Unknown(doubt)),
    }
}

/// Whether nothing has changed that a load balancer could be made from. What only the provider
/// understands of a machine is not compared; the drift check sees it.
fn is_same(before: &[Member], now: &[Member]) -> bool {
    let same = |(one, other): (&Member, &Member)| {
        one.node == other.node
            && (Arc::ptr_eq(&one.instance, &other.instance)
                || same_machine(&one.instance, &other.instance))
    };
    before.len() == now.len() && before.iter().zip(now).all(same)
}

fn same_machine(one: &Observation, other: &Observation) -> bool {
    match (one, other) {
        (Observation::Present(one), Observation::Present(other)) => {
            one.provider_id == other.provider_id
                && one.incarnation == other.incarnation
                && one.state == other.state
                && one.zone == other.zone
                && one.addresses == other.addresses
                && one.labels == other.labels
        }
        (Observation::Gone(one), Observation::Gone(other)) => one == other,
        (Observation::Unknown(_), Observation::Unknown(_)) => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cloud::Instance;
    use crate::controllers::node::decide::tests::{instance, new_node};

    #[tokio::test(start_paused = true)]
    async fn one_that_comes_alone_waits_for_quiet_and_a_burst_no_longer_than_the_most() {
        let start = Instant::now();
        let mut gathering = Gathering::default();
        gathering.came(start);
        assert_eq!(gathering.due(), Some(start + QUIET));
        for step in 1..40 {
            gathering.came(start + QUIET / 2 * step);
        }
        assert_eq!(gathering.due(), Some(start + MOST));
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_goes_is_taken_out_soon_whoever_comes() {
        let start = Instant::now();
        let mut gathering = Gathering::default();
        gathering.came(start);
        gathering.went(start + SOON);
        assert_eq!(gathering.due(), Some(start + SOON * 2));
        gathering.came(start + SOON + SOON / 2);
        assert_eq!(gathering.due(), Some(start + SOON * 2));
        let mut gathering = Gathering::default();
        gathering.went(start);
        assert_eq!(gathering.due(), Some(start + SOON));
    }

    fn member(instance: Observation) -> Member {
        Member { node: new_node().identity(&Needs::default()), instance: Arc::new(instance) }
    }

    fn in_state(state: RunState) -> Observation {
        Observation::Present(Instance { state, ..instance() })
    }

    #[test]
    fn members_that_start_or_are_not_known_are_looked_at_sooner() {
        let unknown = || Observation::Unknown(unconfirmed());
        let wait =
            |all: Vec<Observation>| patience(&all.into_iter().map(member).collect::<Vec<_>>());
        assert_eq!(wait(vec![]), REFRESH);
        assert_eq!(wait(vec![in_state(RunState::Running), in_state(RunState::Stopped)]), REFRESH);
        assert_eq!(wait(vec![in_state(RunState::Running), unknown()]), DOUBT);
        assert_eq!(wait(vec![unknown(), in_state(RunState::Starting)]), STARTING);
    }

    #[test]
    fn a_suspicion_takes_nobody_out() {
        let absent = || Arc::new(Observation::Gone(Evidence::Absent));
        assert!(matches!(*believed(None, absent()), Observation::Unknown(_)));
        let terminated = Arc::new(Observation::Gone(Evidence::Terminated));
        assert!(matches!(*believed(None, terminated), Observation::Gone(_)));
    }
}
