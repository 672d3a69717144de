//! Load balancers, and which addresses they use.

use serde::{Deserialize, Serialize};

use super::addresses::Use;
use super::table::{Asked, Body, New, Piece, id_of};
use super::{Cx, ListAsk, Listed, Made, Pieces, Refusal, check_new, check_new_tags};
use crate::api::{
    AddressId, CreateLoadBalancer, LoadBalancer, LoadBalancerId, PieceKind, PieceState, Timestamp,
    UpdateLoadBalancer,
};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LoadBalancerBody {
    pub(super) internal: bool,
    /// Numbers of its addresses.
    pub(super) addresses: Vec<u64>,
}

impl Body for LoadBalancerBody {
    const KIND: PieceKind = PieceKind::LoadBalancer;
    type Shown = LoadBalancer;

    fn show(piece: &Piece<Self>, number: u64, time: Timestamp) -> LoadBalancer {
        let state = piece.state(time);
        let address = |number: &u64| AddressId::new(id_of(PieceKind::Address, *number));
        LoadBalancer {
            id: LoadBalancerId::new(id_of(Self::KIND, number)),
            name: piece.name.clone(),
            tags: piece.tags.clone(),
            state,
            failure: piece.failure.clone().filter(|_| state == PieceState::Failed),
            internal: piece.body.internal,
            addresses: piece.body.addresses.iter().map(address).collect(),
            created_at: piece.created_at,
        }
    }
}

impl Pieces {
    pub(crate) fn load_balancer(&self, cx: &Cx<'_>, id: &str) -> Result<LoadBalancer, Refusal> {
        self.load_balancers.get(cx, id)
    }

    pub(crate) fn list_load_balancers(
        &self,
        cx: &Cx<'_>,
        ask: &ListAsk<'_>,
    ) -> Listed<LoadBalancer> {
        self.load_balancers.list(cx, ask, |_| true)
    }

    pub(crate) fn create_load_balancer(
        &mut self,
        cx: &Cx<'_>,
        wanted: CreateLoadBalancer,
    ) -> Result<Made<LoadBalancer>, Refusal> {
        check_new(&wanted.name, &wanted.tags, wanted.client_token.as_ref())?;
        let asked = Asked::new(wanted.client_token.as_ref(), &wanted);
        if let Some(number) = self.load_balancers.repeated(cx, asked.as_ref())? {
            return Ok(Made { piece: self.load_balancers.shown(cx, number), is_new: false });
        }
        let mut others = self.load_balancers.present(cx.now());
        if let Some((other, _)) = others.find(|(_, piece)| piece.name == wanted.name) {
            let other = id_of(PieceKind::LoadBalancer, other);
            let why = format!("name: load balancer {other} has the name {:?}", wanted.name);
            return Err(Refusal::Conflict(why));
        }
        drop(others);
        let addresses = self.check_addresses(cx, &wanted.addresses, None)?;
        let body = LoadBalancerBody { internal: wanted.internal, addresses: addresses.clone() };
        let new = New { name: wanted.name, tags: wanted.tags, asked, body };
        let number = self.load_balancers.insert(cx, new)?;
        self.use_addresses(cx, &addresses, Some(Use { load_balancer: number, until: None }));
        self.changes += 1;
        Ok(Made { piece: self.load_balancers.shown(cx, number), is_new: true })
    }

    pub(crate) fn update_load_balancer(
        &mut self,
        cx: &Cx<'_>,
        id: &str,
        update: UpdateLoadBalancer,
    ) -> Result<LoadBalancer, Refusal> {
        check_new_tags(update.tags.as_ref())?;
        let (number, piece) = self.load_balancers.changeable(cx, id)?;
        let before = piece.body.addresses.clone();
        let after = match &update.addresses {
            Some(addresses) => self.check_addresses(cx, addresses, Some(number))?,
            None => before.clone(),
        };
        let freed: Vec<_> = before.into_iter().filter(|one| !after.contains(one)).collect();
        self.use_addresses(cx, &freed, None);
        self.use_addresses(cx, &after, Some(Use { load_balancer: number, until: None }));
        let differs = self.load_balancers.change(cx, number, |piece| {
            piece.body.addresses = after;
            if let Some(tags) = update.tags {
                piece.tags = tags;
            }
        });
        self.changes += u64::from(differs);
        Ok(self.load_balancers.shown(cx, number))
    }

    pub(crate) fn delete_load_balancer(
        &mut self,
        cx: &Cx<'_>,
        id: &str,
    ) -> Result<LoadBalancer, Refusal> {
        let (number, piece) = self.load_balancers.existing(cx, id)?;
        let addresses = piece.body.addresses.clone();
        if let Some(user) = self.listener_of(cx, |listener| listener.load_balancer == number) {
            return Err(Refusal::Conflict(format!("load balancer {id} has listener {user}")));
        }
        if self.load_balancers.delete(cx, number) {
            let until = Some(cx.gone_at(PieceKind::LoadBalancer));
            self.use_addresses(cx, &addresses, Some(Use { load_balancer: number, until }));
            self.changes += 1;
        }
        Ok(self.load_balancers.shown(cx, number))
    }

    /// Numbers of addresses that are there and that nobody else uses, at most one of a family.
    fn check_addresses(
        &self,
        cx: &Cx<'_>,
        wanted: &[AddressId],
        user: Option<u64>,
    ) -> Result<Vec<u64>, Refusal> {
        let mut families = Vec::new();
        let mut numbers = Vec::new();
        for (index, id) in wanted.iter().enumerate() {
            let field = format!("addresses[{index}]");
            let (number, piece) = self.addresses.referred(cx, &field, id.as_str())?;
            let family = piece.body.family();
            if families.contains(&family) {
                let why = format!("is the second of the family {family}; at most one is allowed");
                return Err(Refusal::invalid(field, why));
            }
            if let Some(other) = piece.body.user(cx.now()).filter(|other| Some(*other) != user) {
                let other = id_of(PieceKind::LoadBalancer, other);
                let why = format!("{field}: address {id} is used by load balancer {other}");
                return Err(Refusal::Conflict(why));
            }
            families.push(family);
            numbers.push(number);
        }
        Ok(numbers)
    }

    /// Says of addresses who uses them from now on.
    pub(super) fn use_addresses(&mut self, cx: &Cx<'_>, addresses: &[u64], used: Option<Use>) {
        for number in addresses {
            self.addresses.change(cx, *number, |piece| piece.body.used = used);
        }
    }
}
