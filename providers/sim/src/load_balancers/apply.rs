//! Carries one change out, and says what the unit is now where the answer tells.

use std::sync::Arc;

use ccm_core::cloud::{CloudError, Kind, Learnt, ObjectId, Write};
use simcloud::api::{
    AddRule, Address, AddressId, ChangeTargets, CreateAddress, CreateFirewall, CreateListener,
    CreateLoadBalancer, CreateTargetGroup, DescribeInstances, Firewall, FirewallId, InstanceId,
    Listener, LoadBalancer, Piece, PieceKind, PieceState, RuleId, RuleSpec, RunState, TargetGroup,
    UpdateAddress, UpdateListener, UpdateLoadBalancer, UpdateTargetGroup,
};

use super::SimLoadBalancers;
use super::change::{
    AddressWish, Balancer, FirewallChange, GroupKey, OwnChange, PortKey, SimChange, Which,
};
use super::marks::{FIREWALL_NAME, Tags, piece_name, piece_token, token};
use super::observe::{Group, Observed, Own, Wall};

/// Who carries a change out, for whom.
struct Apply<'a> {
    provider: &'a SimLoadBalancers,
    cx: &'a Write,
}

/// Sends the change.
pub(crate) async fn apply(
    provider: &SimLoadBalancers,
    cx: &Write,
    change: &SimChange,
    observed: &Observed,
) -> Result<Learnt<Observed>, CloudError> {
    let apply = Apply { provider, cx };
    match (change, observed) {
        (SimChange::Own(id, change), Observed::Own(own)) => apply.own(id, change, own).await,
        (SimChange::Firewall(change), Observed::Firewall(wall)) => {
            apply.firewall(change, wall.as_ref()).await
        }
        (SimChange::Own(..), Observed::Firewall(_))
        | (SimChange::Firewall(_), Observed::Own(_)) => {
            Err(CloudError::new(Kind::Internal, "the change is of another unit"))
        }
    }
}

/// What the change rests on is not there any more.
fn vanished(what: impl std::fmt::Display) -> CloudError {
    CloudError::new(Kind::Conflict, format!("{what} is not there any more"))
}

