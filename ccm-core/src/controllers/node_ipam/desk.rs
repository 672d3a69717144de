//! What is remembered between looks: who holds what, who waits for what and since when, and what was
//! said. Pure: time is handed in, and the lock around it is never held across a wait.
//!
//! Nobody is polled. What becomes free is reserved in the same moment for the oldest node that waits
//! for as much; so whoever waits does so because there is nothing for it, and nobody who comes later
//! is served first.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::time::{Duration, SystemTime};

use ipnet::IpNet;
use tokio::time::Instant;

use super::decide::{Cause, Outlook, Wait, refused, remark};
use super::ledger::{Ledger, Refusal, Sent, Want};
use super::others::Others;
use super::pool::Pool;
use crate::cloud::{NodeName, Retry, Uid};
use crate::cluster::node::Node;
use crate::telemetry::IpamMetrics;

/// The first pause after what failed, doubled with each further failure up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_secs(1);

/// The longest pause after what failed.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// Refusals in a row after which a node's owner is told.
pub(super) const PATIENT_FAILURES: u32 = 3;

/// A node of which the cloud has said nothing for so long is told so.
const PATIENCE: Duration = Duration::from_secs(10);

/// What is remembered.
#[derive(Debug)]
pub(super) struct Desk {
    ledger: Ledger,
    cases: HashMap<Uid, Case>,
    /// Those that can be served as soon as something becomes free, the oldest first.
    queues: BTreeMap<Want, BTreeSet<Place>>,
    others: Others,
    /// Since when nodes have been seen without ranges.
    bare: HashMap<Uid, Instant>,
    /// Nodes that were given ranges by somebody else, of which nothing was said yet.
    theirs: HashSet<Uid>,
    metrics: IpamMetrics,
}

/// A node's place in a queue.
type Place = (SystemTime, NodeName, Uid);

/// What is remembered of one node.
#[derive(Debug, Default)]
struct Case {
    waits: Option<Cause>,
    /// Since when the cloud says nothing of it.
    doubt: Option<Instant>,
    queued: Option<(Want, Place)>,
    /// What its owner heard of why it waits.
    told: Option<String>,
    /// What its owner heard of its ranges.
    remarked: Vec<String>,
    failures: u32,
}

impl Case {
    fn is_empty(&self) -> bool {
        self.waits.is_none()
            && self.queued.is_none()
            && self.told.is_none()
            && self.remarked.is_empty()
            && self.failures == 0
            && self.doubt.is_none()
    }
}

