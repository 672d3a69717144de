//! Which controllers run: `--controllers`.
//!
//! The grammar is upstream's, whose reading of a list has a trap: the first entry that names a
//! controller counts, so that `-service` after `service` says nothing.

use std::collections::BTreeSet;

use super::options::{Errors, FlagError};
use crate::cluster::keys::controller;

/// A controller that the command line knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KnownController {
    /// Its canonical name, which never changes.
    pub name: &'static str,
    /// Another name by which the flag knows it: that of old, which metrics bear too.
    pub alias: &'static str,
}

/// All controllers. None is off by default.
pub const CONTROLLERS: [KnownController; 6] = [
    KnownController { name: controller::NODE, alias: "cloud-node" },
    KnownController { name: controller::NODE_LIFECYCLE, alias: "cloud-node-lifecycle" },
    KnownController { name: controller::NODE_IPAM, alias: "nodeipam" },
    KnownController { name: controller::ROUTE, alias: "route" },
    KnownController { name: controller::SERVICE, alias: "service" },
    KnownController { name: controller::VOLUME, alias: "cloud-volume" },
];

/// Controllers of Go programs that have no counterpart here: to switch one off is no mistake.
const ELSEWHERE: [&str; 2] = ["tagging", "tagging-controller"];

/// The controllers that shall run, as far as provider and other flags let them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selection(BTreeSet<&'static str>);

impl Selection {
    /// Whether the controller of this canonical name shall run.
    pub fn has(&self, name: &str) -> bool {
        self.0.contains(name)
    }

    /// This one without some, by their canonical names.
    #[must_use]
    pub fn without(mut self, names: &[&str]) -> Self {
        self.0.retain(|name| !names.contains(name));
        self
    }
}

/// Reads the entries of the flag, `*`, `name` or `-name`. `None` has been reported.
///
/// For each controller: its own name counts where it stands first; without it `*` counts; without
/// that the controller is off. An empty list switches all of them off.
pub(super) fn selection<'a>(
    entries: impl IntoIterator<Item = &'a str>,
    errors: &mut Errors,
) -> Option<Selection> {
    let mut all = false;
    let mut named: Vec<(&'static str, bool)> = Vec::new();
    let before = errors.0.len();
    for entry in entries {
        let (name, on) = match entry.strip_prefix('-') {
            Some(name) => (name, false),
            None => (entry, true),
        };
        let known = CONTROLLERS.iter().find(|known| known.name == name || known.alias == name);
        match known {
            Some(known) => named.push((known.name, on)),
            None if entry == "*" => all = true,
            None if !on && ELSEWHERE.contains(&name) => {}
            None => errors.0.push(FlagError::UnknownController { entry: entry.to_owned() }),
        }
    }
    if errors.0.len() > before {
        return None;
    }
    let is_on = |known: &KnownController| {
        let own = named.iter().find(|(name, _)| *name == known.name);
        own.map_or(all, |(_, on)| *on)
    };
    Some(Selection(
        CONTROLLERS.iter().filter(|known| is_on(known)).map(|known| known.name).collect(),
    ))
}

/// What may stand in the list, for help and errors.
pub(super) fn known() -> String {
    let names = CONTROLLERS.iter().map(|known| format!("{} ({})", known.name, known.alias));
    names.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::all(&["*"], "node lifecycle ipam route service volume")]
    #[case::none(&[], "")]
    #[case::one(&["service-lb-controller"], "service")]
    #[case::by_alias(&["cloud-node", "cloud-node-lifecycle", "route"], "node lifecycle route")]
    #[case::all_but_one(&["*", "-route"], "node lifecycle ipam service volume")]
    #[case::the_place_of_the_star_is_no_matter(&["-nodeipam", "*"], "node lifecycle route service volume")]
    #[case::the_first_word_counts(&["service", "-service"], "service")]
    #[case::the_first_word_counts_by_whatever_name(&["-service", "service-lb-controller", "*"], "node lifecycle ipam route volume")]
    #[case::off_alone_is_off(&["-route"], "")]
    #[case::what_is_not_here_may_be_off(&["*", "-tagging"], "node lifecycle ipam route service volume")]
    fn lists_are_read_as_upstream(#[case] entries: &[&str], #[case] want: &str) {
        let selection = selection(entries.iter().copied(), &mut Errors::default()).unwrap();
        let short = [
            ("node", controller::NODE),
            ("lifecycle", controller::NODE_LIFECYCLE),
            ("ipam", controller::NODE_IPAM),
            ("route", controller::ROUTE),
            ("service", controller::SERVICE),
            ("volume", controller::VOLUME),
        ];
        let on: Vec<&str> =
            short.iter().filter(|(_, name)| selection.has(name)).map(|(short, _)| *short).collect();
        assert_eq!(on.join(" "), want);
    }

    #[rstest]
    #[case("servce")]
    #[case("-servce")]
    #[case("--service")]
    #[case("")]
    #[case("-")]
    #[case("-*")]
    #[case("tagging")]
    fn what_is_not_known_is_an_error(#[case] entry: &str) {
        let mut errors = Errors::default();
        assert_eq!(selection(["*", entry], &mut errors), None);
        let [error] = &errors.0[..] else { panic!("{errors:?}", errors = errors.0) };
        let said = error.to_string();
        assert!(
            said.contains(&format!("{entry:?} is not in the list of known controllers")),
            "{said}"
        );
        assert!(said.contains("service-lb-controller (service)"), "{said}");
    }
}