impl Apply<'_> {
    async fn own(
        &self,
        id: &ObjectId,
        change: &OwnChange,
        own: &Own,
    ) -> Result<Learnt<Observed>, CloudError> {
        let mut now = own.clone();
        match change {
            OwnChange::CreateAddress { wish, tags } => {
                now.addresses.push(self.create_address(id, wish, tags).await?);
            }
            OwnChange::CreateLoadBalancer { load_balancer, addresses, tags } => {
                let Balancer { name, internal } = load_balancer.clone();
                let addresses = address_ids(own, addresses)?;
                let tags = tags.clone();
                let mut wanted =
                    CreateLoadBalancer { name, internal, addresses, tags, client_token: None };
                let kind = PieceKind::LoadBalancer;
                wanted.client_token = Some(piece_token(&id.uid, kind, &wanted));
                now.load_balancers.push(self.provider.client.create(self.cx, &wanted).await?);
            }
            OwnChange::SetAddresses { load_balancer, addresses } => {
                let addresses = Some(address_ids(own, addresses)?);
                let update = UpdateLoadBalancer { addresses, tags: None };
                let one = balancer(own, load_balancer)?;
                put(&mut now.load_balancers, self.update(&one.id, &update).await?);
            }
            OwnChange::CreateGroup { key, health_check, tags } => {
                let GroupKey { protocol, node_port } = *key;
                let mut wanted = CreateTargetGroup {
                    health_check: health_check.clone(),
                    tags: tags.clone(),
                    ..CreateTargetGroup::named(piece_name(id), protocol, node_port)
                };
                let kind = PieceKind::TargetGroup;
                wanted.client_token = Some(piece_token(&id.uid, kind, &wanted));
                let group = self.provider.client.create(self.cx, &wanted).await?;
                if group.target_count > 0 {
                    // A repetition: it was made before, and filled.
                    return Ok(Learnt::LookAgain);
                }
                now.groups.push(Group { group, targets: Arc::default() });
            }
            OwnChange::SetHealthCheck { key, health_check } => {
                let health_check = Some(health_check.clone());
                let update = UpdateTargetGroup { health_check, tags: None };
                let one = group(own, *key)?;
                put_group(&mut now.groups, self.update(&one.group.id, &update).await?, None);
            }
            OwnChange::ChangeTargets { key, add, remove } => {
                let one = group(own, *key)?;
                let Some(changed) = self.change_targets(one, add, remove).await? else {
                    return Ok(Learnt::LookAgain);
                };
                let targets = changed_targets(&one.targets, add, remove);
                put_group(&mut now.groups, changed, Some(targets));
            }
            OwnChange::CreateListener { load_balancer, key, group: to, settings, tags } => {
                let mut wanted = CreateListener {
                    name: piece_name(id),
                    load_balancer: balancer(own, load_balancer)?.id.clone(),
                    protocol: key.protocol,
                    port: key.port,
                    target_group: group(own, *to)?.group.id.clone(),
                    settings: settings.clone(),
                    tags: tags.clone(),
                    client_token: None,
                };
                wanted.client_token = Some(piece_token(&id.uid, PieceKind::Listener, &wanted));
                now.listeners.push(self.provider.client.create(self.cx, &wanted).await?);
            }
            OwnChange::SetListener { load_balancer, key, group: to, settings } => {
                let one = listener(own, load_balancer, *key)?;
                let update = UpdateListener {
                    target_group: Some(group(own, *to)?.group.id.clone()),
                    settings: Some(settings.clone()),
                    tags: None,
                };
                put(&mut now.listeners, self.update(&one.id, &update).await?);
            }
            OwnChange::Mark { which, tags } => self.mark(which, tags, &mut now).await?,
            OwnChange::Delete(which) | OwnChange::Replace(which) => {
                self.delete(which, &mut now).await?;
                if now.is_empty() {
                    // The last piece that we know of: a look says whether there are others.
                    return Ok(Learnt::LookAgain);
                }
            }
        }
        Ok(Learnt::Now(Observed::Own(now)))
    }

    async fn create_address(
        &self,
        id: &ObjectId,
        wish: &AddressWish,
        tags: &Tags,
    ) -> Result<Address, CloudError> {
        let mut wanted = CreateAddress {
            address: wish.address,
            tags: tags.clone(),
            ..CreateAddress::named(piece_name(id), wish.family)
        };
        wanted.client_token = Some(piece_token(&id.uid, PieceKind::Address, &wanted));
        let made = self.provider.client.create(self.cx, &wanted).await;
        made.map_err(|err| match wish.address {
            // The cloud's only reason: somebody has it. To look again would not help.
            Some(address) if err.kind() == Kind::Conflict => {
                let message = format!(
                    "the requested address {address} is taken: request another, or none for any"
                );
                CloudError::new(Kind::InvalidConfiguration, message).with_source(err)
            }
            Some(_) | None => err,
        })
    }

    /// Adds and removes targets. `None` where only some could be added: the instances of the
    /// others are gone, of which we have not heard yet. [`Kind::NotFound`] where all are.
    async fn change_targets(
        &self,
        group: &Group,
        add: &[InstanceId],
        remove: &[InstanceId],
    ) -> Result<Option<TargetGroup>, CloudError> {
        let id = &group.group.id;
        let change = ChangeTargets { add: add.to_vec(), remove: remove.to_vec() };
        let err = match self.provider.client.change_targets(self.cx, id, &change).await {
            Ok(changed) => return Ok(Some(changed)),
            Err(err) => err,
        };
        if err.kind() != Kind::Conflict || add.is_empty() {
            return Err(err);
        }
        let ask = DescribeInstances { ids: add.to_vec(), names: Vec::new() };
        let records = self.provider.client.describe_instances(self.cx, &ask).await?;
        let alive: Vec<_> = records
            .into_iter()
            .filter_map(|record| record.instance.ok())
            .filter(|instance| instance.state != RunState::Terminated)
            .map(|instance| instance.id)
            .collect();
        if alive.len() == add.len() {
            return Err(err);
        }
        if alive.is_empty() && remove.is_empty() {
            let message = format!("{} instances that were to be targets are gone", add.len());
            return Err(CloudError::new(Kind::NotFound, message).with_source(err));
        }
        let change = ChangeTargets { add: alive, remove: remove.to_vec() };
        self.provider.client.change_targets(self.cx, id, &change).await?;
        Ok(None)
    }

    async fn mark(&self, which: &Which, tags: &Tags, now: &mut Own) -> Result<(), CloudError> {
        let tags = Some(tags.clone());
        match which.kind {
            PieceKind::Address => {
                let id = which.id.as_str().into();
                let update = UpdateAddress { tags };
                put(&mut now.addresses, self.update(&id, &update).await?);
            }
            PieceKind::LoadBalancer => {
                let id = which.id.as_str().into();
                let update = UpdateLoadBalancer { addresses: None, tags };
                put(&mut now.load_balancers, self.update(&id, &update).await?);
            }
            PieceKind::TargetGroup => {
                let id = which.id.as_str().into();
                let update = UpdateTargetGroup { health_check: None, tags };
                put_group(&mut now.groups, self.update(&id, &update).await?, None);
            }
            PieceKind::Listener => {
                let id = which.id.as_str().into();
                let update = UpdateListener { target_group: None, settings: None, tags };
                put(&mut now.listeners, self.update(&id, &update).await?);
            }
            PieceKind::Firewall | PieceKind::Route | PieceKind::Volume => return Err(not_own()),
        }
        Ok(())
    }

    async fn delete(&self, which: &Which, now: &mut Own) -> Result<(), CloudError> {
        let id = which.id.as_str();
        match which.kind {
            PieceKind::Address => take(&mut now.addresses, self.go(&id.into()).await?, id),
            PieceKind::LoadBalancer => {
                take(&mut now.load_balancers, self.go(&id.into()).await?, id);
            }
            PieceKind::TargetGroup => match self.go(&id.into()).await? {
                None => now.groups.retain(|it| it.group.id.as_str() != id),
                Some(dying) => put_group(&mut now.groups, dying, None),
            },
            PieceKind::Listener => take(&mut now.listeners, self.go(&id.into()).await?, id),
            PieceKind::Firewall | PieceKind::Route | PieceKind::Volume => return Err(not_own()),
        }
        Ok(())
    }

    /// Deletes a piece. `None` once it is gone, and the piece while it is on its way out.
    async fn go<P: Going>(&self, id: &P::Id) -> Result<Option<P>, CloudError>
    where
        P::Id: Sync,
    {
        let client = &self.provider.client;
        let Some(mut dying) = client.delete::<P>(self.cx, id).await? else { return Ok(None) };
        // The answer is the same whether that takes time or not, and what uses the piece has to
        // wait only where it does. A look may still show the past: that it goes is certain.
        if client.piece::<P>(self.cx, id).await?.is_none() {
            return Ok(None);
        }
        dying.leave();
        Ok(Some(dying))
    }

    async fn update<P: Piece>(&self, id: &P::Id, update: &P::Update) -> Result<P, CloudError>
    where
        P::Id: Sync,
        P::Update: Sync,
    {
        self.provider.client.update(self.cx, id, update).await
    }

    async fn firewall(
        &self,
        change: &FirewallChange,
        wall: Option<&Wall>,
    ) -> Result<Learnt<Observed>, CloudError> {
        let client = &self.provider.client;
        let there = || wall.ok_or_else(|| vanished("the firewall"));
        let now = match change {
            FirewallChange::Create => {
                let cluster = self.provider.marks.cluster();
                let mut wanted = CreateFirewall {
                    name: FIREWALL_NAME.to_owned(),
                    tags: cluster,
                    client_token: None,
                };
                wanted.client_token = Some(token("cluster", "firewall", &wanted));
                let firewall = client.create(self.cx, &wanted).await?;
                if firewall.rule_count > 0 {
                    return Ok(Learnt::LookAgain);
                }
                Some(Wall { firewall, rules: Vec::new() })
            }
            FirewallChange::Delete { id } => {
                let id = FirewallId::from(id.as_str());
                let dying = self.go::<Firewall>(&id).await?;
                dying.map(|firewall| Wall { firewall, rules: Vec::new() })
            }
            FirewallChange::Open { service, rule } => {
                let wall = there()?;
                let mut wanted = AddRule { spec: rule.clone(), client_token: None };
                wanted.client_token = Some(token(service.uid.as_str(), "rule", &wanted));
                let mut made = client.add_rule(self.cx, &wall.firewall.id, &wanted).await?;
                if made.spec != *rule {
                    // The one that the token made before, and somebody has changed since. What
                    // has no token is refused where it is there already: looked at again, it is.
                    wanted.client_token = None;
                    made = client.add_rule(self.cx, &wall.firewall.id, &wanted).await?;
                }
                let mut now = wall.clone();
                now.rules.push(made);
                Some(now)
            }
            FirewallChange::Close { rule, .. } => {
                let wall = there()?;
                if let Some(found) = find_rule(wall, rule) {
                    client.remove_rule(self.cx, &wall.firewall.id, &found).await?;
                }
                let mut now = wall.clone();
                now.rules.retain(|it| it.spec != *rule);
                Some(now)
            }
        };
        Ok(Learnt::Now(Observed::Firewall(now)))
    }
}

