//! The call log: who called what, how often, and how it ended.

use std::collections::{BTreeMap, VecDeque};

use crate::api::{CallCount, CallEntry, CallLog, Calls, Operation, Outcome, StruckBy, Timestamp};

/// Callers counted apart; those that come later are counted together as `other`.
const MAX_CALLERS: usize = 256;

/// Counts and the last calls.
#[derive(Debug)]
pub(crate) struct CallBook {
    capacity: usize,
    total: u64,
    counts: BTreeMap<(Operation, String), CallCount>,
    entries: VecDeque<CallEntry>,
    /// Sequence of the newest entry.
    newest: u64,
    /// Counts up whenever the counts are forgotten, so that a call of before does not end after.
    era: u64,
}

/// A call that has begun.
#[derive(Clone, Debug)]
pub(crate) struct Begun {
    operation: Operation,
    caller: String,
    instances: u64,
    resource: Option<String>,
    received_at: Timestamp,
    era: u64,
}

/// What a call is about.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct About<'a> {
    /// How many instances.
    pub(crate) instances: u64,
    /// The one thing.
    pub(crate) resource: Option<&'a str>,
}

/// How a call ended.
#[derive(Debug)]
pub(crate) struct End {
    pub(crate) at: Timestamp,
    /// Absent where there was no answer.
    pub(crate) status: Option<u16>,
    pub(crate) outcome: Outcome,
    pub(crate) fault: Option<StruckBy>,
    pub(crate) changed: bool,
}

impl CallBook {
    /// An empty log that keeps this many calls.
    pub(crate) fn new(capacity: usize) -> Self {
        Self {
            capacity: capacity.max(1),
            total: 0,
            counts: BTreeMap::new(),
            entries: VecDeque::new(),
            newest: 0,
            era: 0,
        }
    }

    /// Counts a call in.
    pub(crate) fn begin(
        &mut self,
        operation: Operation,
        caller: &str,
        about: About<'_>,
        now: Timestamp,
    ) -> Begun {
        let caller = self.known_caller(caller);
        let count = self.counts.entry((operation, caller.clone())).or_insert_with(|| CallCount {
            operation,
            caller: caller.clone(),
            calls: 0,
            instances: 0,
            mutations: 0,
            in_flight: 0,
            outcomes: BTreeMap::new(),
            faults: BTreeMap::new(),
        });
        count.calls += 1;
        count.in_flight += 1;
        count.instances += about.instances;
        self.total += 1;
        Begun {
            operation,
            caller,
            instances: about.instances,
            resource: about.resource.map(str::to_owned),
            received_at: now,
            era: self.era,
        }
    }

    /// Counts that a call has changed something.
    pub(crate) fn changed(&mut self, begun: &Begun) {
        if begun.era == self.era
            && let Some(count) = self.counts.get_mut(&(begun.operation, begun.caller.clone()))
        {
            count.mutations += 1;
        }
    }

    /// Counts a call out and enters it in the log.
    pub(crate) fn end(&mut self, begun: Begun, end: End) {
        if begun.era == self.era
            && let Some(count) = self.counts.get_mut(&(begun.operation, begun.caller.clone()))
        {
            count.in_flight -= 1;
            *count.outcomes.entry(end.outcome).or_default() += 1;
            if let Some(fault) = &end.fault {
                *count.faults.entry(fault.kind.clone()).or_default() += 1;
            }
        }
        if self.entries.len() == self.capacity {
            self.entries.pop_front();
        }
        self.newest += 1;
        self.entries.push_back(CallEntry {
            sequence: self.newest,
            received_at: begun.received_at,
            duration_ms: end.at.as_millis().saturating_sub(begun.received_at.as_millis()),
            operation: begun.operation,
            caller: begun.caller,
            instances: begun.instances,
            resource: begun.resource,
            changed: end.changed,
            status: end.status,
            outcome: end.outcome,
            fault: end.fault,
        });
    }

    /// The counts.
    pub(crate) fn calls(&self) -> Calls {
        Calls { total: self.total, counts: self.counts.values().cloned().collect() }
    }

    /// At most `limit` calls after `since`.
    pub(crate) fn log(&self, since: u64, limit: usize) -> CallLog {
        let oldest = self.newest + 1 - self.entries.len() as u64;
        let wanted = since.saturating_add(1);
        let skipped = wanted.saturating_sub(oldest);
        let skipped = usize::try_from(skipped).unwrap_or(usize::MAX);
        let entries: Vec<_> = self.entries.iter().skip(skipped).take(limit).cloned().collect();
        let next = entries.last().map_or(since.min(self.newest), |entry| entry.sequence);
        CallLog { entries, next, lost: oldest.saturating_sub(wanted) }
    }

