//! Listeners.

use std::num::NonZeroU16;

use serde::{Deserialize, Serialize};

use super::load_balancers::LoadBalancerBody;
use super::table::{Asked, Body, New, Piece, Table, id_of};
use super::{Cx, ListAsk, Listed, Made, Pieces, Refusal, check_new, check_new_tags};
use crate::api::{
    CreateListener, Listener, ListenerId, ListenerSettings, LoadBalancerId, PieceKind, Protocol,
    TargetGroupId, Timestamp, UpdateListener,
};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ListenerBody {
    /// Number of the load balancer.
    pub(super) load_balancer: u64,
    pub(super) protocol: Protocol,
    pub(super) port: NonZeroU16,
    /// Number of the target group.
    pub(super) target_group: u64,
    pub(super) settings: ListenerSettings,
}

impl Body for ListenerBody {
    const KIND: PieceKind = PieceKind::Listener;
    type Shown = Listener;

    fn show(piece: &Piece<Self>, number: u64, time: Timestamp) -> Listener {
        let body = &piece.body;
        Listener {
            id: ListenerId::new(id_of(Self::KIND, number)),
            name: piece.name.clone(),
            tags: piece.tags.clone(),
            state: piece.state(time),
            load_balancer: LoadBalancerId::new(id_of(PieceKind::LoadBalancer, body.load_balancer)),
            protocol: body.protocol,
            port: body.port,
            target_group: TargetGroupId::new(id_of(PieceKind::TargetGroup, body.target_group)),
            settings: body.settings.clone(),
            created_at: piece.created_at,
        }
    }
}

impl Pieces {
    pub(crate) fn listener(&self, cx: &Cx<'_>, id: &str) -> Result<Listener, Refusal> {
        self.listeners.get(cx, id)
    }

    /// A page of the listeners, all or those of a load balancer.
    pub(crate) fn list_listeners(
        &self,
        cx: &Cx<'_>,
        ask: &ListAsk<'_>,
        load_balancer: Option<&LoadBalancerId>,
    ) -> Listed<Listener> {
        let of = load_balancer.map(|id| Table::<LoadBalancerBody>::number_of(id.as_str()));
        self.listeners.list(cx, ask, |body| of.is_none_or(|of| of == Some(body.load_balancer)))
    }

    pub(crate) fn create_listener(
        &mut self,
        cx: &Cx<'_>,
        wanted: CreateListener,
    ) -> Result<Made<Listener>, Refusal> {
        check_new(&wanted.name, &wanted.tags, wanted.client_token.as_ref())?;
        check_settings(&wanted.settings, wanted.protocol)?;
        let asked = Asked::new(wanted.client_token.as_ref(), &wanted);
        if let Some(number) = self.listeners.repeated(cx, asked.as_ref())? {
            return Ok(Made { piece: self.listeners.shown(cx, number), is_new: false });
        }
        let id = wanted.load_balancer.as_str();
        let (load_balancer, _) = self.load_balancers.referred(cx, "load_balancer", id)?;
        let target_group = self.check_target_group(cx, &wanted.target_group, wanted.protocol)?;
        let (protocol, port) = (wanted.protocol, wanted.port);
        let is_same = |other: &ListenerBody| {
            (other.load_balancer, other.protocol, other.port) == (load_balancer, protocol, port)
        };
        if let Some(other) = self.listener_of(cx, is_same) {
            let why = format!("port: listener {other} has {protocol} port {port}");
            return Err(Refusal::Conflict(why));
        }
        let settings = wanted.settings;
        let body = ListenerBody { load_balancer, protocol, port, target_group, settings };
        let new = New { name: wanted.name, tags: wanted.tags, asked, body };
        let number = self.listeners.insert(cx, new)?;
        self.changes += 1;
        Ok(Made { piece: self.listeners.shown(cx, number), is_new: true })
    }

    pub(crate) fn update_listener(
        &mut self,
        cx: &Cx<'_>,
        id: &str,
        update: UpdateListener,
    ) -> Result<Listener, Refusal> {
        check_new_tags(update.tags.as_ref())?;
        let (number, piece) = self.listeners.changeable(cx, id)?;
        let protocol = piece.body.protocol;
        if let Some(settings) = &update.settings {
            check_settings(settings, protocol)?;
        }
        let target_group = match &update.target_group {
            Some(id) => Some(self.check_target_group(cx, id, protocol)?),
            None => None,
        };
        let differs = self.listeners.change(cx, number, |piece| {
            if let Some(tags) = update.tags {
                piece.tags = tags;
            }
            if let Some(settings) = update.settings {
                piece.body.settings = settings;
            }
            if let Some(target_group) = target_group {
                piece.body.target_group = target_group;
            }
        });
        self.changes += u64::from(differs);
        Ok(self.listeners.shown(cx, number))
    }

    pub(crate) fn delete_listener(&mut self, cx: &Cx<'_>, id: &str) -> Result<Listener, Refusal> {
        let (number, _) = self.listeners.existing(cx, id)?;
        let begins = self.listeners.delete(cx, number);
        self.changes += u64::from(begins);
        Ok(self.listeners.shown(cx, number))
    }

    /// The ID of a listener like this that is there, be it on its way out.
    pub(super) fn listener_of(
        &self,
        cx: &Cx<'_>,
        fits: impl Fn(&ListenerBody) -> bool,
    ) -> Option<String> {
        let mut found = self.listeners.present(cx.now());
        let (number, _) = found.find(|(_, piece)| fits(&piece.body))?;
        Some(id_of(PieceKind::Listener, number))
    }

    fn check_target_group(
        &self,
        cx: &Cx<'_>,
        id: &TargetGroupId,
        protocol: Protocol,
    ) -> Result<u64, Refusal> {
        let (number, piece) = self.target_groups.referred(cx, "target_group", id.as_str())?;
        let speaks = piece.body.protocol;
        if speaks != protocol {
            let why = format!("{id} is for {speaks}, and the listener for {protocol}");
            return Err(Refusal::invalid("target_group", why));
        }
        Ok(number)
    }
}

fn check_settings(settings: &ListenerSettings, protocol: Protocol) -> Result<(), Refusal> {
    if settings.proxy_protocol && protocol != Protocol::Tcp {
        let why = format!("is for tcp only, and the listener is for {protocol}");
        return Err(Refusal::invalid("settings.proxy_protocol", why));
    }
    check_seconds("settings.idle_timeout_s", settings.idle_timeout_s, 4_000)?;
    let affinity = settings.client_affinity_s;
    affinity.map_or(Ok(()), |time| check_seconds("settings.client_affinity_s", time, 86_400))
}

fn check_seconds(field: &str, value: u32, most: u32) -> Result<(), Refusal> {
    if (1..=most).contains(&value) {
        return Ok(());
    }
    Err(Refusal::invalid(field, format!("must be from 1 to {most}, not {value}")))
}
