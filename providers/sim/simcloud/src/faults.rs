//! Fault scripts: which fault strikes which call.

use thiserror::Error;

use crate::api::{Fault, FaultKind, FaultSpec, Operation, OperationFilter, Timestamp};
use crate::rng::Rng;

/// Faults kept at once, spent ones included. More is a test that forgets to clean up.
pub(crate) const MAX_FAULTS: usize = 1000;

/// The longest that a fault may hold a call up: ten minutes.
pub(crate) const MAX_WAIT_MS: u64 = 600_000;

/// A script that makes no sense.
#[derive(Debug, PartialEq, Eq, Error)]
#[error("{field}: {why}")]
pub(crate) struct BadFault {
    /// The field at fault, as a path.
    pub(crate) field: &'static str,
    /// What is wrong with it.
    pub(crate) why: String,
}

/// What is known of a call when its fate is decided.
#[derive(Debug)]
pub(crate) struct Victim<'a> {
    pub(crate) operation: Operation,
    pub(crate) caller: &'a str,
}

/// A fault that strikes a call.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Strike {
    pub(crate) id: String,
    pub(crate) kind: FaultKind,
    pub(crate) instance: Option<String>,
    pub(crate) resource: Option<String>,
}

/// All faults, in the order of their making.
#[derive(Debug, Default)]
pub(crate) struct FaultBook {
    made: u64,
    faults: Vec<Fault>,
}

impl FaultBook {
    /// Takes a script that makes sense.
    pub(crate) fn add(&mut self, spec: FaultSpec, now: Timestamp) -> Result<Fault, BadFault> {
        check(&spec)?;
        self.made += 1;
        let id = format!("f-{}", self.made);
        let fault = Fault { id, spec, created_at: now, skipped: 0, uses: 0, spent: false };
        self.faults.push(fault.clone());
        Ok(fault)
    }

    /// Whether no more fit in.
    pub(crate) fn is_full(&self) -> bool {
        self.faults.len() >= MAX_FAULTS
    }

    /// All faults as they stand.
    pub(crate) fn list(&self, now: Timestamp) -> Vec<Fault> {
        self.faults.iter().map(|fault| shown(fault, now)).collect()
    }

    /// One fault as it stands.
    pub(crate) fn get(&self, id: &str, now: Timestamp) -> Option<Fault> {
        self.faults.iter().find(|fault| fault.id == id).map(|fault| shown(fault, now))
    }

    /// Whether the fault is there, spent or not.
    pub(crate) fn contains(&self, id: &str) -> bool {
        self.faults.iter().any(|fault| fault.id == id)
    }

    /// Removes one; says whether it was there.
    pub(crate) fn remove(&mut self, id: &str) -> bool {
        let before = self.faults.len();
        self.faults.retain(|fault| fault.id != id);
        self.faults.len() < before
    }

    /// Removes all.
    pub(crate) fn clear(&mut self) {
        self.faults.clear();
    }

    /// The first fault that fits the call and fires; counts the use.
    ///
    /// `is_about` says whether the call is about the instance and the piece that a script names.
    pub(crate) fn strike(
        &mut self,
        victim: &Victim<'_>,
        now: Timestamp,
        rng: &mut Rng,
        is_about: impl Fn(&FaultSpec) -> bool,
    ) -> Option<Strike> {
        let fault = self.faults.iter_mut().find_map(|fault| {
            let fits = !is_spent(fault, now) && fits(&fault.spec, victim) && is_about(&fault.spec);
            let fires = fits
                && !skips(fault)
                && fault.spec.extent.share.is_none_or(|share| rng.happens(share));
            fires.then_some(fault)
        })?;
        fault.uses += 1;
        Some(Strike {
            id: fault.id.clone(),
            kind: fault.spec.kind,
            instance: fault.spec.instance.clone(),
            resource: fault.spec.resource.clone(),
        })
    }
}

/// Whether the fault lets this call pass because it skips some; counts it.
fn skips(fault: &mut Fault) -> bool {
    let skips = fault.spec.extent.skip.is_some_and(|skip| fault.skipped < skip);
    fault.skipped += u64::from(skips);
    skips
}

fn shown(fault: &Fault, now: Timestamp) -> Fault {
    Fault { spent: is_spent(fault, now), ..fault.clone() }
}