    /// Forgets counts and calls. Calls in flight are not counted when they end.
    pub(crate) fn clear(&mut self) {
        self.total = 0;
        self.counts.clear();
        self.entries.clear();
        self.era += 1;
    }

    fn known_caller(&self, caller: &str) -> String {
        let is_known = self.counts.keys().any(|(_, known)| known == caller);
        if is_known || self.counts.len() < MAX_CALLERS { caller } else { "other" }.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(5_000);

    fn ok() -> End {
        End {
            at: NOW.after(3),
            status: Some(200),
            outcome: Outcome::Ok,
            fault: None,
            changed: false,
        }
    }

    fn about(instances: u64) -> About<'static> {
        About { instances, resource: None }
    }

    fn call(book: &mut CallBook, caller: &str) {
        let begun = book.begin(Operation::DescribeInstances, caller, about(7), NOW);
        book.end(begun, ok());
    }

    #[test]
    fn calls_are_counted_by_operation_and_caller() {
        let mut book = CallBook::new(10);
        call(&mut book, "a");
        call(&mut book, "a");
        call(&mut book, "b");
        let flying = book.begin(Operation::ListInstances, "b", about(0), NOW);

        let calls = book.calls();

        assert_eq!((calls.total, calls.by("a"), calls.by("b")), (4, 2, 2));
        assert_eq!(calls.of(Operation::DescribeInstances), 3);
        assert_eq!(calls.ended(Outcome::Ok), 3);
        let of_a = &calls.counts[0];
        assert_eq!((of_a.calls, of_a.instances, of_a.in_flight), (2, 14, 0));
        assert_eq!(calls.counts[2].in_flight, 1);
        book.end(flying, ok());
    }

    #[test]
    fn the_ring_says_what_it_lost() {
        let mut book = CallBook::new(3);
        for _ in 0..5 {
            call(&mut book, "a");
        }
        let numbers = |log: &CallLog| log.entries.iter().map(|e| e.sequence).collect::<Vec<_>>();

        let all = book.log(0, 10);
        assert_eq!((numbers(&all), all.next, all.lost), (vec![3, 4, 5], 5, 2));
        let some = book.log(3, 1);
        assert_eq!((numbers(&some), some.next, some.lost), (vec![4], 4, 0));
        let none = book.log(5, 10);
        assert_eq!((numbers(&none), none.next, none.lost), (vec![], 5, 0));
        let beyond = book.log(99, 10);
        assert_eq!((numbers(&beyond), beyond.next, beyond.lost), (vec![], 5, 0));
        assert_eq!(book.log(u64::MAX, 10).entries, []);
    }

    #[test]
    fn a_call_from_before_does_not_end_after() {
        let mut book = CallBook::new(3);
        let begun = book.begin(Operation::GetInstance, "a", about(1), NOW);
        book.clear();
        let again = book.begin(Operation::GetInstance, "a", about(1), NOW);
        book.end(begun, ok());

        assert_eq!(book.calls().counts[0].in_flight, 1);
        book.end(again, ok());
        assert_eq!(book.calls().counts[0].in_flight, 0);
        assert_eq!(book.log(0, 10).entries.len(), 2);
    }

    #[test]
    fn changes_are_counted_when_they_are_made() {
        let mut book = CallBook::new(3);
        let begun = book.begin(Operation::CreateInstance, "a", about(1), NOW);
        book.changed(&begun);
        let calls = book.calls();
        assert_eq!(
            (calls.mutations(), calls.mutations_by("a"), calls.mutations_by("b")),
            (1, 1, 0)
        );
        assert_eq!(calls.mutations_of(Operation::CreateInstance), 1);
        book.clear();
        book.changed(&begun);
        assert_eq!(book.calls().mutations(), 0, "those of before the clearing do not count after");
    }

    #[test]
    fn callers_without_end_are_counted_together() {
        let mut book = CallBook::new(3);
        for number in 0..1_000 {
            call(&mut book, &format!("caller-{number}"));
        }
        assert!(book.calls().counts.len() <= MAX_CALLERS + 1);
        assert_eq!(book.calls().total, 1_000);
    }
}
