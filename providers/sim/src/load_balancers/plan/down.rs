//! The taking down of pieces, what uses something before what it uses.

use simcloud::api::{Address, Listener, LoadBalancer, PieceState, TargetGroup};

use super::super::change::{Named, OwnChange, Which};
use super::super::observe::Own;
use super::push_stages;

/// Pieces that are to go.
pub(crate) struct Down<'a> {
    pub(crate) listeners: Vec<&'a Listener>,
    pub(crate) load_balancers: Vec<&'a LoadBalancer>,
    pub(crate) groups: Vec<&'a TargetGroup>,
    pub(crate) addresses: Vec<&'a Address>,
}

impl<'a> Down<'a> {
    /// All that a Service has.
    pub(crate) fn all(own: &'a Own) -> Self {
        Self {
            listeners: own.listeners.iter().collect(),
            load_balancers: own.load_balancers.iter().collect(),
            groups: own.groups.iter().map(|it| &it.group).collect(),
            addresses: own.addresses.iter().collect(),
        }
    }

    /// The stages, and what is waited for: what is on its way out, and with it what only that
    /// still uses.
    ///
    /// Other users are in the way of nothing here: they are wanted and the piece is then not to
    /// go, or they go in a stage before, and before the next one the unit is looked at again.
    pub(crate) fn stages(&self, own: &Own) -> (Vec<Vec<OwnChange>>, Vec<String>) {
        let leaving = |all: &[Listener], uses: &dyn Fn(&Listener) -> bool| {
            all.iter().any(|it| it.state == PieceState::Deleting && uses(it))
        };
        let (mut stages, mut waits) = (Vec::new(), Vec::new());
        go(&mut stages, &mut waits, &self.listeners, |_| false);
        go(&mut stages, &mut waits, &self.load_balancers, |it| {
            leaving(&own.listeners, &|user| user.load_balancer == it.id)
        });
        go(&mut stages, &mut waits, &self.groups, |it| {
            leaving(&own.listeners, &|user| user.target_group == it.id)
        });
        go(&mut stages, &mut waits, &self.addresses, |it| {
            own.load_balancers
                .iter()
                .any(|user| user.state == PieceState::Deleting && user.addresses.contains(&it.id))
        });
        (stages, waits)
    }
}

fn go<P: Named>(
    stages: &mut Vec<Vec<OwnChange>>,
    waits: &mut Vec<String>,
    going: &[&P],
    is_held: impl Fn(&P) -> bool,
) {
    let (leaving, others): (Vec<&P>, Vec<&P>) =
        going.iter().partition(|it| it.state() == PieceState::Deleting);
    waits.extend(leaving.into_iter().map(|it| format!("{} to be gone", Which::of(it))));
    let free = others.into_iter().filter(|it| !is_held(it));
    push_stages(stages, free.map(|it| OwnChange::Delete(Which::of(it))).collect());
}
