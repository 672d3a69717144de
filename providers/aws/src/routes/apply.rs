//! Carries one change out, and says what the tables are now.

use ccm_core::cloud::{CloudError, Kind, Learnt, Write};
use ipnet::IpNet;

use super::change::RouteChange;
use super::observe::Observed;
use crate::client::ec2::routes::{Route, Target, Towards};
use crate::ground::Ground;

/// Sends the change.
pub(crate) async fn apply(
    ground: &Ground,
    cx: &Write,
    change: &RouteChange,
    observed: &Observed,
) -> Result<Learnt<Observed>, CloudError> {
    let client = &ground.client;
    match change {
        RouteChange::Delete { table, destination } => {
            client.delete_route(cx, table, *destination).await?;
        }
        RouteChange::SkipCheck(Towards::Instance(id)) => {
            client.stop_checking_instance(cx, id).await?;
        }
        RouteChange::SkipCheck(Towards::Interface(id)) => {
            client.stop_checking_interface(cx, id).await?;
        }
        RouteChange::Replace { table, destination, to, .. } => {
            if let Err(err) = client.replace_route(cx, table, *destination, to).await {
                return Err(replaced(ground, cx, table, *destination, err).await);
            }
        }
        RouteChange::Create { table, destination, to, .. } => {
            let sent = client.create_route(cx, table, *destination, to).await;
            sent.map_err(|err| no_room(table, *destination, err))?;
        }
    }
    Ok(Learnt::Now(observed.after(change)))
}

/// What AWS says where there is no route to be replaced, with a code that means other things too.
const NO_ROUTE: &str = "There is no route defined";

/// Why a route could not be replaced. AWS has several codes for "there is none", some of which mean
/// other things too. A look may still show one that is gone, so AWS' words count first.
async fn replaced(
    ground: &Ground,
    cx: &Write,
    table: &str,
    destination: IpNet,
    err: CloudError,
) -> CloudError {
    if !matches!(err.kind(), Kind::NotFound | Kind::InvalidConfiguration) {
        return err;
    }
    if !err.message().contains(NO_ROUTE) {
        let ids = [table.to_owned()];
        let there = ground.client.find_route_tables(cx, &[("route-table-id", &ids)]).await;
        let is_gone = there.is_ok_and(|tables| {
            !tables.iter().any(|table| table.routes.contains_key(&destination))
        });
        if !is_gone {
            return err;
        }
    }
    let message = format!("route {destination} is not in {table} any more");
    CloudError::new(Kind::Conflict, message).with_source(err)
}

/// Says what helps where a table is full.
fn no_room(table: &str, destination: IpNet, err: CloudError) -> CloudError {
    if err.kind() != Kind::QuotaExceeded {
        return err;
    }
    let message = format!(
        "route table {table} has no room for {destination}: AWS takes 50 routes of each family by \
         default, so raise the quota \"Routes per route table\", or use a network that needs no \
         routes"
    );
    CloudError::new(Kind::QuotaExceeded, message).with_source(err)
}

impl Observed {
    /// The same after a change.
    pub(crate) fn after(&self, change: &RouteChange) -> Self {
        let mut now = self.clone();
        match change {
            RouteChange::Delete { table, destination } => {
                if let Some(routes) = now.tables.get_mut(table) {
                    routes.remove(destination);
                }
            }
            RouteChange::SkipCheck(to) => {
                let checked = now.machines.values_mut().filter(|machine| machine.towards == *to);
                checked.for_each(|machine| machine.is_checked = false);
            }
            RouteChange::Replace { table, destination, instance, to }
            | RouteChange::Create { table, destination, instance, to } => {
                let interface = match to {
                    Towards::Instance(_) => None,
                    Towards::Interface(id) => Some(id.clone()),
                };
                let target = Target::Instance { id: instance.clone(), interface };
                let route = Route { target, is_blackhole: false };
                now.tables.entry(table.clone()).or_default().insert(*destination, route);
            }
        }
        now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_table_says_what_helps() {
        let to = "10.0.0.0/24".parse().unwrap();
        let err = no_room("rtb-1", to, CloudError::new(Kind::QuotaExceeded, "RouteLimitExceeded"));
        assert_eq!(err.kind(), Kind::QuotaExceeded);
        for word in ["rtb-1", "10.0.0.0/24", "Routes per route table"] {
            assert!(err.message().contains(word), "{err}");
        }
        let err = no_room("rtb-1", to, CloudError::new(Kind::Unavailable, "no"));
        assert_eq!(err.message(), "no");
    }
}
