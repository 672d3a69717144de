//! The model of a cloud: machines with a past, and answers that are late, cut, stale or none.

use std::collections::BTreeMap;
use std::time::Duration;

use super::time::{Ms, s};
use crate::chance::Figures;
use crate::chance::Rng;
use crate::cloud::{
    AddressKind, Ask, CloudError, Detail, Evidence, Instance, Kind, NodeAddress, Observation,
    PodCidrs, ProviderId, RunState,
};

/// What is true of a place where a machine may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Truth {
    /// There is one.
    Present {
        /// Which.
        incarnation: u32,
        /// Whether it runs.
        state: RunState,
        /// It is on its way to be deleted.
        terminating: bool,
    },
    /// There was one, and the record says so.
    Terminated,
    /// There is none.
    Absent,
}

impl Truth {
    /// Whether there is a machine that is not about to go.
    pub(super) fn lives(self) -> Option<u32> {
        match self {
            Self::Present { incarnation, terminating: false, .. } => Some(incarnation),
            Self::Present { terminating: true, .. } | Self::Terminated | Self::Absent => None,
        }
    }

    pub(super) fn is_state(self, wanted: RunState) -> bool {
        matches!(self, Self::Present { state, .. } if state == wanted)
    }
}

/// A provider ID, and the machines that have stood behind it.
#[derive(Debug)]
pub(super) struct Place {
    past: Vec<(Ms, Truth)>,
    next_incarnation: u32,
    /// A new machine is not in lists before this, and not in direct answers before that.
    shy: (Ms, Ms),
}

impl Place {
    pub(super) fn at(&self, when: Ms) -> Truth {
        let known = self.past.iter().rev().find(|(since, _)| *since <= when);
        known.map_or(Truth::Absent, |(_, truth)| *truth)
    }

    /// Since when the present machine is there.
    pub(super) fn since(&self, incarnation: u32) -> Ms {
        let is_it = |truth: &Truth| matches!(truth, Truth::Present { incarnation: it, .. } if *it == incarnation);
        let first = self.past.iter().find(|(_, truth)| is_it(truth));
        first.map_or(0, |(since, _)| *since)
    }

    /// Whether anything of this kind was true since then.
    pub(super) fn ever(&self, since: Ms, now: Ms, is: impl Fn(Truth) -> bool) -> bool {
        let later = self.past.iter().filter(|(at, _)| *at >= since && *at <= now);
        is(self.at(since)) || later.into_iter().any(|(_, truth)| is(*truth))
    }

    fn set(&mut self, when: Ms, truth: Truth) {
        self.past.retain(|(since, _)| *since < when);
        self.past.push((when, truth));
    }

    /// A new machine. Lists, and then direct answers, do not show it for so long.
    pub(super) fn create(&mut self, now: Ms, unlisted: Ms, unanswered: Ms) -> u32 {
        let incarnation = self.next_incarnation;
        self.next_incarnation += 1;
        self.shy = (now + unlisted, now + unanswered);
        self.set(
            now,
            Truth::Present { incarnation, state: RunState::Starting, terminating: false },
        );
        incarnation
    }

    pub(super) fn turn(&mut self, now: Ms, state: RunState) {
        if let Truth::Present { incarnation, terminating, .. } = self.at(now) {
            self.set(now, Truth::Present { incarnation, state, terminating });
        }
    }

    /// The machine goes for good: it is seen stopping for a while, and its record stays for a while.
    pub(super) fn terminate(&mut self, now: Ms, stopping: Ms, record: Ms) {
        let Truth::Present { incarnation, .. } = self.at(now) else { return };
        if stopping > 0 {
            let (state, terminating) = (RunState::Stopping, true);
            self.set(now, Truth::Present { incarnation, state, terminating });
        }
        if record > 0 {
            self.set(now + stopping, Truth::Terminated);
        }
        self.set(now + stopping + record, Truth::Absent);
    }
}

/// How an answer goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// The credentials are refused.
    Denied,
    /// Too many requests; says how long to wait, perhaps.
    Throttled(Option<Ms>),
    /// It cannot at the moment.
    Unavailable,
    /// Full marks, and nothing in it.
    Empty,
    /// Some are left out.
    Cut,
    /// As it was so long ago.
    Stale(Ms),
    /// No answer.
    Hang,
    /// Late, so that others overtake it.
    Slow,
}

impl Fault {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Denied => "cloud fault: denied",
            Self::Throttled(_) => "cloud fault: throttled",
            Self::Unavailable => "cloud fault: unavailable",
            Self::Empty => "cloud fault: empty answer",
            Self::Cut => "cloud fault: cut answer",
            Self::Stale(_) => "cloud fault: stale answer",
            Self::Hang => "cloud fault: hang",
            Self::Slow => "cloud fault: late answer",
        }
    }

    /// Whether an answer says something that is not so.
    pub(super) fn lies(self) -> bool {
        matches!(self, Self::Empty | Self::Cut | Self::Stale(_))
    }
}

