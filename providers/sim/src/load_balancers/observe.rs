//! What the cloud has of a unit.

use std::sync::Arc;

use ccm_core::cloud::{CloudError, Kind, ObjectId, Owned, Read, Uid, Want};
use futures::future::{join_all, try_join_all};
use futures::{join, try_join};
use simcloud::api::{
    Address, Firewall, InstanceId, ListPieces, Listener, LoadBalancer, OWNER_TAG, Piece, PieceKind,
    PieceState, Rule, TargetGroup, TargetState,
};

use super::change::{AddressWish, Balancer, GroupKey, PortKey};
use super::marks::{FIREWALL_NAME, Mark, Marks, load_balancer_name, piece_name};
use crate::client::Client;

/// What the cloud has of a unit.
#[derive(Clone, Debug)]
pub(crate) enum Observed {
    /// A Service's own pieces.
    Own(Own),
    /// The cluster's firewall.
    Firewall(Option<Wall>),
}

/// A Service's own pieces, in whatever state, each kind oldest first.
#[derive(Clone, Debug, Default)]
pub(crate) struct Own {
    pub(crate) addresses: Vec<Address>,
    pub(crate) load_balancers: Vec<LoadBalancer>,
    /// All of those load balancers.
    pub(crate) listeners: Vec<Listener>,
    pub(crate) groups: Vec<Group>,
    /// A load balancer of another mark that has the name of ours.
    pub(crate) name_taken: Option<LoadBalancer>,
}

/// A target group with its targets.
#[derive(Clone, Debug)]
pub(crate) struct Group {
    pub(crate) group: TargetGroup,
    /// Those that are not on their way out, sorted.
    pub(crate) targets: Arc<[InstanceId]>,
}

/// A firewall with its rules.
#[derive(Clone, Debug)]
pub(crate) struct Wall {
    pub(crate) firewall: Firewall,
    pub(crate) rules: Vec<Rule>,
}

/// Whether a piece can be used. One that has failed can only be deleted.
pub(crate) fn is_usable(piece: &impl Piece) -> bool {
    match piece.state() {
        PieceState::Provisioning | PieceState::Active => true,
        PieceState::Failed | PieceState::Deleting => false,
    }
}

impl Own {
    /// Whether nothing is left of it.
    pub(crate) fn is_empty(&self) -> bool {
        self.addresses.is_empty()
            && self.load_balancers.is_empty()
            && self.listeners.is_empty()
            && self.groups.is_empty()
    }

    /// The load balancer that is used: by its name, where several are ours.
    pub(crate) fn balancer(&self, wish: &Balancer) -> Option<&LoadBalancer> {
        let fits = |one: &&LoadBalancer| is_usable(*one) && one.internal == wish.internal;
        let by_name = self.load_balancers.iter().filter(fits).find(|one| one.name == wish.name);
        by_name.or_else(|| self.load_balancers.iter().find(fits))
    }

    /// The address that is used for a wish: one that a load balancer of ours has goes before others.
    pub(crate) fn address(&self, wish: &AddressWish) -> Option<&Address> {
        let fits = |one: &&Address| is_usable(*one) && is_address(one, wish);
        let is_used = |one: &&Address| self.uses_address(one);
        let used = self.addresses.iter().filter(fits).find(is_used);
        used.or_else(|| self.addresses.iter().find(fits))
    }

    /// The target group that is used: one that a listener refers to goes before others.
    pub(crate) fn group(&self, key: GroupKey) -> Option<&Group> {
        let fits = |one: &&Group| is_usable(&one.group) && key_of(&one.group) == key;
        let used = self.groups.iter().filter(fits).find(|one| self.uses_group(&one.group));
        used.or_else(|| self.groups.iter().find(fits))
    }

    /// The listener of a load balancer at a port, in whatever state.
    pub(crate) fn listener(&self, of: &LoadBalancer, key: PortKey) -> Option<&Listener> {
        self.listeners.iter().find(|one| one.load_balancer == of.id && port_of(one) == key)
    }

    /// Whether a load balancer has it, be it on its way out.
    pub(crate) fn uses_address(&self, address: &Address) -> bool {
        self.load_balancers.iter().any(|one| one.addresses.contains(&address.id))
    }

