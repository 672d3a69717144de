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

    /// The stages, and what is waited for: what is on its way out. What that still uses stays for
    /// now, and so does what is used by what stays.
    ///
    /// Other users are not in the way: either they are wanted, and then the piece is too, or they
    /// go in a stage before, and before the next one the unit is looked at again.
    pub(crate) fn stages(&self, own: &Own) -> (Vec<Vec<OwnChange>>, Vec<String>) {
        let is_leaving = |it: &&Listener| it.state == PieceState::Deleting;
        let leaving = || own.listeners.iter().filter(is_leaving);
        let stays = |it: &LoadBalancer| {
            it.state == PieceState::Deleting || leaving().any(|user| user.load_balancer == it.id)
        };
        let (mut stages, mut waits) = (Vec::new(), Vec::new());
        go(&mut stages, &mut waits, &self.listeners, |_| false);
        go(&mut stages, &mut waits, &self.load_balancers, stays);
        go(&mut stages, &mut waits, &self.groups, |it| {
            leaving().any(|user| user.target_group == it.id)
        });
        go(&mut stages, &mut waits, &self.addresses, |it| {
            let mut users =
                own.load_balancers.iter().filter(|user| user.addresses.contains(&it.id));
            users.any(stays)
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