/// A time in which answers go wrong.
#[derive(Clone, Copy, Debug)]
pub(super) struct Window {
    pub(super) from: Ms,
    pub(super) to: Ms,
    pub(super) fault: Fault,
    /// So many answers in a hundred.
    pub(super) percent: u64,
    pub(super) looks: bool,
    pub(super) direct: bool,
}

/// A call that is under way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Call {
    pub(super) ask: Ask,
    pub(super) fault: Option<Fault>,
    /// When the cloud looks.
    pub(super) computed: Ms,
    /// When its answer comes.
    pub(super) answered: Ms,
}

/// The longest that a call may take.
pub(super) const DEADLINE: Ms = s(30);

/// The cloud.
#[derive(Debug)]
pub(super) struct Cloud {
    pub(super) places: Vec<Place>,
    pub(super) windows: Vec<Window>,
}

impl Cloud {
    pub(super) fn new(places: usize, windows: Vec<Window>) -> Self {
        let place = || Place { past: Vec::new(), next_incarnation: 0, shy: (0, 0) };
        Self { places: (0..places).map(|_| place()).collect(), windows }
    }

    /// Begins a call, and settles when it is answered.
    pub(super) fn call(&self, ask: Ask, now: Ms, rng: &mut Rng) -> Call {
        let on = |window: &&Window| {
            let direct = ask == Ask::Confirm;
            (window.from..window.to).contains(&now)
                && (if direct { window.direct } else { window.looks })
        };
        let window = self.windows.iter().find(on);
        let fault = window.filter(|window| rng.chance(window.percent)).map(|it| it.fault);
        let took = match fault {
            Some(Fault::Hang) => DEADLINE,
            Some(Fault::Slow) => rng.between(50, s(12)),
            _ => rng.between(20, 400),
        };
        Call { ask, fault, computed: now + rng.between(0, took), answered: now + took }
    }

    /// What a call says about these places; `None` for one that is not in this cloud.
    pub(super) fn answer(
        &self,
        call: &Call,
        places: &[Option<usize>],
        rng: &mut Rng,
        figures: &mut Figures,
    ) -> Result<Vec<Observation>, CloudError> {
        if let Some(fault) = call.fault {
            figures.count(fault.name());
            if call.ask == Ask::Confirm {
                figures.count("cloud fault on a direct question");
            }
        }
        let error = match call.fault {
            Some(Fault::Denied) => Some((Kind::PermissionDenied, "token revoked")),
            Some(Fault::Throttled(after)) => {
                let retry_after = after.map(Duration::from_millis);
                Some((Kind::RateLimited { retry_after }, "slow down"))
            }
            Some(Fault::Unavailable) => Some((Kind::Unavailable, "bad gateway")),
            Some(Fault::Hang) => Some((Kind::Unavailable, "no answer")),
            _ => None,
        };
        if let Some((kind, message)) = error {
            return Err(CloudError::new(kind, message));
        }
        let answers = places.iter().map(|place| {
            let is_left_out = match call.fault {
                Some(Fault::Empty) => true,
                Some(Fault::Cut) => rng.chance(50),
                _ => false,
            };
            match place {
                Some(place) if !is_left_out => self.look(*place, call),
                Some(_) | None => Observation::Gone(Evidence::Absent),
            }
        });
        Ok(answers.collect())
    }

    fn look(&self, place: usize, call: &Call) -> Observation {
        let when = match call.fault {
            Some(Fault::Stale(by)) => call.computed.saturating_sub(by),
            _ => call.computed,
        };
        let known = &self.places[place];
        let shy = if call.ask == Ask::Look { known.shy.0 } else { known.shy.1 };
        match known.at(when) {
            Truth::Present { incarnation, .. }
                if when < shy && incarnation + 1 == known.next_incarnation =>
            {
                Observation::Gone(Evidence::Absent)
            }
            Truth::Present { incarnation, state, .. } => {
                Observation::Present(instance(place, incarnation, state))
            }
            Truth::Terminated => Observation::Gone(Evidence::Terminated),
            Truth::Absent => Observation::Gone(Evidence::Absent),
        }
    }
}

/// A machine's record. Address and type tell incarnations apart.
pub(super) fn instance(place: usize, incarnation: u32, state: RunState) -> Instance {
    Instance {
        provider_id: provider_id(place),
        incarnation: format!("{place}/{incarnation}").into(),
        state,
        instance_type: Some(instance_type(incarnation).into()),
        zone: Some("z".into()),
        region: None,
        addresses: vec![NodeAddress::new(AddressKind::InternalIp, address(place, incarnation))],
        labels: BTreeMap::new(),
        pod_cidrs: PodCidrs::Unsaid,
        detail: Detail::default(),
    }
}

pub(super) fn address(place: usize, incarnation: u32) -> String {
    format!("10.0.{place}.{incarnation}")
}

pub(super) fn instance_type(incarnation: u32) -> &'static str {
    ["small", "large"][incarnation as usize % 2]
}

pub(super) fn provider_id(place: usize) -> ProviderId {
    ProviderId::try_from(format!("test://{place}")).expect("not empty")
}