    /// Whether a listener refers to it, be it on its way out.
    pub(crate) fn uses_group(&self, group: &TargetGroup) -> bool {
        self.listeners.iter().any(|one| one.target_group == group.id)
    }
}

/// Whether an address is what is wished for.
pub(crate) fn is_address(address: &Address, wish: &AddressWish) -> bool {
    address.family == wish.family && wish.address.is_none_or(|wanted| wanted == address.address)
}

pub(crate) fn port_of(listener: &Listener) -> PortKey {
    PortKey { protocol: listener.protocol, port: listener.port }
}

pub(crate) fn key_of(group: &TargetGroup) -> GroupKey {
    GroupKey { protocol: group.protocol, node_port: group.node_port }
}

/// Looks at a Service's own pieces.
///
/// By the tags that all of them bear, so that those of a half-finished creation are found too; the
/// load balancer also by its name, and what it uses by its ID, for a program before this one may
/// have left them without tags.
pub(crate) async fn own<S>(
    client: &Client,
    cx: &Read,
    marks: &Marks,
    id: &ObjectId,
    want: Option<&Want<S>>,
) -> Result<Own, CloudError> {
    let mine = || ListPieces::tagged(marks.of(&id.uid));
    let (addresses, groups, load_balancers) = try_join!(
        client.pieces::<Address>(cx, mine()),
        client.pieces::<TargetGroup>(cx, mine()),
        client.pieces::<LoadBalancer>(cx, mine()),
    )?;
    let mut own = Own { addresses, load_balancers, ..Own::default() };
    if own.load_balancers.is_empty() {
        let named = ListPieces::named(load_balancer_name(&id.uid));
        for one in client.pieces::<LoadBalancer>(cx, named).await? {
            match marks.read(&one.tags, &id.uid) {
                Mark::Ours | Mark::None => own.load_balancers.push(one),
                Mark::Others => own.name_taken = Some(one),
            }
        }
    }
    let listeners = own.load_balancers.iter().map(|one| one.id.clone());
    let listeners = listeners.map(|of| client.pieces::<Listener>(cx, ListPieces::of(of)));
    own.listeners = try_join_all(listeners).await?.into_iter().flatten().collect();
    let mut groups = groups;
    match want {
        // The word of one list is not enough to say that nothing is left.
        Some(Want::Absent(_)) if own.is_empty() && groups.is_empty() => {
            let named = || ListPieces::named(piece_name(id));
            let (mut addresses, mut others) = try_join!(
                client.pieces::<Address>(cx, named()),
                client.pieces::<TargetGroup>(cx, named()),
            )?;
            addresses.retain(|one| marks.read(&one.tags, &id.uid) == Mark::Ours);
            others.retain(|one| marks.read(&one.tags, &id.uid) == Mark::Ours);
            (own.addresses, groups) = (addresses, others);
        }
        Some(Want::Present(_) | Want::Absent(_)) => {
            adopt(client, cx, marks, &id.uid, &mut own, &mut groups).await?;
        }
        Some(Want::Keep(_)) | None => {}
    }
    let groups = groups.into_iter().map(|group| with_targets(client, cx, group));
    own.groups = try_join_all(groups).await?.into_iter().flatten().collect();
    Ok(own)
}

/// Adds what our load balancer uses and that bears nobody's mark.
async fn adopt(
    client: &Client,
    cx: &Read,
    marks: &Marks,
    owner: &Uid,
    own: &mut Own,
    groups: &mut Vec<TargetGroup>,
) -> Result<(), CloudError> {
    let used = own.load_balancers.iter().flat_map(|one| &one.addresses);
    let unknown = used.filter(|id| own.addresses.iter().all(|one| one.id != **id));
    let addresses = join_all(unknown.map(|id| client.piece::<Address>(cx, id)));
    let mut used: Vec<_> = own.listeners.iter().map(|one| &one.target_group).collect();
    used.sort_unstable();
    used.dedup();
    let unknown = used.into_iter().filter(|id| groups.iter().all(|one| one.id != **id));
    let others = join_all(unknown.map(|id| client.piece::<TargetGroup>(cx, id)));
    let (addresses, others) = join!(addresses, others);
    for address in addresses {
        own.addresses.extend(address?.filter(|one| marks.read(&one.tags, owner) == Mark::None));
    }
    for group in others {
        groups.extend(group?.filter(|one| marks.read(&one.tags, owner) == Mark::None));
    }
    Ok(())
}