fn is_spent(fault: &Fault, now: Timestamp) -> bool {
    let extent = &fault.spec.extent;
    extent.calls.is_some_and(|calls| fault.uses >= calls)
        || extent.period_ms.is_some_and(|period| now >= fault.created_at.after(period))
}

fn fits(spec: &FaultSpec, victim: &Victim<'_>) -> bool {
    spec.operation.matches(victim.operation)
        && spec.kind.applies_to(victim.operation)
        && spec.caller.as_deref().is_none_or(|caller| caller == victim.caller)
}

fn check(spec: &FaultSpec) -> Result<(), BadFault> {
    let bad = |field, why: &str| Err(BadFault { field, why: why.to_owned() });
    let is_share = |share: f64| share > 0.0 && share <= 1.0;

    match spec.kind {
        FaultKind::ServerError { status } if !(500..=599).contains(&status) => {
            return bad("kind.server_error.status", "must be from 500 to 599");
        }
        FaultKind::Hang { max_ms: Some(max) } if !(1..=MAX_WAIT_MS).contains(&max) => {
            return bad("kind.hang.max_ms", "must be from 1 to 600000");
        }
        FaultKind::Slow { delay_ms, .. } if !(1..=MAX_WAIT_MS).contains(&delay_ms) => {
            return bad("kind.slow.delay_ms", "must be from 1 to 600000");
        }
        FaultKind::Throttle { retry_after_ms: Some(wait) } if wait > MAX_WAIT_MS => {
            return bad("kind.throttle.retry_after_ms", "must be at most 600000");
        }
        FaultKind::CutPage { missing_share } if !is_share(missing_share) => {
            return bad("kind.cut_page.missing_share", "must be above 0 and at most 1");
        }
        FaultKind::Unauthenticated
        | FaultKind::PermissionDenied
        | FaultKind::NotFound
        | FaultKind::Throttle { .. }
        | FaultKind::ServerError { .. }
        | FaultKind::Hang { .. }
        | FaultKind::Slow { .. }
        | FaultKind::CutPage { .. }
        | FaultKind::DropPageToken
        | FaultKind::EmptyPage
        | FaultKind::LoseResponse
        | FaultKind::Reset
        | FaultKind::FailProvisioning => {}
    }

    let extent = &spec.extent;
    if extent.calls.is_none() && extent.share.is_none() && extent.period_ms.is_none() {
        return bad("for", "must say calls, share or period_ms");
    }
    if extent.calls == Some(0) {
        return bad("for.calls", "must be at least 1");
    }
    if extent.share.is_some_and(|share| !is_share(share)) {
        return bad("for.share", "must be above 0 and at most 1");
    }
    if extent.period_ms == Some(0) {
        return bad("for.period_ms", "must be at least 1");
    }

    if !can_strike(spec.operation, spec.kind) {
        let why = format!("{} cannot strike {}", spec.kind.as_str(), spec.operation);
        return Err(BadFault { field: "operation", why });
    }
    if spec.caller.as_deref() == Some("") {
        return bad("caller", "must not be empty; leave it out for every caller");
    }
    if spec.instance.as_deref() == Some("") {
        return bad("instance", "must not be empty; leave it out for every instance");
    }
    if spec.resource.as_deref() == Some("") {
        return bad("resource", "must not be empty; leave it out for every piece");
    }
    Ok(())
}

