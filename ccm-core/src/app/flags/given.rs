//! The command line as it was given: every flag with its value, the defaults included.

use std::collections::BTreeMap;

use clap::ArgMatches;

use crate::app::migration::Migration;

/// Flags by their names, without dashes in front. No flag holds a secret: those are in files.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Given {
    flags: BTreeMap<String, String>,
    /// What they come to with the file that one of them names.
    migration: Migration,
}

impl Given {
    pub(super) fn new(command: &clap::Command, matches: &ArgMatches) -> Self {
        let flags = command.get_arguments().filter(|arg| arg.get_action().takes_values());
        let flags = flags.filter(|arg| !arg.is_positional());
        let value = |arg: &clap::Arg| {
            let values = matches.get_raw(arg.get_id().as_str()).into_iter().flatten();
            values.map(|value| value.to_string_lossy()).collect::<Vec<_>>().join(",")
        };
        let flags = flags.filter_map(|arg| Some((arg.get_long()?.to_owned(), value(arg))));
        Self { flags: flags.collect(), migration: Migration::default() }
    }

    /// With the migration that the flags and their file describe.
    #[must_use]
    pub fn with_migration(self, migration: Migration) -> Self {
        Self { migration, ..self }
    }

    /// The migration of controllers.
    pub fn migration(&self) -> &Migration {
        &self.migration
    }

    /// The value of a flag; empty where there is none, or no such flag.
    pub fn value(&self, name: &str) -> &str {
        self.flags.get(name).map_or("", String::as_str)
    }

    /// Names and values, in the order of the names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.flags.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }
}
