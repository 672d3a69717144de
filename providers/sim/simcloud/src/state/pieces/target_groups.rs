//! Target groups, and the targets in them.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU16;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::table::{Asked, Body, New, Piece, id_of};
use super::{Cx, ListAsk, Listed, Made, MemberAsk, Pieces, Refusal, check_new, check_new_tags};
use crate::api::{
    ChangeTargets, CreateTargetGroup, HealthCheck, HealthProtocol, InstanceId, PieceKind, Protocol,
    Quota, Target, TargetGroup, TargetGroupId, TargetState, Timestamp, UpdateTargetGroup,
};
use crate::state::Fleet;
use crate::state::instances;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TargetGroupBody {
    pub(super) protocol: Protocol,
    pub(super) node_port: NonZeroU16,
    pub(super) health_check: HealthCheck,
    /// By the number of the instance.
    targets: Arc<BTreeMap<u64, Membership>>,
}

/// For how long an instance is a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Membership {
    /// When it is no longer registering.
    ready_at: Timestamp,
    /// When it is gone, if it was removed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    gone_at: Option<Timestamp>,
}

impl Membership {
    /// Where it is on its way in or out; none when it is gone.
    fn state(self, time: Timestamp) -> Option<TargetState> {
        match self.gone_at {
            Some(gone_at) if time >= gone_at => None,
            Some(_) => Some(TargetState::Draining),
            None if time < self.ready_at => Some(TargetState::Registering),
            None => Some(TargetState::Registered),
        }
    }
}

impl TargetGroupBody {
    /// The targets that are there at a time, by the number of the instance.
    pub(super) fn targets(&self, time: Timestamp) -> impl Iterator<Item = (u64, TargetState)> {
        self.targets.iter().filter_map(move |(number, one)| Some((*number, one.state(time)?)))
    }
}

impl Body for TargetGroupBody {
    const KIND: PieceKind = PieceKind::TargetGroup;
    type Shown = TargetGroup;

    fn show(piece: &Piece<Self>, number: u64, time: Timestamp) -> TargetGroup {
        TargetGroup {
            id: TargetGroupId::new(id_of(Self::KIND, number)),
            name: piece.name.clone(),
            tags: piece.tags.clone(),
            state: piece.state(time),
            protocol: piece.body.protocol,
            node_port: piece.body.node_port,
            health_check: piece.body.health_check.clone(),
            target_count: piece.body.targets(time).count() as u64,
            created_at: piece.created_at,
        }
    }
}

impl Pieces {
    pub(crate) fn target_group(&self, cx: &Cx<'_>, id: &str) -> Result<TargetGroup, Refusal> {
        self.target_groups.get(cx, id)
    }

    pub(crate) fn list_target_groups(&self, cx: &Cx<'_>, ask: &ListAsk<'_>) -> Listed<TargetGroup> {
        self.target_groups.list(cx, ask, |_| true)
    }

    pub(crate) fn create_target_group(
        &mut self,
        cx: &Cx<'_>,
        wanted: CreateTargetGroup,
    ) -> Result<Made<TargetGroup>, Refusal> {
        check_new(&wanted.name, &wanted.tags, wanted.client_token.as_ref())?;
        check_health(&wanted.health_check)?;
        let asked = Asked::new(wanted.client_token.as_ref(), &wanted);
        if let Some(number) = self.target_groups.repeated(cx, asked.as_ref())? {
            return Ok(Made { piece: self.target_groups.shown(cx, number), is_new: false });
        }
        let body = TargetGroupBody {
            protocol: wanted.protocol,
            node_port: wanted.node_port,
            health_check: wanted.health_check,
            targets: Arc::default(),
        };
        let new = New { name: wanted.name, tags: wanted.tags, asked, body };
        let number = self.target_groups.insert(cx, new)?;
        self.changes += 1;
        Ok(Made { piece: self.target_groups.shown(cx, number), is_new: true })
    }

    pub(crate) fn update_target_group(
        &mut self,
        cx: &Cx<'_>,
        id: &str,
        update: UpdateTargetGroup,
    ) -> Result<TargetGroup, Refusal> {
        check_new_tags(update.tags.as_ref())?;
        update.health_check.as_ref().map_or(Ok(()), check_health)?;
        let (number, _) = self.target_groups.changeable(cx, id)?;
        let differs = self.target_groups.change(cx, number, |piece| {
            if let Some(tags) = update.tags {
                piece.tags = tags;
            }
            if let Some(health_check) = update.health_check {
                piece.body.health_check = health_check;
            }
        });
        self.changes += u64::from(differs);
        Ok(self.target_groups.shown(cx, number))
    }

