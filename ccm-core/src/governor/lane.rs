//! One quota bucket: how many requests may be under way, who goes first, and what the cloud's
//! answers teach about it. Pure: time is handed in.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::time::Instant;

use crate::cloud::{Kind, Urgency};

/// Requests of one bucket under way at once, while the cloud does not complain.
///
/// A guess: with answers in 100 ms it allows 80 requests a second, more than the describe quota of
/// any cloud we know, and a complaint halves it.
pub(super) const MAX_IN_FLIGHT: usize = 8;

/// Overdue requests beside those that count, so that a cloud which hangs altogether is not buried.
const MOST_OVERDUE: usize = 32;

/// The first pause after a complaint that does not say how long to wait; it doubles with each
/// further complaint, up to [`LONGEST_PAUSE`].
pub(super) const FIRST_PAUSE: Duration = Duration::from_secs(1);

/// The longest pause that we choose ourselves.
pub(super) const LONGEST_PAUSE: Duration = Duration::from_mins(1);

/// The longest pause that we obey. A longer one is some middlebox's, or a mistake, and would stop
/// every node of the cluster; the next complaint renews it if it was meant.
pub(super) const LONGEST_OBEYED: Duration = Duration::from_mins(15);

/// Of so many turns one goes to the least urgent that waits: where the cloud lets hardly anything
/// through, what is new must not keep what has changed waiting for ever.
const LAST_FIRST: u64 = 8;

/// A caller's place in the queue: urgency first, then order of arrival.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Ticket {
    urgency: Urgency,
    number: u64,
}

/// What a caller in the queue has to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// Send the request.
    Go,
    /// Wait for somebody to leave.
    Wait,
    /// The cloud asked for a pause; look again then.
    HeldUntil(Instant),
}

/// The state of one bucket.
#[derive(Debug)]
pub(super) struct Lane {
    in_flight: usize,
    overdue: usize,
    limit: usize,
    held_until: Option<Instant>,
    complaints: u32,
    queue: BTreeSet<Ticket>,
    next_number: u64,
    turns: u64,
}

impl Default for Lane {
    fn default() -> Self {
        Self {
            in_flight: 0,
            overdue: 0,
            limit: MAX_IN_FLIGHT,
            held_until: None,
            complaints: 0,
            queue: BTreeSet::new(),
            next_number: 0,
            turns: 0,
        }
    }
}

impl Lane {
    /// Takes a place in the queue.
    pub(super) fn queue(&mut self, urgency: Urgency) -> Ticket {
        let ticket = Ticket { urgency, number: self.next_number };
        self.next_number += 1;
        self.queue.insert(ticket);
        ticket
    }

    /// Gives up a place in the queue.
    pub(super) fn give_up(&mut self, ticket: Ticket) {
        self.queue.remove(&ticket);
    }

    /// Lets the ticket's owner through if it is its turn; it has left the queue then.
    pub(super) fn turn(&mut self, ticket: Ticket, now: Instant) -> Turn {
        if let Some(until) = self.held_until {
            if now < until {
                return Turn::HeldUntil(until);
            }
            self.held_until = None;
        }
        if self.in_flight < self.limit && self.next() == Some(ticket) {
            self.queue.remove(&ticket);
            self.in_flight += 1;
            self.turns += 1;
            Turn::Go
        } else {
            Turn::Wait
        }
    }

    /// Whose turn it is.
    fn next(&self) -> Option<Ticket> {
        let first = *self.queue.first()?;
        let last = self.queue.last()?.urgency;
        if last == first.urgency || self.turns % LAST_FIRST != LAST_FIRST - 1 {
            return Some(first);
        }
        self.queue.range(Ticket { urgency: last, number: 0 }..).next().copied()
    }

    /// Whether the cloud has complained and has not been content since.
    pub(super) fn is_short(&self) -> bool {
        self.complaints > 0
    }

    /// A request's answer is overdue: says whether it counts no longer among those under way.
    pub(super) fn step_aside(&mut self) -> bool {
        let may = self.overdue < MOST_OVERDUE;
        if may {
            self.in_flight = self.in_flight.saturating_sub(1);
            self.overdue += 1;
        }
        may
    }

    /// A request has ended; `None` if nobody waited for its answer.
    pub(super) fn leave(
        &mut self,
        was_aside: bool,
        outcome: Option<Result<(), Kind>>,
        now: Instant,
    ) {
        let count = if was_aside { &mut self.overdue } else { &mut self.in_flight };
        *count = count.saturating_sub(1);
        match outcome {
            Some(Ok(())) => {
                self.complaints = 0;
                self.limit = (self.limit + 1).min(MAX_IN_FLIGHT);
            }
            Some(Err(Kind::RateLimited { retry_after })) => {
                // A wish for no pause at all is no answer to "how long".
                let asked = retry_after.filter(|pause| !pause.is_zero());
                let pause = asked.unwrap_or_else(|| {
                    FIRST_PAUSE
                        .saturating_mul(2_u32.saturating_pow(self.complaints))
                        .min(LONGEST_PAUSE)
                });
                let pause = pause.min(LONGEST_OBEYED);
                self.complaints += 1;
                self.limit = (self.limit / 2).max(1);
                let until = now + pause;
                self.held_until = Some(self.held_until.map_or(until, |held| held.max(until)));
            }
            // What failed for another reason says nothing about the quota.
            Some(Err(_)) | None => {}
        }
    }