/// `None` where the group is gone meanwhile.
async fn with_targets(
    client: &Client,
    cx: &Read,
    group: TargetGroup,
) -> Result<Option<Group>, CloudError> {
    // A group that was just made, or is on its way out, needs no call.
    if group.target_count == 0 || !is_usable(&group) {
        return Ok(Some(Group { group, targets: Arc::default() }));
    }
    let Some(targets) = client.targets(cx, &group.id).await? else { return Ok(None) };
    let stays = |state: TargetState| match state {
        TargetState::Registering | TargetState::Registered => true,
        TargetState::Draining => false,
    };
    let mut targets: Vec<_> =
        targets.into_iter().filter(|one| stays(one.state)).map(|one| one.instance).collect();
    targets.sort_unstable();
    Ok(Some(Group { group, targets: targets.into() }))
}

/// Looks at the cluster's firewall. The cloud has at most one for each cluster.
pub(crate) async fn firewall(
    client: &Client,
    cx: &Read,
    marks: &Marks,
) -> Result<Option<Wall>, CloudError> {
    let mut found = client.pieces::<Firewall>(cx, ListPieces::tagged(marks.cluster())).await?;
    if found.is_empty() {
        // The word of one list is not enough to say that no rule is left.
        let named = ListPieces { name: Some(FIREWALL_NAME.to_owned()), ..ListPieces::default() };
        found = client.pieces::<Firewall>(cx, named).await?;
        found.retain(|one| marks.is_of_cluster(&one.tags));
    }
    let Some(firewall) = found.into_iter().next() else { return Ok(None) };
    if firewall.rule_count == 0 {
        return Ok(Some(Wall { firewall, rules: Vec::new() }));
    }
    let Some((rules, etag)) = client.rules(cx, &firewall.id).await? else { return Ok(None) };
    if etag == firewall.etag && rules.len() as u64 != firewall.rule_count {
        let message = format!(
            "firewall {} has {} rules, and the cloud lists {}",
            firewall.id,
            firewall.rule_count,
            rules.len()
        );
        return Err(CloudError::new(Kind::Unavailable, message));
    }
    Ok(Some(Wall { firewall, rules }))
}

/// Everything that bears the cluster's mark, and the rules of its firewall.
pub(crate) async fn inventory(
    client: &Client,
    cx: &Read,
    marks: &Marks,
) -> Result<Vec<Owned>, CloudError> {
    let mine = || ListPieces::tagged(marks.cluster());
    let (addresses, groups, load_balancers, listeners, wall) = try_join!(
        client.pieces::<Address>(cx, mine()),
        client.pieces::<TargetGroup>(cx, mine()),
        client.pieces::<LoadBalancer>(cx, mine()),
        client.pieces::<Listener>(cx, mine()),
        firewall(client, cx, marks),
    )?;
    let mut all = Vec::new();
    all.extend(addresses.iter().map(owned));
    all.extend(groups.iter().map(owned));
    all.extend(load_balancers.iter().map(owned));
    all.extend(listeners.iter().map(owned));
    if let Some(Wall { firewall, rules }) = wall {
        all.push(owned(&firewall));
        all.extend(rules.into_iter().map(|rule| Owned {
            kind: "rule",
            id: rule.id.to_string(),
            owner: Some(Uid::from(rule.spec.owner)),
            object: None,
        }));
    }
    Ok(all)
}

fn owned<P: Piece>(piece: &P) -> Owned {
    let kind: PieceKind = P::KIND;
    let owner = piece.tags().get(OWNER_TAG).map(|owner| Uid::from(owner.as_str()));
    Owned { kind: kind.words(), id: piece.id().to_string(), owner, object: None }
}
