//! Addresses.

use std::collections::HashSet;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::table::{Asked, Body, New, Piece, id_of};
use super::{Cx, ListAsk, Listed, Made, Pieces, Refusal, check_new, check_new_tags, pool};
use crate::api::{
    Address, AddressId, CreateAddress, IpFamily, LoadBalancerId, PieceKind, Quota, Timestamp,
    UpdateAddress,
};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AddressBody {
    pub(super) address: IpAddr,
    pub(super) requested: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) used: Option<Use>,
}

/// Who uses an address.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Use {
    /// Number of the load balancer.
    pub(super) load_balancer: u64,
    /// When that is gone, if it is on its way out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) until: Option<Timestamp>,
}

impl AddressBody {
    /// Number of the load balancer that uses it at a time.
    pub(super) fn user(&self, time: Timestamp) -> Option<u64> {
        let used = self.used.filter(|used| used.until.is_none_or(|until| time < until))?;
        Some(used.load_balancer)
    }

    pub(super) const fn family(&self) -> IpFamily {
        IpFamily::of(self.address)
    }
}

impl Body for AddressBody {
    const KIND: PieceKind = PieceKind::Address;
    type Shown = Address;

    fn show(piece: &Piece<Self>, number: u64, time: Timestamp) -> Address {
        let user = piece.body.user(time);
        Address {
            id: AddressId::new(id_of(Self::KIND, number)),
            name: piece.name.clone(),
            tags: piece.tags.clone(),
            state: piece.state(time),
            family: piece.body.family(),
            address: piece.body.address,
            requested: piece.body.requested,
            load_balancer: user
                .map(|number| LoadBalancerId::new(id_of(PieceKind::LoadBalancer, number))),
            created_at: piece.created_at,
        }
    }
}

impl Pieces {
    pub(crate) fn address(&self, cx: &Cx<'_>, id: &str) -> Result<Address, Refusal> {
        self.addresses.get(cx, id)
    }

    pub(crate) fn list_addresses(&self, cx: &Cx<'_>, ask: &ListAsk<'_>) -> Listed<Address> {
        self.addresses.list(cx, ask, |_| true)
    }

    pub(crate) fn create_address(
        &mut self,
        cx: &Cx<'_>,
        wanted: CreateAddress,
    ) -> Result<Made<Address>, Refusal> {
        check_new(&wanted.name, &wanted.tags, wanted.client_token.as_ref())?;
        let asked = Asked::new(wanted.client_token.as_ref(), &wanted);
        if let Some(number) = self.addresses.repeated(cx, asked.as_ref())? {
            return Ok(Made { piece: self.addresses.shown(cx, number), is_new: false });
        }
        self.addresses.check_quota(cx)?;
        let taken: HashSet<_> =
            self.addresses.present(cx.now()).map(|(_, piece)| piece.body.address).collect();
        let address = self.pick(&wanted, |address| taken.contains(&address))?;
        let body = AddressBody { address, requested: wanted.address.is_some(), used: None };
        let new = New { name: wanted.name, tags: wanted.tags, asked, body };
        let number = self.addresses.insert(cx, new)?;
        self.changes += 1;
        Ok(Made { piece: self.addresses.shown(cx, number), is_new: true })
    }

    /// The address that was asked for, or the next one.
    fn pick(
        &mut self,
        wanted: &CreateAddress,
        is_taken: impl Fn(IpAddr) -> bool,
    ) -> Result<IpAddr, Refusal> {
        let Some(address) = wanted.address else {
            let limit = pool::count(wanted.family);
            let next = self.pool.take(wanted.family, is_taken);
            return next.ok_or(Refusal::QuotaExceeded { quota: Quota::Addresses.as_str(), limit });
        };
        check_requested(address, wanted.family)?;
        if is_taken(address) {
            return Err(Refusal::Conflict(format!("address: {address} is taken")));
        }
        Ok(address)
    }

    pub(crate) fn update_address(
        &mut self,
        cx: &Cx<'_>,
        id: &str,
        update: UpdateAddress,
    ) -> Result<Address, Refusal> {
        check_new_tags(update.tags.as_ref())?;
        let (number, _) = self.addresses.changeable(cx, id)?;
        let differs = self.addresses.change(cx, number, |piece| {
            if let Some(tags) = update.tags {
                piece.tags = tags;
            }
        });
        self.changes += u64::from(differs);
        Ok(self.addresses.shown(cx, number))
    }

    pub(crate) fn delete_address(&mut self, cx: &Cx<'_>, id: &str) -> Result<Address, Refusal> {
        let (number, piece) = self.addresses.existing(cx, id)?;
        if let Some(user) = piece.body.user(cx.now()) {
            let user = id_of(PieceKind::LoadBalancer, user);
            return Err(Refusal::Conflict(format!("address {id} is used by load balancer {user}")));
        }
        let begins = self.addresses.delete(cx, number);
        self.changes += u64::from(begins);
        Ok(self.addresses.shown(cx, number))
    }
}

fn check_requested(address: IpAddr, family: IpFamily) -> Result<(), Refusal> {
    if IpFamily::of(address) != family {
        return Err(Refusal::invalid("address", format!("{address} is not {family}")));
    }
    if !pool::contains(address) {
        let why = format!("{address} is in no range that the cloud has");
        return Err(Refusal::invalid("address", why));
    }
    Ok(())
}