fn find_rule(wall: &Wall, rule: &RuleSpec) -> Option<RuleId> {
    wall.rules.iter().find(|it| it.spec == *rule).map(|it| it.id.clone())
}

fn not_own() -> CloudError {
    CloudError::new(Kind::Internal, "that is no Service's own")
}

fn balancer<'a>(own: &'a Own, wish: &Balancer) -> Result<&'a LoadBalancer, CloudError> {
    own.balancer(wish).ok_or_else(|| vanished(format_args!("load balancer {}", wish.name)))
}

fn group(own: &Own, key: GroupKey) -> Result<&Group, CloudError> {
    own.group(key).ok_or_else(|| vanished(format_args!("target group {key}")))
}

fn listener<'a>(own: &'a Own, of: &Balancer, key: PortKey) -> Result<&'a Listener, CloudError> {
    let found = own.listener(balancer(own, of)?, key);
    found.ok_or_else(|| vanished(format_args!("listener {key}")))
}

fn address_ids(own: &Own, wishes: &[AddressWish]) -> Result<Vec<AddressId>, CloudError> {
    let id = |wish: &AddressWish| match own.address(wish) {
        Some(address) => Ok(address.id.clone()),
        None => Err(vanished(wish)),
    };
    wishes.iter().map(id).collect()
}

