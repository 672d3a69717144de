//! The plan, for people and for programs. Pure.

use std::fmt::Write;

use serde::Serialize;
use serde_json::json;

use crate::cloud::{CloudError, Effect, Owned, Uid, UnitName};
use crate::controllers::rehearsal::{Intended, Line, Sign};
use crate::controllers::route;
use crate::controllers::service::rehearse::Rehearsal;
use crate::converge::Rehearsed;

/// What would be changed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// In the cloud, by unit.
    pub cloud: Vec<Group>,
    /// In the cluster, by object.
    pub cluster: Vec<Group>,
    /// In the cloud with our mark, and of nobody here: left alone.
    pub orphans: Vec<String>,
    /// What could not be looked at.
    pub failures: Vec<Failure>,
}

/// What would be changed together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Group {
    /// Of what.
    pub name: String,
    /// The changes, in their order.
    pub changes: Vec<Change>,
    /// What comes after them and cannot be said yet.
    pub later: Vec<String>,
}

/// One change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Change {
    /// What it does.
    pub action: Action,
    /// Its line.
    pub text: String,
}

/// What a change does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// Something comes.
    Create,
    /// Something becomes different.
    Update,
    /// Something goes.
    Delete,
    /// Something goes and comes again: traffic stops for a while.
    Interrupt,
}

/// Something that could not be looked at, so that nothing can be said of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Failure {
    /// What.
    pub name: String,
    /// Why not.
    pub message: String,
}

impl Report {
    /// Adds what controllers would change in the cluster.
    pub fn in_cluster(&mut self, intended: Vec<Intended>) {
        for Intended { object, lines } in intended {
            let at = self.cluster.iter().position(|group| group.name == object);
            let at = at.unwrap_or_else(|| {
                self.cluster.push(Group::new(object));
                self.cluster.len() - 1
            });
            for line in lines {
                self.cluster[at].push(line);
            }
        }
    }

    /// Adds what the service controller would do.
    pub fn of_services(&mut self, rehearsal: Rehearsal) {
        let Rehearsal { cloud, cluster, orphans } = rehearsal;
        self.in_cloud(cloud, ToString::to_string);
        self.in_cluster(cluster);
        self.of_nobody(orphans);
    }

    /// Adds what the route controller would do.
    pub fn of_routes(&mut self, rehearsal: route::rehearse::Rehearsal) {
        let route::rehearse::Rehearsal { cloud, cluster, unowned } = rehearsal;
        self.in_cloud(cloud, |unit| match unit {
            UnitName::Own(node) => format!("routes of node {}", node.name),
            UnitName::Shared(name) => name.to_string(),
        });
        self.in_cluster(cluster);
        self.of_nobody(unowned);
    }

    fn of_nobody(&mut self, orphans: Result<Vec<Owned>, CloudError>) {
        match orphans {
            Ok(orphans) => self.orphans.extend(orphans.iter().map(orphan)),
            Err(err) => {
                let (name, message) = ("orphans".to_owned(), err.message().to_owned());
                self.failures.push(Failure { name, message });
            }
        }
    }

    fn in_cloud(&mut self, units: Vec<Rehearsed>, name: impl Fn(&UnitName) -> String) {
        for unit in units {
            let mut group = Group::new(name(&unit.unit));
            let plan = match unit.plan {
                Ok(plan) => plan,
                Err(err) => {
                    let message = err.message().to_owned();
                    self.failures.push(Failure { name: group.name, message });
                    continue;
                }
            };
            for step in plan.stages.into_iter().flatten() {
                let action = match step.change.effect() {
                    Effect::Create => Action::Create,
                    Effect::Update => Action::Update,
                    Effect::Delete => Action::Delete,
                    Effect::Interrupt => Action::Interrupt,
                };
                group.changes.push(Change { action, text: step.change.to_string() });
            }
            group.later.extend(plan.later.into_iter().map(|later| later.waits_for));
            group.later.extend(
                unit.awaited
                    .iter()
                    .map(|id| format!("what {id} needs here, once what comes before it is done")),
            );
            if !group.is_empty() {
                self.cloud.push(group);
            }
        }
    }

    /// Nothing can be said of a whole kind of objects.
    pub fn not_listed(&mut self, kind: &str) {
        let message = "the API server does not list them; the log says why".to_owned();
        self.failures.push(Failure { name: kind.to_owned(), message });
    }

    fn groups(&self) -> impl Iterator<Item = &Group> {
        self.cloud.iter().chain(&self.cluster)
    }

    /// 0 when nothing would change, 2 when something would, now or later, 1 when that cannot be said of
    /// all.
    pub fn exit_code(&self) -> u8 {
        if !self.failures.is_empty() {
            1
        } else if self.groups().next().is_some() {
            2
        } else {
            0
        }
    }

    /// As JSON, with a line break behind it.
    pub fn json(&self) -> String {
        let json = json!({
            "changes": self.groups().next().is_some(),
            "cloud": self.cloud,
            "cluster": self.cluster,
            "orphans": self.orphans,
            "failures": self.failures,
        });
        format!("{json:#}\n")
    }