fn can_strike(filter: OperationFilter, kind: FaultKind) -> bool {
    Operation::ALL.iter().any(|one| filter.matches(*one) && kind.applies_to(*one))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::api::{FaultExtent, OperationClass};

    const READS: OperationFilter = OperationFilter::Class(OperationClass::Read);
    const SOON: Timestamp = Timestamp::from_millis(1_000);

    fn describe_by(caller: &str) -> Victim<'_> {
        Victim { operation: Operation::DescribeInstances, caller }
    }

    fn strikes(book: &mut FaultBook, victim: &Victim<'_>, now: Timestamp) -> bool {
        let is_about =
            |spec: &FaultSpec| spec.instance.as_deref().is_none_or(|name| name == "node-1");
        book.strike(victim, now, &mut Rng::new(0), is_about).is_some()
    }

    #[test]
    fn a_counted_fault_strikes_so_often_and_is_spent() {
        let mut book = FaultBook::default();
        let fault = book.add(FaultSpec::next_calls(READS, FaultKind::Reset, 2), SOON).unwrap();

        let struck = (0..5).filter(|_| strikes(&mut book, &describe_by("ccm"), SOON)).count();

        assert_eq!(struck, 2);
        let fault = book.get(&fault.id, SOON).unwrap();
        assert_eq!((fault.uses, fault.spent), (2, true));
    }

    #[test]
    fn a_fault_strikes_after_those_that_it_skips() {
        let mut book = FaultBook::default();
        let mut spec = FaultSpec::next_calls(READS, FaultKind::Reset, 1);
        spec.extent.skip = Some(2);
        let id = book.add(spec, SOON).unwrap().id;
        let write = Victim { operation: Operation::CreateInstance, caller: "ccm" };

        assert!(!strikes(&mut book, &write, SOON), "and what it does not fit does not count");
        let struck: Vec<_> =
            (0..4).map(|_| strikes(&mut book, &describe_by("ccm"), SOON)).collect();

        assert_eq!(struck, [false, false, true, false]);
        let fault = book.get(&id, SOON).unwrap();
        assert_eq!((fault.skipped, fault.uses, fault.spent), (2, 1, true));
    }

    #[test]
    fn a_period_ends() {
        let mut book = FaultBook::default();
        let mut spec = FaultSpec::always(READS, FaultKind::Reset);
        spec.extent = FaultExtent { period_ms: Some(500), ..FaultExtent::default() };
        book.add(spec, SOON).unwrap();

        assert!(strikes(&mut book, &describe_by("ccm"), SOON.after(499)));
        assert!(!strikes(&mut book, &describe_by("ccm"), SOON.after(500)));
    }

    #[test]
    fn a_share_is_drawn_with_the_seed() {
        let draw = |seed| {
            let mut book = FaultBook::default();
            let mut spec = FaultSpec::always(OperationFilter::Any, FaultKind::Reset);
            spec.extent.share = Some(0.3);
            book.add(spec, SOON).unwrap();
            let mut rng = Rng::new(seed);
            let mut struck =
                || book.strike(&describe_by("ccm"), SOON, &mut rng, |_| true).is_some();
            (0..1000).map(|_| struck()).collect::<Vec<_>>()
        };
        let first = draw(1);
        assert_eq!(first, draw(1));
        assert_ne!(first, draw(2));
        let often = first.iter().filter(|struck| **struck).count();
        assert!((230..370).contains(&often), "{often}");
    }

    #[test]
    fn the_first_that_fits_strikes_alone() {
        let mut book = FaultBook::default();
        book.add(FaultSpec::next_calls(READS, FaultKind::Reset, 1), SOON).unwrap();
        book.add(FaultSpec::always(READS, FaultKind::EmptyPage), SOON).unwrap();
        let mut strike = || {
            let rng = &mut Rng::new(0);
            book.strike(&describe_by("ccm"), SOON, rng, |_| true).map(|strike| strike.kind)
        };
        assert_eq!(strike(), Some(FaultKind::Reset));
        assert_eq!(strike(), Some(FaultKind::EmptyPage));
    }

    #[rstest]
    #[case::everything("*", None, None, true)]
    #[case::its_class("read", None, None, true)]
    #[case::the_other_class("write", None, None, false)]
    #[case::another_operation("GetInstance", None, None, false)]
    #[case::its_caller("*", Some("ccm"), None, true)]
    #[case::another_caller("*", Some("console"), None, false)]
    #[case::its_instance("*", None, Some("node-1"), true)]
    #[case::another_instance("*", None, Some("node-2"), false)]
    fn filters(
        #[case] operation: &str,
        #[case] caller: Option<&str>,
        #[case] instance: Option<&str>,
        #[case] want: bool,
    ) {
        let mut spec = FaultSpec::always(operation.parse().unwrap(), FaultKind::Reset);
        spec.caller = caller.map(str::to_owned);
        spec.instance = instance.map(str::to_owned);
        let mut book = FaultBook::default();
        book.add(spec, SOON).unwrap();

        assert_eq!(strikes(&mut book, &describe_by("ccm"), SOON), want);
    }

    #[rstest]
    #[case::anything(FaultKind::Reset, &Operation::ALL)]
    #[case::answers_of_many(
        FaultKind::EmptyPage,
        &[
            Operation::DescribeInstances,
            Operation::ListInstances,
            Operation::ListAddresses,
            Operation::ListTargetGroups,
            Operation::ListTargets,
            Operation::ListLoadBalancers,
            Operation::ListListeners,
            Operation::ListFirewalls,
            Operation::ListRules,
            Operation::ListRoutes,
            Operation::DescribeRoutes,
            Operation::ListVolumes,
            Operation::DescribeVolumes,
        ],
    )]
    #[case::pages(
        FaultKind::DropPageToken,
        &[
            Operation::ListInstances,
            Operation::ListAddresses,
            Operation::ListTargetGroups,
            Operation::ListTargets,
            Operation::ListLoadBalancers,
            Operation::ListListeners,
            Operation::ListFirewalls,
            Operation::ListRules,
            Operation::ListRoutes,
            Operation::ListVolumes,
        ],
    )]
    #[case::a_direct_question(
        FaultKind::NotFound,
        &[
            Operation::GetInstance,
            Operation::GetAddress,
            Operation::GetTargetGroup,
            Operation::GetLoadBalancer,
            Operation::GetListener,
            Operation::GetFirewall,
            Operation::GetRoute,
            Operation::GetVolume,
        ],
    )]
    #[case::what_takes_long_to_make(
        FaultKind::FailProvisioning,
        &[Operation::CreateLoadBalancer, Operation::CreateRoute, Operation::CreateRoutes],
    )]
    fn kinds_strike_where_they_can(#[case] kind: FaultKind, #[case] want: &[Operation]) {
        let mut book = FaultBook::default();
        book.add(FaultSpec::always(OperationFilter::Any, kind), SOON).unwrap();
        let mut struck = Operation::ALL.to_vec();
        struck.retain(|operation| {
            strikes(&mut book, &Victim { operation: *operation, caller: "ccm" }, SOON)
        });
        assert_eq!(struck, want);
    }

    #[rstest]
    #[case::a_status_that_is_no_error(FaultKind::ServerError { status: 200 }, "kind.server_error.status")]
    #[case::an_endless_hang(FaultKind::Hang { max_ms: Some(600_001) }, "kind.hang.max_ms")]
    #[case::no_delay(FaultKind::Slow { delay_ms: 0, stale: false }, "kind.slow.delay_ms")]
    #[case::a_long_throttle(
        FaultKind::Throttle { retry_after_ms: Some(600_001) }, "kind.throttle.retry_after_ms",
    )]
    #[case::more_than_all(FaultKind::CutPage { missing_share: 1.1 }, "kind.cut_page.missing_share")]
    #[case::not_a_number(
        FaultKind::CutPage { missing_share: f64::NAN }, "kind.cut_page.missing_share",
    )]
    #[case::a_page_of_a_write(FaultKind::EmptyPage, "operation")]
    #[case::a_write_of_nothing(FaultKind::NotFound, "operation")]
    fn a_senseless_kind_is_named(#[case] kind: FaultKind, #[case] field: &str) {
        let spec = FaultSpec::always("write".parse().unwrap(), kind);
        let bad = FaultBook::default().add(spec, SOON).unwrap_err();
        assert_eq!(bad.field, field);
    }

    #[rstest]
    #[case::nothing(FaultExtent::default(), "for")]
    #[case::no_call(FaultExtent { calls: Some(0), ..FaultExtent::default() }, "for.calls")]
    #[case::no_share(FaultExtent { share: Some(0.0), ..FaultExtent::default() }, "for.share")]
    #[case::too_much(FaultExtent { share: Some(1.5), ..FaultExtent::default() }, "for.share")]
    #[case::no_time(FaultExtent { period_ms: Some(0), ..FaultExtent::default() }, "for.period_ms")]
    fn a_senseless_extent_is_named(#[case] extent: FaultExtent, #[case] field: &str) {
        let spec = FaultSpec { extent, ..FaultSpec::always(READS, FaultKind::Reset) };
        let bad = FaultBook::default().add(spec, SOON).unwrap_err();
        assert_eq!(bad.field, field);
    }
}