/// Something to be told of a node's ranges.
pub(super) type Remark = (&'static str, String);

impl Desk {
    pub(super) fn new(
        pools: Vec<Pool>,
        kept_free: &[IpNet],
        others: Others,
        metrics: IpamMetrics,
    ) -> Self {
        Self {
            ledger: Ledger::new(pools, kept_free, metrics.clone()),
            cases: HashMap::new(),
            queues: BTreeMap::new(),
            others,
            bare: HashMap::new(),
            theirs: HashSet::new(),
            metrics,
        }
    }

    pub(super) fn pools(&self) -> &[Pool] {
        self.ledger.pools()
    }

    #[cfg(test)]
    pub(super) fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// All is listed, and what a predecessor had sent has been seen.
    pub(super) fn calm(&mut self, now: Instant) {
        self.others.calm(now);
    }

    /// How long this node is still to be left to others.
    pub(super) fn pause(&self, node: &Node, now: Instant) -> Duration {
        let since = self.bare.get(&node.uid).copied().unwrap_or(now);
        self.others.pause(since, now)
    }

    /// Whether somebody else has given this node its ranges, and that is worth a word. Asked once.
    pub(super) fn takes_others(&mut self, node: &Node) -> bool {
        self.theirs.remove(&node.uid)
    }

    /// Notes whose ranges a node shows that had none when it was last seen.
    fn compare(&mut self, node: &Node) {
        if node.pod_cidrs.is_empty() {
            self.bare.entry(node.uid.clone()).or_insert_with(Instant::now);
            return;
        }
        if self.bare.remove(&node.uid).is_none() {
            return;
        }
        if self.ledger.may_have_given(node) {
            self.others.ours();
        } else if self.others.theirs(Instant::now()) {
            self.theirs.insert(node.uid.clone());
        }
    }

    /// The watch shows this node. Gives those for which something became free by that.
    pub(super) fn shows(&mut self, node: &Node) -> Vec<NodeName> {
        self.compare(node);
        let mut is_free = self.ledger.shows(node);
        if node.deleting {
            // It will not be given any more. What may stand on it already is its own to the end.
            is_free |= self.ledger.drop_reservation(&node.uid);
        }
        if node.deleting || !node.pod_cidrs.is_empty() {
            self.content(&node.uid);
        }
        if is_free { self.serve() } else { Vec::new() }
    }

    /// There is no such node any more. Gives those for which something became free by that.
    pub(super) fn gone(&mut self, uid: &Uid) -> Vec<NodeName> {
        self.content(uid);
        self.cases.remove(uid);
        self.bare.remove(uid);
        self.theirs.remove(uid);
        if self.ledger.gone(uid) { self.serve() } else { Vec::new() }
    }

    /// Reserves for the oldest that wait, as far as it goes.
    fn serve(&mut self) -> Vec<NodeName> {
        let mut served = Vec::new();
        for (want, queue) in &mut self.queues {
            while let Some((_, name, uid)) = queue.first() {
                match self.ledger.reserve(uid, want) {
                    Ok(_) => served.push((name.clone(), uid.clone())),
                    Err(Refusal::Gone) => {}
                    Err(Refusal::Exhausted(_) | Refusal::Held { .. }) => break,
                }
                queue.pop_first();
            }
        }
        self.queues.retain(|_, queue| !queue.is_empty());
        for (_, uid) in &served {
            if let Some(case) = self.cases.get_mut(uid) {
                case.queued = None;
            }
        }
        served.into_iter().map(|(name, _)| name).collect()
    }

    /// What can be done for this node, which has no ranges: what it is to have is reserved for it, or
    /// it queues. Gives also those for which something became free by that.
    pub(super) fn claim(
        &mut self,
        node: &Node,
        want: &Want,
        now: Instant,
    ) -> (Outlook, Vec<NodeName>) {
        self.leave_queue(&node.uid);
        let outlook = match self.ledger.reserve(&node.uid, want) {
            Ok((_, Sent::Yes)) => Outlook::Awaited,
            Ok((ranges, Sent::No | Sent::Perhaps)) => Outlook::Granted(ranges),
            Err(refusal) => match refused(&refusal, self.ledger.pools()) {
                None => return (Outlook::NotOurs, Vec::new()),
                Some(why) => {
                    self.waits(node, &why, now);
                    self.queue(node, want.clone());
                    Outlook::Refused(why)
                }
            },
        };
        // It may have given something up for something else.
        let served = self.serve();
        (outlook, served)
    }

    fn queue(&mut self, node: &Node, want: Want) {
        let place = (node.created, node.name.clone(), node.uid.clone());
        self.queues.entry(want.clone()).or_default().insert(place.clone());
        self.cases.entry(node.uid.clone()).or_default().queued = Some((want, place));
    }

    fn leave_queue(&mut self, uid: &Uid) {
        let queued = self.cases.get_mut(uid).and_then(|case| case.queued.take());
        let Some((want, place)) = queued else { return };
        if let Some(queue) = self.queues.get_mut(&want) {
            queue.remove(&place);
            if queue.is_empty() {
                self.queues.remove(&want);
            }
        }
    }

    /// The node waits; the cloud, if it was asked about it, was asked at `asked`. Gives how long to
    /// leave it, where nobody will wake it.
    pub(super) fn waits(&mut self, node: &Node, wait: &Wait, asked: Instant) -> Option<Duration> {
        let case = self.cases.entry(node.uid.clone()).or_default();
        let before = case.waits.replace(wait.cause);
        if before.map(Cause::word) != Some(wait.cause.word()) {
            if let Some(before) = before {
                self.metrics.waiting(before.word(), -1);
            }
            self.metrics.waiting(wait.cause.word(), 1);
        }
        match wait.cause {
            Cause::Exhausted | Cause::Held | Cause::NotGiven => {
                case.doubt = None;
                None
            }
            Cause::Unknown(retry) => {
                case.doubt.get_or_insert(asked);
                case.failures = case.failures.saturating_add(1);
                match retry {
                    Retry::Backoff => Some(pause(case.failures)),
                    Retry::After(time) => Some(time.max(FIRST_PAUSE)),
                    Retry::OnChange | Retry::Never => None,
                }
            }
        }
    }

    /// Whether the owner of this node, which waits, is to hear so now.
    pub(super) fn is_news(&self, node: &Node, wait: &Wait, now: Instant) -> bool {
        let Some(case) = self.cases.get(&node.uid) else { return false };
        let is_patient = case.doubt.is_some_and(|since| now < since + PATIENCE);
        !is_patient && case.told.as_ref() != Some(&wait.message)
    }

    /// The owner of this node heard that it waits.
    pub(super) fn told(&mut self, node: &Node, wait: &Wait) {
        if let Some(case) = self.cases.get_mut(&node.uid) {
            case.told = Some(wait.message.clone());
        }
    }

    /// The node is as it should be, or of no interest.
    fn content(&mut self, uid: &Uid) {
        self.leave_queue(uid);
        let Some(case) = self.cases.get_mut(uid) else { return };
        if let Some(cause) = case.waits.take() {
            self.metrics.waiting(cause.word(), -1);
        }
        case.told = None;
        case.doubt = None;
        case.failures = 0;
        if case.is_empty() {
            self.cases.remove(uid);
        }
    }

    /// The reservation is about to be written: from now on it may stand on the node.
    pub(super) fn sending(&mut self, node: &Node) {
        self.ledger.sent(&node.uid, Sent::Perhaps);
    }

    /// The write was taken. The watch will show it.
    pub(super) fn written(&mut self, node: &Node) {
        self.ledger.sent(&node.uid, Sent::Yes);
        self.content(&node.uid);
    }

    /// A write failed. Only a refusal says that it was not done. Gives how often in a row, and how
    /// long to leave the node.
    pub(super) fn failed(&mut self, node: &Node, is_refusal: bool) -> (u32, Duration) {
        if is_refusal {
            self.ledger.sent(&node.uid, Sent::No);
        }
        let case = self.cases.entry(node.uid.clone()).or_default();
        case.failures = case.failures.saturating_add(1);
        (case.failures, pause(case.failures))
    }

    /// What is odd about the ranges of this node and was not said yet.
    pub(super) fn remarks(&mut self, node: &Node) -> Vec<Remark> {
        let remarks: Vec<_> = self.ledger.oddities(node).iter().map(remark).collect();
        if remarks.is_empty() && !self.cases.contains_key(&node.uid) {
            return remarks;
        }
        let case = self.cases.entry(node.uid.clone()).or_default();
        let said = remarks.iter().map(|(_, message)| message.clone()).collect();
        let before = std::mem::replace(&mut case.remarked, said);
        if case.is_empty() {
            self.cases.remove(&node.uid);
        }
        remarks.into_iter().filter(|(_, message)| !before.contains(message)).collect()
    }

    /// How many nodes are remembered for other reasons than that they hold ranges, and how many
    /// queue. For the schedules.
    #[cfg(test)]
    pub(super) fn remembered(&self) -> (usize, usize) {
        (self.cases.len(), self.queues.values().map(BTreeSet::len).sum())
    }
}

fn pause(failures: u32) -> Duration {
    FIRST_PAUSE.saturating_mul(2_u32.saturating_pow(failures.saturating_sub(1))).min(LONGEST_PAUSE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::controllers::node_ipam::decide::tests::node;
    use crate::controllers::node_ipam::decide::usual;

    fn desk(range: &str) -> Desk {
        let pools = vec![Pool::new(range.parse().unwrap(), 24)];
        Desk::new(pools, &[], Others::new(Duration::ZERO), IpamMetrics::unread())
    }

    /// What the node is granted; why it waits else.
    fn claim(desk: &mut Desk, node: &Node) -> String {
        let want = usual(desk.pools());
        match desk.claim(node, &want, Instant::now()).0 {
            Outlook::Granted(ranges) => ranges[0].to_string(),
            Outlook::Refused(why) => why.cause.word().to_owned(),
            Outlook::Awaited => "awaited".to_owned(),
            Outlook::NotOurs => "gone".to_owned(),
        }
    }

    fn aged(name: &str, seconds: u64) -> Node {
        Node { created: SystemTime::UNIX_EPOCH + Duration::from_secs(seconds), ..node(name, &[]) }
    }

    #[test]
    fn what_becomes_free_is_the_oldest_waiting_nodes() {
        let mut desk = desk("10.0.0.0/24");
        let (first, young, old) = (node("first", &[]), aged("young", 9), aged("old", 5));
        for node in [&first, &young, &old] {
            desk.shows(node);
        }
        assert_eq!(claim(&mut desk, &first), "10.0.0.0/24");
        assert_eq!(claim(&mut desk, &young), "exhausted");
        assert_eq!(claim(&mut desk, &old), "exhausted");
        assert_eq!(claim(&mut desk, &young), "exhausted", "twice is once");
        assert_eq!(desk.remembered(), (2, 2));
        assert_eq!(desk.gone(&first.uid), ["old".into()]);
        assert_eq!(claim(&mut desk, &young), "exhausted", "it is the other's");
        assert_eq!(claim(&mut desk, &old), "10.0.0.0/24");
        desk.sending(&old);
        desk.written(&old);
        assert_eq!(claim(&mut desk, &old), "awaited");
        assert_eq!(desk.gone(&old.uid), ["young".into()]);
        desk.gone(&young.uid);
        assert_eq!((desk.remembered(), desk.ledger().held()), ((0, 0), (0, 0)));
        assert_eq!(claim(&mut desk, &young), "gone");
    }

    #[test]
    fn a_node_that_is_about_to_go_stands_in_nobodys_way() {
        let mut desk = desk("10.0.0.0/23");
        let [a, b, c] = ["a", "b", "c"].map(|name| node(name, &[]));
        for node in [&a, &b, &c] {
            desk.shows(node);
            claim(&mut desk, node);
        }
        desk.sending(&b);
        // What may stand on it is free when it is gone, what was only reserved at once.
        assert!(desk.shows(&Node { deleting: true, ..b.clone() }).is_empty());
        assert_eq!(desk.shows(&Node { deleting: true, ..a.clone() }), ["c".into()]);
        // It does not queue any more, either.
        desk.shows(&aged("d", 5));
        assert_eq!(claim(&mut desk, &aged("d", 5)), "exhausted");
        desk.shows(&Node { deleting: true, ..aged("d", 5) });
        assert_eq!(desk.remembered(), (1, 0), "but c, whose turn has not come");
        assert!(desk.gone(&b.uid).is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_wait_is_told_once_and_a_doubt_after_a_while() {
        let mut desk = desk("10.0.0.0/24");
        let a = node("a", &[]);
        desk.shows(&a);
        let wait = |cause, message: &str| Wait { cause, message: message.to_owned() };
        let (full, start) = (wait(Cause::Exhausted, "full"), Instant::now());
        assert_eq!(desk.waits(&a, &full, start), None);
        assert!(desk.is_news(&a, &full, start));
        desk.told(&a, &full);
        assert!(!desk.is_news(&a, &full, start));
        assert!(desk.is_news(&a, &wait(Cause::Held, "held"), start));

        let doubt = wait(Cause::Unknown(Retry::Backoff), "no answer");
        let (mut now, mut pauses) = (start, Vec::new());
        for _ in 0..7 {
            let pause = desk.waits(&a, &doubt, now).unwrap();
            pauses.push(pause.as_secs());
            assert_eq!(desk.is_news(&a, &doubt, now), now >= start + Duration::from_secs(10));
            now += pause;
        }
        assert_eq!(pauses, [1, 2, 4, 8, 16, 30, 30]);
        let named = wait(Cause::Unknown(Retry::After(Duration::from_secs(77))), "throttled");
        assert_eq!(desk.waits(&a, &named, now), Some(Duration::from_secs(77)));
        desk.shows(&node("a", &["10.0.0.0/24"]));
        assert_eq!(desk.remembered(), (0, 0));
    }

    #[test]
    fn a_remark_is_made_once() {
        let mut desk = desk("10.0.0.0/24");
        let odd = node("a", &["192.168.0.0/24"]);
        desk.shows(&odd);
        assert_eq!(desk.remarks(&odd).len(), 1);
        assert!(desk.remarks(&odd).is_empty());
        let plain = node("b", &["10.0.0.0/24"]);
        desk.shows(&plain);
        assert!(desk.remarks(&plain).is_empty());
        assert_eq!(desk.remembered(), (1, 0));
        desk.gone(&odd.uid);
        assert_eq!(desk.remembered(), (0, 0));
    }
}
