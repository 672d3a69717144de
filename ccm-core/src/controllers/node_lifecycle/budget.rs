//! How many nodes may be deleted that nobody announced. Pure: time is handed in.

use std::time::Duration;

use tokio::time::Instant;

use crate::cluster::node::Node;

/// What one budget is for: all nodes of the provider. Nothing else says so: for a budget of its own
/// for each zone this would be `|node| node.labels.get(keys::ZONE).unwrap_or_default()`.
pub(in crate::controllers) const DOMAIN: fn(&Node) -> &str = |_| "provider";

/// How large a budget is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// At least so many nodes, however few there are.
    pub minimum: u32,
    /// Of the domain's nodes, rounded down.
    pub percent: u32,
    /// The time in which so many may go.
    pub window: Duration,
}

impl Limit {
    /// Nodes that may go in one window, where the domain has so many.
    pub(in crate::controllers) fn capacity(&self, nodes: usize) -> u64 {
        let share = u64::try_from(nodes).unwrap_or(u64::MAX).saturating_mul(self.percent.into());
        u64::from(self.minimum).max(share / 100)
    }
}

/// What is left of a budget.
///
/// It fills evenly, a full window's worth in one window and never more than that. Tokens that were
/// taken count until their use is over: otherwise those of deletions that the API server does not
/// take for long would pile up, and all be used at once. A process begins with one token, so that a
/// crash loop does not refill it.
#[derive(Clone, Debug)]
pub(in crate::controllers) struct Budget {
    limit: Limit,
    nodes: usize,
    tokens: f64,
    /// Taken and not used yet.
    out: u32,
    at: Instant,
}

/// Less than this is the rounding of sums.
const ROUNDING: f64 = 1e-6;

impl Budget {
    pub(in crate::controllers) fn new(limit: Limit, now: Instant) -> Self {
        Self { limit, nodes: 0, tokens: 1.0, out: 0, at: now }
    }

    /// Brings it up to date, for a domain of so many nodes.
    pub(in crate::controllers) fn refill(&mut self, nodes: usize, now: Instant) {
        self.nodes = nodes;
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        let gained = self.full() * passed / self.limit.window.as_secs_f64().max(1.0);
        self.tokens = (self.tokens + gained).min(self.room());
        self.at = self.at.max(now);
    }

    /// Takes a token, if there is one.
    pub(in crate::controllers) fn take(&mut self) -> bool {
        let has = self.tokens >= 1.0 - ROUNDING;
        if has {
            self.tokens = (self.tokens - 1.0).max(0.0);
            self.out += 1;
        }
        has
    }

    /// A token that was taken is used. What fills up meanwhile did not fit beside it.
    pub(in crate::controllers) fn spend(&mut self, now: Instant) {
        self.refill(self.nodes, now);
        self.out = self.out.saturating_sub(1);
    }

    /// Puts back a token that was not used.
    pub(in crate::controllers) fn give_back(&mut self) {
        self.out = self.out.saturating_sub(1);
        self.tokens = (self.tokens + 1.0).min(self.room());
    }

    /// Whether it fills no further.
    pub(in crate::controllers) fn is_full(&self) -> bool {
        self.tokens >= self.room() - ROUNDING
    }

    /// Tokens that can be taken now.
    pub(in crate::controllers) fn left(&self) -> f64 {
        self.tokens
    }

    /// Tokens of a full budget.
    pub(in crate::controllers) fn capacity(&self) -> u64 {
        self.limit.capacity(self.nodes)
    }

    /// What fits beside the tokens that are out.
    fn room(&self) -> f64 {
        (self.full() - f64::from(self.out)).max(0.0)
    }

    fn full(&self) -> f64 {
        // Exact below 2^52, and no cluster has more nodes.
        #[expect(clippy::cast_precision_loss, reason = "as said")]
        let capacity = self.capacity() as f64;
        capacity
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    const LIMIT: Limit = Limit { minimum: 3, percent: 10, window: Duration::from_mins(10) };

    fn taken(budget: &mut Budget) -> usize {
        std::iter::from_fn(|| budget.take().then_some(())).count()
    }

    #[rstest]
    #[case::small(4, 3)]
    #[case::just_as_large(39, 3)]
    #[case::rounded_down(49, 4)]
    #[case::large(5000, 500)]
    fn the_larger_of_both(#[case] nodes: usize, #[case] capacity: u64) {
        assert_eq!(LIMIT.capacity(nodes), capacity);
    }

    #[test]
    fn one_at_the_start_and_no_more_than_a_full_one_later() {
        let start = Instant::now();
        let mut budget = Budget::new(LIMIT, start);
        budget.refill(100, start);
        assert_eq!(taken(&mut budget), 1);
        budget.spend(start);
        budget.refill(100, start + Duration::from_hours(5));
        assert_eq!(taken(&mut budget), 10);
    }

    #[test]
    fn it_fills_evenly() {
        let start = Instant::now();
        let mut budget = Budget::new(LIMIT, start);
        budget.refill(5, start);
        assert_eq!(taken(&mut budget), 1);
        budget.spend(start);
        // Three in ten minutes: one each 200 s.
        let times: Vec<_> = (0..=600_u32)
            .filter(|second| {
                budget.refill(5, start + Duration::from_secs(1) * *second);
                let took = budget.take();
                budget.spend(start);
                took
            })
            .collect();
        assert_eq!(times, [200, 400, 600]);
    }

    #[test]
    fn a_budget_of_nothing_never_has_a_token() {
        let start = Instant::now();
        let mut budget = Budget::new(Limit { minimum: 0, percent: 0, ..LIMIT }, start);
        budget.refill(70, start);
        assert!(!budget.take());
        budget.refill(70, start + Duration::from_hours(1));
        assert!(!budget.take());
    }

    #[test]
    fn tokens_that_are_out_do_not_pile_up() {
        let start = Instant::now();
        let mut budget = Budget::new(LIMIT, start);
        // Three whose deletions are refused for an hour.
        for hours in 1..=3 {
            budget.refill(5, start + Duration::from_hours(hours));
            assert!(budget.take());
        }
        budget.refill(5, start + Duration::from_hours(9));
        assert!(!budget.take());
        budget.spend(start + Duration::from_hours(9));
        budget.refill(5, start + Duration::from_hours(10));
        assert_eq!(taken(&mut budget), 1);
    }

    #[test]
    fn what_is_put_back_does_not_overflow() {
        let start = Instant::now();
        let mut budget = Budget::new(LIMIT, start);
        budget.refill(5, start + Duration::from_hours(1));
        budget.give_back();
        assert_eq!(taken(&mut budget), 3);
        budget.refill(5, start + Duration::from_hours(1));
        budget.give_back();
        assert_eq!(taken(&mut budget), 1);
    }
}
