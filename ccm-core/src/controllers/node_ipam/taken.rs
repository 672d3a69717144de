//! Which addresses somebody holds, and how many hold them. Pure.
//!
//! Kept as runs of neighbouring addresses that equally many hold, so that what it costs follows from
//! how scattered they are and not from how many: nodes whose ranges stand side by side are one run,
//! however many they are and however large their ranges.

use std::ops::RangeInclusive;

use ipnet::IpNet;
use rangemap::RangeInclusiveMap;

/// Addresses as numbers, first and last.
pub(super) type Span = RangeInclusive<u128>;

/// By how many each address is held; what nobody holds is not in it.
type Runs = RangeInclusiveMap<u128, u32>;

/// Which addresses are held.
#[derive(Clone, Debug, Default)]
pub(super) struct Taken {
    v4: Runs,
    v6: Runs,
}

impl Taken {
    fn runs(&self, is_v4: bool) -> &Runs {
        if is_v4 { &self.v4 } else { &self.v6 }
    }

    fn runs_mut(&mut self, is_v4: bool) -> &mut Runs {
        if is_v4 { &mut self.v4 } else { &mut self.v6 }
    }

    /// One more holds this range. Gives what nobody held before.
    pub(super) fn take(&mut self, range: &IpNet) -> Vec<Span> {
        let span = span(range);
        let runs = self.runs_mut(is_v4(range));
        let fresh: Vec<_> = runs.gaps(&span).collect();
        for (part, holders) in parts(runs, &span) {
            runs.insert(part, holders.saturating_add(1));
        }
        for part in &fresh {
            runs.insert(part.clone(), 1);
        }
        fresh
    }

    /// One less holds this range. Gives what nobody holds any more.
    pub(super) fn give_back(&mut self, range: &IpNet) -> Vec<Span> {
        let span = span(range);
        let runs = self.runs_mut(is_v4(range));
        let mut freed = Vec::new();
        for (part, holders) in parts(runs, &span) {
            if holders > 1 {
                runs.insert(part, holders - 1);
            } else {
                runs.remove(part.clone());
                freed.push(part);
            }
        }
        freed
    }

    /// How many hold the address of this range that most hold.
    pub(super) fn holders(&self, range: &IpNet) -> u32 {
        let span = span(range);
        let runs = self.runs(is_v4(range)).overlapping(&span);
        runs.map(|(_, holders)| *holders).max().unwrap_or_default()
    }

    /// What nobody holds between these two addresses, from the lowest on.
    pub(super) fn gaps<'a>(
        &'a self,
        is_v4: bool,
        within: &'a Span,
    ) -> impl Iterator<Item = Span> + 'a {
        self.runs(is_v4).gaps(within)
    }
}

/// The runs in this span, cut to it.
fn parts(runs: &Runs, span: &Span) -> Vec<(Span, u32)> {
    let cut = |run: &Span| *run.start().max(span.start())..=*run.end().min(span.end());
    runs.overlapping(span).map(|(run, holders)| (cut(run), *holders)).collect()
}

pub(super) fn is_v4(range: &IpNet) -> bool {
    matches!(range, IpNet::V4(_))
}

/// Whether they have addresses in common.
pub(super) fn overlap(one: &IpNet, other: &IpNet) -> bool {
    let (first, second) = (span(one), span(other));
    is_v4(one) == is_v4(other) && first.start() <= second.end() && second.start() <= first.end()
}

/// The addresses of this range. The very last address that there is in IPv6 is left out: a run never
/// ends where the numbers do.
pub(super) fn span(range: &IpNet) -> Span {
    match range {
        IpNet::V4(range) => {
            u32::from(range.network()).into()..=u128::from(u32::from(range.broadcast()))
        }
        IpNet::V6(range) => {
            let last = u128::from(range.broadcast()).min(u128::MAX - 1);
            u128::from(range.network()).min(last)..=last
        }
    }
}

/// How many addresses there are.
pub(super) fn length(span: &Span) -> u128 {
    (span.end() - span.start()).saturating_add(1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn net(text: &str) -> IpNet {
        text.parse().unwrap()
    }

    fn count(spans: &[Span]) -> u128 {
        spans.iter().map(length).sum()
    }

    #[test]
    fn what_two_hold_is_free_when_both_have_given_it_back() {
        let mut taken = Taken::default();
        assert_eq!(count(&taken.take(&net("10.0.0.0/24"))), 256);
        // Half of it, and as much beside it.
        assert_eq!(count(&taken.take(&net("10.0.0.128/25"))), 0);
        assert_eq!(count(&taken.take(&net("10.0.0.0/23"))), 256);
        assert_eq!(taken.holders(&net("10.0.0.0/25")), 2);
        assert_eq!(taken.holders(&net("10.0.0.0/24")), 3);
        assert_eq!(count(&taken.give_back(&net("10.0.0.0/24"))), 0);
        assert_eq!(count(&taken.give_back(&net("10.0.0.0/23"))), 384);
        assert_eq!(count(&taken.give_back(&net("10.0.0.128/25"))), 128);
        assert_eq!((taken.v4.len(), taken.holders(&net("0.0.0.0/0"))), (0, 0));
    }

    #[test]
    fn neighbours_are_one_run() {
        let mut taken = Taken::default();
        for n in 0..1000_u32 {
            taken.take(&format!("10.{}.{}.0/24", n / 256, n % 256).parse().unwrap());
        }
        assert_eq!(taken.v4.len(), 1);
    }

    #[test]
    fn the_ends_of_the_numbers_are_no_trouble() {
        let mut taken = Taken::default();
        for text in ["::/0", "ffff::/16", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff/128", "::/128"] {
            taken.take(&net(text));
        }
        assert_eq!(taken.gaps(false, &span(&net("::/0"))).count(), 0);
        taken.give_back(&net("::/0"));
        assert_eq!(taken.gaps(false, &span(&net("::/0"))).count(), 1);
        taken.take(&net("0.0.0.0/0"));
        taken.take(&net("255.255.255.255/32"));
        assert_eq!(taken.gaps(true, &span(&net("0.0.0.0/0"))).count(), 0);
    }

    proptest! {
        /// As an array of counters would have it.
        #[test]
        fn it_counts_as_an_array_does(steps in prop::collection::vec((0..64_u8, 26..33_u8), 1..40)) {
            let mut taken = Taken::default();
            let mut counters = [0_u32; 64];
            let mut held = Vec::new();
            for (at, prefix) in steps {
                let range: IpNet = format!("10.0.0.{at}/{prefix}").parse::<IpNet>().unwrap().trunc();
                let addresses = 1_usize << (32 - prefix);
                let first = usize::from(at) & !(addresses - 1);
                let counted = &mut counters[first..first + addresses];
                // Every third time somebody gives back what was taken before.
                if at % 3 == 0 && let Some((range, first, addresses)) = held.pop() {
                    let counted: &mut [u32] = &mut counters[first..first + addresses];
                    for count in counted.iter_mut() {
                        *count -= 1;
                    }
                    let freed = counted.iter().filter(|count| **count == 0).count();
                    prop_assert_eq!(count(&taken.give_back(&range)), freed as u128);
                } else {
                    let fresh = counted.iter().filter(|count| **count == 0).count();
                    for count in counted.iter_mut() {
                        *count += 1;
                    }
                    prop_assert_eq!(count(&taken.take(&range)), fresh as u128);
                    held.push((range, first, addresses));
                }
                for (at, count) in counters.iter().enumerate() {
                    let one: IpNet = format!("10.0.0.{at}/32").parse().unwrap();
                    prop_assert_eq!(taken.holders(&one), *count);
                }
            }
        }
    }
}
