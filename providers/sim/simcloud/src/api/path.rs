//! Paths of the API, relative to the cloud's address.
//!
//! IDs and names go in as they are: whoever has one that the cloud did not give must see to it that
//! it is one segment of a path.

use std::fmt::Display;

use super::PieceKind;

/// `GET` lists, `POST` creates.
pub const INSTANCES: &str = "/v1/instances";
/// `POST`: many instances by ID or name in one call.
pub const DESCRIBE_INSTANCES: &str = "/v1/instances:describe";
/// `POST`: many new instances in one call.
pub const BATCH_CREATE_INSTANCES: &str = "/v1/instances:batchCreate";
/// `GET` lists, `POST` creates.
pub const ADDRESSES: &str = "/v1/addresses";
/// `GET` lists, `POST` creates.
pub const TARGET_GROUPS: &str = "/v1/target-groups";
/// `GET` lists, `POST` creates.
pub const LOAD_BALANCERS: &str = "/v1/load-balancers";
/// `GET` lists, `POST` creates.
pub const LISTENERS: &str = "/v1/listeners";
/// `GET` lists, `POST` creates.
pub const FIREWALLS: &str = "/v1/firewalls";
/// `GET` lists, `POST` creates.
pub const ROUTES: &str = "/v1/routes";
/// `POST`: many routes by owner or destination in one call.
pub const DESCRIBE_ROUTES: &str = "/v1/routes:describe";
/// `POST`: many new routes in one call.
pub const BATCH_CREATE_ROUTES: &str = "/v1/routes:batchCreate";
/// `GET` lists, `POST` creates.
pub const VOLUMES: &str = "/v1/volumes";
/// `POST`: many volumes by ID in one call.
pub const DESCRIBE_VOLUMES: &str = "/v1/volumes:describe";
/// `GET` lists, `POST` adds, `DELETE` removes all.
pub const FAULTS: &str = "/control/faults";
/// `GET` counts, `DELETE` forgets.
pub const CALLS: &str = "/control/calls";
/// `GET`: the calls one by one.
pub const CALL_LOG: &str = "/control/calls/log";
/// `GET` shows, `PATCH` changes.
pub const SETTINGS: &str = "/control/settings";
/// `GET` lists, `POST` adds.
pub const TOKENS: &str = "/control/tokens";
/// `GET`: every piece, in lines.
pub const SNAPSHOT: &str = "/control/snapshot";
/// `GET`, without a token: the process serves.
pub const HEALTH: &str = "/healthz";

/// `GET` shows, `PATCH` changes.
pub fn instance(id: impl Display) -> String {
    format!("{INSTANCES}/{id}")
}

/// `POST`.
pub fn start_instance(id: impl Display) -> String {
    format!("{INSTANCES}/{id}/start")
}

/// `POST`.
pub fn stop_instance(id: impl Display) -> String {
    format!("{INSTANCES}/{id}/stop")
}

/// `POST`.
pub fn replace_instance(id: impl Display) -> String {
    format!("{INSTANCES}/{id}/replace")
}

/// `POST`.
pub fn terminate_instance(id: impl Display) -> String {
    format!("{INSTANCES}/{id}/terminate")
}

/// `GET` lists, `POST` creates pieces of this kind.
pub const fn pieces(kind: PieceKind) -> &'static str {
    match kind {
        PieceKind::Address => ADDRESSES,
        PieceKind::TargetGroup => TARGET_GROUPS,
        PieceKind::LoadBalancer => LOAD_BALANCERS,
        PieceKind::Listener => LISTENERS,
        PieceKind::Firewall => FIREWALLS,
        PieceKind::Route => ROUTES,
        PieceKind::Volume => VOLUMES,
    }
}

/// `GET` shows, `PATCH` changes, `DELETE` deletes a piece of this kind.
pub fn piece(kind: PieceKind, id: impl Display) -> String {
    format!("{}/{id}", pieces(kind))
}

/// `GET` lists, `POST` adds and removes targets of a target group.
pub fn targets(target_group: impl Display) -> String {
    format!("{TARGET_GROUPS}/{target_group}/targets")
}

/// `GET` lists, `POST` adds one, `PUT` replaces all rules of a firewall.
pub fn rules(firewall: impl Display) -> String {
    format!("{FIREWALLS}/{firewall}/rules")
}

/// `DELETE` removes a rule.
pub fn rule(firewall: impl Display, rule: impl Display) -> String {
    format!("{FIREWALLS}/{firewall}/rules/{rule}")
}

/// `DELETE`: removes a piece or a rule by the operator's hand.
pub fn forced_piece(id: impl Display) -> String {
    format!("/control/pieces/{id}")
}

/// `PATCH`: changes a rule by the operator's hand.
pub fn forced_rule(id: impl Display) -> String {
    format!("/control/rules/{id}")
}

/// `PATCH`: changes a route by the operator's hand.
pub fn forced_route(id: impl Display) -> String {
    format!("/control/routes/{id}")
}

/// `PUT`: puts a load balancer into another state by the operator's hand.
pub fn forced_state(load_balancer: impl Display) -> String {
    format!("/control/load-balancers/{load_balancer}/state")
}

/// `GET` shows, `DELETE` removes.
pub fn fault(id: impl Display) -> String {
    format!("{FAULTS}/{id}")
}

/// `POST`.
pub fn revoke_token(name: impl Display) -> String {
    format!("{TOKENS}/{name}/revoke")
}

/// `POST`.
pub fn restore_token(name: impl Display) -> String {
    format!("{TOKENS}/{name}/restore")
}