    pub(crate) fn delete_target_group(
        &mut self,
        cx: &Cx<'_>,
        id: &str,
    ) -> Result<TargetGroup, Refusal> {
        let (number, _) = self.target_groups.existing(cx, id)?;
        if let Some(user) = self.listener_of(cx, |listener| listener.target_group == number) {
            return Err(Refusal::Conflict(format!("target group {id} is used by listener {user}")));
        }
        let begins = self.target_groups.delete(cx, number);
        self.changes += u64::from(begins);
        Ok(self.target_groups.shown(cx, number))
    }

    /// A page of the targets of a group, as readers see it, in the order of their IDs.
    pub(crate) fn list_targets(
        &self,
        cx: &Cx<'_>,
        id: &str,
        ask: &MemberAsk,
    ) -> Result<Listed<Target>, Refusal> {
        let (_, piece) = self.target_groups.seen(cx, id)?;
        let time = cx.moment.seen();
        let range = piece.body.targets.range(ask.after.saturating_add(1)..);
        let mut found = range.filter_map(|(number, one)| Some((*number, one.state(time)?)));
        let page: Vec<_> = found.by_ref().take(ask.size).collect();
        let next = found.next().and_then(|_| page.last().map(|(number, _)| *number));
        let target = |(number, state)| Target { instance: instances::id_of(number), state };
        Ok(Listed { items: page.into_iter().map(target).collect(), next })
    }

    /// Adds and removes targets: all, or none when one cannot be had.
    pub(crate) fn change_targets(
        &mut self,
        cx: &Cx<'_>,
        fleet: &Fleet,
        id: &str,
        change: &ChangeTargets,
    ) -> Result<TargetGroup, Refusal> {
        let (asked, limit) = (change.add.len() + change.remove.len(), cx.settings.batch_limit);
        if asked > limit {
            return Err(Refusal::BatchTooLarge { asked, limit });
        }
        check_apart(change)?;
        let (number, piece) = self.target_groups.changeable(cx, id)?;
        let mut targets = BTreeMap::clone(&piece.body.targets);
        targets.retain(|_, one| one.state(cx.now()).is_some());

        let mut differs = false;
        let later = cx.now().after(cx.settings.target_delay_ms);
        for (index, instance) in change.add.iter().enumerate() {
            let there =
                instances::number_of(instance).filter(|_| fleet.may_serve(cx.now(), instance));
            let Some(target) = there else {
                let why = format!("add[{index}]: instance {instance} is gone, or never was");
                return Err(Refusal::Conflict(why));
            };
            let stays = targets.get(&target).is_some_and(|one| one.gone_at.is_none());
            if !stays {
                targets.insert(target, Membership { ready_at: later, gone_at: None });
                differs = true;
            }
        }
        for target in change.remove.iter().filter_map(instances::number_of) {
            let Some(one) = targets.get_mut(&target) else { continue };
            if one.gone_at.is_none() {
                one.gone_at = Some(later);
                differs = true;
            }
        }
        targets.retain(|_, one| one.state(cx.now()).is_some());
        if !change.add.is_empty() {
            cx.check_quota(Quota::TargetsOfGroup, targets.len())?;
        }
        if differs {
            self.target_groups.change(cx, number, |piece| piece.body.targets = Arc::new(targets));
            self.changes += 1;
        }
        Ok(self.target_groups.shown(cx, number))
    }
}

fn check_apart(change: &ChangeTargets) -> Result<(), Refusal> {
    let added: BTreeSet<&InstanceId> = change.add.iter().collect();
    match change.remove.iter().position(|instance| added.contains(instance)) {
        Some(index) => Err(Refusal::invalid(format!("remove[{index}]"), "is to be added as well")),
        None => Ok(()),
    }
}

fn check_health(check: &HealthCheck) -> Result<(), Refusal> {
    let invalid = |why: &str| Err(Refusal::invalid("health_check.path", why));
    match (check.protocol, check.path.as_deref()) {
        (HealthProtocol::Tcp, None) => Ok(()),
        (HealthProtocol::Tcp, Some(_)) => invalid("must be absent where the protocol is tcp"),
        (HealthProtocol::Http | HealthProtocol::Https, Some(path)) if path.starts_with('/') => {
            Ok(())
        }
        (HealthProtocol::Http | HealthProtocol::Https, _) => {
            invalid("must begin with a slash where the protocol is http or https")
        }
    }
}
