//! All pieces in lines, to compare two ends.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::table::{Body, Piece, Table};
use super::{Cx, Pieces, has_tags};
use crate::api::{OWNER_TAG, PieceState, Snapshot, TargetState, Timestamp};
use crate::state::{Fleet, instances};

type Tags = BTreeMap<String, String>;

impl Pieces {
    /// What has these tags now, whatever readers see.
    pub(crate) fn lines(&self, cx: &Cx<'_>, fleet: &Fleet, tags: &Tags) -> Snapshot {
        let now = cx.now();
        let mut pieces = Vec::new();
        write_lines(&self.addresses, now, tags, &mut pieces, |body| {
            let mut line = body.family().to_string();
            if body.requested {
                let _ = write!(line, " {}", body.address);
            }
            if let Some(user) = body.user(now) {
                let _ = write!(line, " of {}", self.load_balancers.name_of(now, user));
            }
            line
        });
        write_lines(&self.target_groups, now, tags, &mut pieces, |body| {
            let (check, path) = (&body.health_check, body.health_check.path.as_deref());
            format!(
                "{}/{} health {}:{}{} targets [{}]",
                body.protocol,
                body.node_port,
                check.protocol,
                check.port,
                path.unwrap_or_default(),
                targets(fleet, body.targets(now)),
            )
        });
        write_lines(&self.load_balancers, now, tags, &mut pieces, |body| {
            let addresses = body.addresses.iter().map(|one| self.addresses.name_of(now, *one));
            let addresses: Vec<_> = addresses.collect();
            let reach = if body.internal { "internal" } else { "external" };
            format!("{reach} addresses [{}]", addresses.join(", "))
        });
        write_lines(&self.listeners, now, tags, &mut pieces, |body| {
            let (settings, affinity) = (&body.settings, body.settings.client_affinity_s);
            format!(
                "{}/{} of {} to {} proxy_protocol={} idle_timeout={}s affinity={}",
                body.protocol,
                body.port,
                self.load_balancers.name_of(now, body.load_balancer),
                self.target_groups.name_of(now, body.target_group),
                settings.proxy_protocol,
                settings.idle_timeout_s,
                affinity.map_or_else(|| "none".to_owned(), |time| format!("{time}s")),
            )
        });
        write_lines(&self.firewalls, now, tags, &mut pieces, |_| String::new());
        self.write_rules(now, tags, &mut pieces);
        write_lines(&self.routes, now, tags, &mut pieces, |body| {
            let id = instances::id_of(body.target);
            let target = fleet.name_of(&id).unwrap_or(id.as_str());
            let end = if fleet.is_gone(now, &id) { " blackhole" } else { "" };
            format!("{} {} to {target:?}{end}", body.table, body.destination)
        });
        write_lines(&self.volumes, now, tags, &mut pieces, |body| {
            format!("{}GB in {} [{}]", body.size_gb, body.region, body.zones.join(", "))
        });
        pieces.sort_unstable();
        Snapshot { pieces }
    }

    fn write_rules(&self, now: Timestamp, tags: &Tags, lines: &mut Vec<String>) {
        for (_, firewall) in self.firewalls.present(now) {
            for rule in firewall.body.rules.values() {
                let spec = &rule.spec;
                let mut own = firewall.tags.clone();
                own.insert(OWNER_TAG.to_owned(), spec.owner.clone());
                if !has_tags(&own, tags) {
                    continue;
                }
                let ports: Vec<_> = spec.node_ports.iter().map(ToString::to_string).collect();
                lines.push(format!(
                    "rule of {:?} owner={} {} {}/{} to {}",
                    firewall.name,
                    spec.owner,
                    spec.source,
                    spec.protocol,
                    spec.port,
                    ports.join(","),
                ));
            }
        }
    }
}

/// One line for each piece that has the tags: kind, name, what makes it different, state, tags.
fn write_lines<B: Body>(
    table: &Table<B>,
    now: Timestamp,
    tags: &Tags,
    lines: &mut Vec<String>,
    describe: impl Fn(&B) -> String,
) {
    for (_, piece) in table.present(now).filter(|(_, piece)| has_tags(&piece.tags, tags)) {
        let mut line = format!("{} {:?} {}", B::KIND, piece.name, describe(&piece.body));
        line.truncate(line.trim_end().len());
        let state = piece.state(now);
        if state != PieceState::Active {
            let _ = write!(line, " {state}");
        }
        for (key, value) in &piece.tags {
            let _ = write!(line, " {key}={value}");
        }
        lines.push(line);
    }
}

/// Names of the targets, sorted, with the state of those that are on their way.
fn targets(fleet: &Fleet, targets: impl Iterator<Item = (u64, TargetState)>) -> String {
    let mut words: Vec<_> = targets
        .map(|(number, state)| {
            let id = instances::id_of(number);
            let mut word = fleet.name_of(&id).unwrap_or(id.as_str()).to_owned();
            if state != TargetState::Registered {
                let _ = write!(word, " {}", state.as_str());
            }
            word
        })
        .collect();
    words.sort_unstable();
    words.join(", ")
}

impl<B: Body> Table<B> {
    /// The name of a piece that another refers to, in quotes.
    fn name_of(&self, now: Timestamp, number: u64) -> String {
        let piece: Option<&Piece<B>> = self.by_number(now, number);
        piece.map_or_else(|| "nothing".to_owned(), |piece| format!("{:?}", piece.name))
    }
}