    /// As text, like a diff.
    pub fn text(&self, colors: bool) -> String {
        let mut text = Text { text: String::new(), colors };
        text.section("In the cloud", &self.cloud);
        text.section("In the cluster", &self.cluster);
        if !self.orphans.is_empty() {
            text.line("", "In the cloud with this cluster's mark, and of nobody here; left alone:");
            for orphan in &self.orphans {
                text.line("", &format!("    {orphan}"));
            }
            text.line("", "");
        }
        for Failure { name, message } in &self.failures {
            text.line(RED, &format!("could not look at {name}: {message}"));
        }
        let count =
            |groups: &[Group]| groups.iter().map(|group| group.changes.len()).sum::<usize>();
        let later: usize = self.groups().map(|group| group.later.len()).sum();
        if self.groups().next().is_none() && self.failures.is_empty() {
            text.line("", "Nothing would change.");
        } else {
            let (cloud, cluster) = (count(&self.cloud), count(&self.cluster));
            let later = if later > 0 { format!(", and {later} later") } else { String::new() };
            text.line("", &format!("{cloud} in the cloud, {cluster} in the cluster{later}."));
        }
        text.text
    }
}

impl Group {
    fn new(name: String) -> Self {
        Self { name, changes: Vec::new(), later: Vec::new() }
    }

    fn is_empty(&self) -> bool {
        self.changes.is_empty() && self.later.is_empty()
    }

    fn push(&mut self, line: Line) {
        let action = match line.sign {
            Sign::Add => Action::Create,
            Sign::Change => Action::Update,
            Sign::Remove => Action::Delete,
            Sign::Interrupt => Action::Interrupt,
            Sign::Later => return self.later.push(line.text),
        };
        self.changes.push(Change { action, text: line.text });
    }
}

fn orphan(piece: &Owned) -> String {
    let owner = piece.owner.as_ref().map(Uid::as_str).or(piece.object.as_deref());
    let owner = owner.map(|owner| format!(", of {owner}")).unwrap_or_default();
    format!("{} {}{owner}", piece.kind, piece.id)
}

const RED: &str = "31";
const GREEN: &str = "32";
const YELLOW: &str = "33";
const BOLD: &str = "1";
const DIM: &str = "2";

struct Text {
    text: String,
    colors: bool,
}

impl Text {
    fn line(&mut self, color: &str, line: &str) {
        if self.colors && !color.is_empty() {
            // Writing to a text cannot fail.
            let _ = writeln!(self.text, "\u{1b}[{color}m{line}\u{1b}[0m");
        } else {
            self.text.push_str(line);
            self.text.push('\n');
        }
    }

    fn section(&mut self, title: &str, groups: &[Group]) {
        if groups.is_empty() {
            return;
        }
        self.line(BOLD, &format!("{title}:"));
        for group in groups {
            self.line(BOLD, &format!("  {}", group.name));
            for Change { action, text } in &group.changes {
                let (sign, color) = match action {
                    Action::Create => ('+', GREEN),
                    Action::Update => ('~', YELLOW),
                    Action::Delete => ('-', RED),
                    Action::Interrupt => ('!', RED),
                };
                self.line(color, &format!("    {sign} {text}"));
            }
            for later in &group.later {
                self.line(DIM, &format!("    . later: {later}"));
            }
        }
        self.line("", "");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        let mut report = Report::default();
        let mut own = Group::new("shop/web".to_owned());
        own.changes.push(Change { action: Action::Create, text: "create address".to_owned() });
        own.changes.push(Change { action: Action::Interrupt, text: "replace it".to_owned() });
        own.later.push("an address".to_owned());
        report.cloud.push(own);
        report.in_cluster(vec![Intended {
            object: "Service shop/web".to_owned(),
            lines: vec![Line::add("finalizer f".to_owned())],
        }]);
        report.in_cluster(vec![Intended {
            object: "Service shop/web".to_owned(),
            lines: vec![Line::remove("condition c".to_owned())],
        }]);
        report
    }

    #[test]
    fn the_text_is_like_a_diff() {
        let expected = "\
In the cloud:
  shop/web
    + create address
    ! replace it
    . later: an address

In the cluster:
  Service shop/web
    + finalizer f
    - condition c

2 in the cloud, 2 in the cluster, and 1 later.
";
        assert_eq!(report().text(false), expected);
        assert!(report().text(true).contains("\u{1b}[32m    + create address\u{1b}[0m"));
        assert_eq!(Report::default().text(false), "Nothing would change.\n");
    }

    #[test]
    fn the_exit_code_says_whether_anything_would_change_or_cannot_be_said() {
        assert_eq!(Report::default().exit_code(), 0);
        assert_eq!(report().exit_code(), 2);
        let failure = Failure { name: "firewall".to_owned(), message: "denied".to_owned() };
        assert_eq!(Report { failures: vec![failure], ..report() }.exit_code(), 1);
    }

    #[test]
    fn the_json_has_it_all() {
        let json: serde_json::Value = serde_json::from_str(&report().json()).unwrap();
        assert_eq!(json["changes"], true);
        assert_eq!(json["cloud"][0]["changes"][1]["action"], "interrupt");
        assert_eq!(json["cloud"][0]["later"][0], "an address");
        assert_eq!(json["cluster"][0]["name"], "Service shop/web");
    }
}