/// A piece whose end can be written down before the cloud shows it.
trait Going: Piece {
    /// Marks it as on its way out.
    fn leave(&mut self);
}

macro_rules! going {
    ($($kind:ident),+) => {$(
        impl Going for $kind {
            fn leave(&mut self) {
                self.state = PieceState::Deleting;
            }
        }
    )+};
}
going!(Address, TargetGroup, LoadBalancer, Listener, Firewall);

/// Puts a piece in the place of its earlier form.
fn put<P: Piece<Id: PartialEq>>(all: &mut [P], changed: P) {
    if let Some(one) = all.iter_mut().find(|one| one.id() == changed.id()) {
        *one = changed;
    }
}

/// Takes out what is gone, or writes down that it goes.
fn take<P: Piece<Id: PartialEq>>(all: &mut Vec<P>, dying: Option<P>, id: &str) {
    match dying {
        None => all.retain(|one| one.id().to_string() != id),
        Some(dying) => put(all, dying),
    }
}

/// The same for target groups. Without a word on the targets they are as before.
fn put_group(all: &mut [Group], changed: TargetGroup, targets: Option<Arc<[InstanceId]>>) {
    if let Some(one) = all.iter_mut().find(|one| one.group.id == changed.id) {
        one.group = changed;
        if let Some(targets) = targets {
            one.targets = targets;
        }
    }
}

/// Targets after a change. All lists are sorted.
fn changed_targets(
    before: &[InstanceId],
    add: &[InstanceId],
    remove: &[InstanceId],
) -> Arc<[InstanceId]> {
    let stays = before.iter().filter(|it| remove.binary_search(it).is_err());
    let mut after: Vec<_> = stays.chain(add).cloned().collect();
    after.sort_unstable();
    after.dedup();
    after.into()
}
