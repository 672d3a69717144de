//! What most behaviours begin with, and ends that are compared.

use crate::balancing::LoadBalancerHarness;
use crate::rig::{Cut, Rig};
use crate::service::{Service, Variant};

/// A process, and two nodes that may be members.
pub(super) async fn staged<H: LoadBalancerHarness>(harness: &H) -> Rig<'_, H> {
    let mut rig = Rig::start(harness).await;
    rig.join(2).await;
    rig
}

/// A process with two nodes and one Service, settled.
pub(super) async fn made<H: LoadBalancerHarness>(harness: &H) -> (Rig<'_, H>, Service) {
    let mut rig = staged(harness).await;
    let service = harness.service();
    rig.present(&service);
    rig.settled().await;
    rig.sent();
    (rig, service)
}

/// Deletes these Services; nothing of them may be left.
pub(super) async fn clear<H: LoadBalancerHarness>(
    rig: &mut Rig<'_, H>,
    services: &[&Service],
    about: &str,
) {
    for service in services {
        rig.absent(service);
    }
    rig.settled().await;
    assert_left(about, &rig.snapshot().await, &[]);
    rig.sent();
}

/// What the cloud has is what it should have.
#[track_caller]
pub(super) fn assert_left(about: &str, got: &[String], want: &[String]) {
    let but = |one: &[String], other: &[String]| -> Vec<String> {
        one.iter().filter(|line| !other.contains(line)).cloned().collect()
    };
    let (more, less) = (but(got, want), but(want, got));
    assert!(
        got == want,
        "{about}: the cloud has what it should not have: {more:#?}, or lacks: {less:#?}, \
         or has something twice: {got:#?}"
    );
}

/// From one form of a Service to another; `None` is that there is no such Service.
pub(super) struct Story {
    pub(super) what: String,
    pub(super) service: Service,
    pub(super) before: Option<Service>,
    pub(super) after: Option<Service>,
    /// Whether something of the end is left where the Service goes back to what it was.
    pub(super) sticks: bool,
}

/// A story as it goes when nothing is in the way.
pub(super) struct Calm {
    /// What the cloud has in the end.
    pub(super) end: Vec<String>,
    /// How many changes that takes.
    pub(super) changes: usize,
}

impl Story {
    pub(super) fn making(service: &Service) -> Self {
        Self::new("making it", None, Some(service), service)
    }

    pub(super) fn changing(service: &Service, variant: &Variant) -> Self {
        let story = Self::new(variant.name, Some(service), Some(&variant.of(service)), service);
        Self { sticks: variant.sticks, ..story }
    }

    pub(super) fn taking_down(service: &Service) -> Self {
        Self::new("taking it down", Some(service), None, service)
    }

    fn new(
        what: &str,
        before: Option<&Service>,
        after: Option<&Service>,
        service: &Service,
    ) -> Self {
        let (before, after) = (before.cloned(), after.cloned());
        Self { what: what.to_owned(), service: service.clone(), before, after, sticks: false }
    }

    /// Where the story begins, settled.
    pub(super) async fn begin<H: LoadBalancerHarness>(&self, rig: &mut Rig<'_, H>) {
        if let Some(before) = &self.before {
            rig.present(before);
            rig.settled().await;
        }
        rig.sent();
    }

    /// What the user does.
    pub(super) fn act<H: LoadBalancerHarness>(&self, rig: &mut Rig<'_, H>) {
        match &self.after {
            Some(after) => rig.present(after),
            None => rig.absent(&self.service),
        }
    }

    /// Tells it without any trouble, and clears it away.
    pub(super) async fn calm<H: LoadBalancerHarness>(&self, rig: &mut Rig<'_, H>) -> Calm {
        self.begin(rig).await;
        self.act(rig);
        rig.settled().await;
        let changes = rig.sent().len();
        let end = rig.snapshot().await;
        self.clear(rig).await;
        Calm { end, changes }
    }

    /// Takes what is left of it away.
    pub(super) async fn clear<H: LoadBalancerHarness>(&self, rig: &mut Rig<'_, H>) {
        rig.absent(&self.service);
        rig.settled().await;
        rig.sent();
    }

    /// Tells it with a crash at each change in turn, before it is sent and after its effect. `rest`
    /// is what the cloud has without the Service.
    ///
    /// `thorough` leaves nothing out. Otherwise a change is cut off before it is sent only where it is
    /// the first: before the next is after this one, for a process that remembers nothing.
    pub(super) async fn with_crashes<H: LoadBalancerHarness>(
        &self,
        rig: &mut Rig<'_, H>,
        rest: &[String],
        thorough: bool,
    ) {
        let calm = self.calm(rig).await;
        assert!(calm.changes > 0 || self.before.is_some(), "{}: nothing is sent", self.what);
        assert_left(&format!("{}, and deleted", self.what), &rig.snapshot().await, rest);
        for at in 1..=calm.changes {
            for when in [Cut::Before, Cut::After] {
                if when == Cut::Before && at > 1 && !thorough {
                    continue;
                }
                let about = format!("{}, crashed at change {at} ({when:?})", self.what);
                self.begin(rig).await;
                rig.cut(at, when);
                self.act(rig);
                rig.until_cut().await;
                rig.restart().await;
                rig.settled().await;
                assert_left(&about, &rig.snapshot().await, &calm.end);
                if self.before.is_some() && !self.sticks {
                    // Back to where it began. What leaks is found in the end.
                    continue;
                }
                self.clear(rig).await;
                assert_left(&format!("{about}, and deleted"), &rig.snapshot().await, rest);
            }
        }
        self.clear(rig).await;
        let about = format!("{}, after all those crashes, and deleted", self.what);
        assert_left(&about, &rig.snapshot().await, rest);
    }
}