    /// How many may be under way at once.
    pub(super) fn permits(&self) -> usize {
        self.limit
    }

    /// For how long nothing may be sent, if the cloud has asked for a pause.
    pub(super) fn paused(&self, now: Instant) -> Option<Duration> {
        let left = self.held_until?.saturating_duration_since(now);
        (!left.is_zero()).then_some(left)
    }

    /// How many wait for their turn.
    pub(super) fn waiting(&self) -> usize {
        self.queue.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITED: Option<Result<(), Kind>> = Some(Err(Kind::RateLimited { retry_after: None }));

    #[tokio::test(start_paused = true)]
    async fn the_urgent_go_first_and_others_in_their_order() {
        let now = Instant::now();
        let mut lane = Lane::default();
        let drift = lane.queue(Urgency::Drift);
        let first = lane.queue(Urgency::Initialize);
        let second = lane.queue(Urgency::Initialize);
        assert_eq!(lane.turn(drift, now), Turn::Wait);
        assert_eq!(lane.turn(second, now), Turn::Wait);
        assert_eq!(lane.turn(first, now), Turn::Go);
        assert_eq!(lane.turn(second, now), Turn::Go);
        assert_eq!(lane.turn(drift, now), Turn::Go);
    }

    #[tokio::test(start_paused = true)]
    async fn a_complaint_holds_the_bucket_and_halves_it() {
        let now = Instant::now();
        let mut lane = Lane::default();
        let one = lane.queue(Urgency::Refresh);
        assert_eq!(lane.turn(one, now), Turn::Go);
        lane.leave(
            false,
            Some(Err(Kind::RateLimited { retry_after: Some(Duration::from_secs(7)) })),
            now,
        );

        let tickets: Vec<_> = (0..MAX_IN_FLIGHT).map(|_| lane.queue(Urgency::Refresh)).collect();
        assert_eq!(lane.turn(tickets[0], now), Turn::HeldUntil(now + Duration::from_secs(7)));
        let later = now + Duration::from_secs(7);
        let through = tickets.iter().filter(|ticket| lane.turn(**ticket, later) == Turn::Go);
        assert_eq!(through.count(), MAX_IN_FLIGHT / 2);
    }

    #[tokio::test(start_paused = true)]
    async fn an_absurd_wish_for_a_pause_is_cut() {
        let now = Instant::now();
        let mut lane = Lane::default();
        let one = lane.queue(Urgency::Refresh);
        assert_eq!(lane.turn(one, now), Turn::Go);
        lane.leave(false, Some(Err(Kind::RateLimited { retry_after: Some(Duration::MAX) })), now);
        assert_eq!(lane.held_until, Some(now + LONGEST_OBEYED));
    }

    #[tokio::test(start_paused = true)]
    async fn pauses_grow_until_an_answer_comes() {
        let now = Instant::now();
        let mut lane = Lane::default();
        let mut at = now;
        let mut pauses = Vec::new();
        for _ in 0..8 {
            let ticket = lane.queue(Urgency::Refresh);
            if let Turn::HeldUntil(until) = lane.turn(ticket, at) {
                at = until;
                assert_eq!(lane.turn(ticket, at), Turn::Go);
            }
            lane.leave(false, LIMITED, at);
            pauses.push(lane.held_until.unwrap() - at);
        }
        let seconds: Vec<_> = pauses.iter().map(Duration::as_secs).collect();
        assert_eq!(seconds, [1, 2, 4, 8, 16, 32, 60, 60]);
        assert_eq!(lane.limit, 1);
        lane.leave(false, Some(Ok(())), at);
        assert_eq!((lane.limit, lane.complaints), (2, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn what_hangs_holds_nobody_up_for_long() {
        let now = Instant::now();
        let mut lane = Lane::default();
        let mut through = 0;
        for _ in 0..=MAX_IN_FLIGHT + MOST_OVERDUE {
            let ticket = lane.queue(Urgency::Refresh);
            if lane.turn(ticket, now) == Turn::Go {
                through += 1;
                lane.step_aside();
            }
        }
        assert_eq!(through, MAX_IN_FLIGHT + MOST_OVERDUE);
        lane.leave(true, None, now);
        assert!(lane.step_aside());
        let ticket = lane.queue(Urgency::Initialize);
        assert_eq!(lane.turn(ticket, now), Turn::Go);
    }

    #[tokio::test(start_paused = true)]
    async fn the_least_urgent_are_not_kept_waiting_for_ever() {
        let now = Instant::now();
        let mut lane = Lane { limit: 1, ..Lane::default() };
        let drift = lane.queue(Urgency::Drift);
        for turn in 1.. {
            let urgent = lane.queue(Urgency::Initialize);
            if lane.turn(drift, now) == Turn::Go {
                assert_eq!(turn, LAST_FIRST);
                return;
            }
            assert_eq!(lane.turn(urgent, now), Turn::Go);
            lane.leave(false, None, now);
        }
    }
}
