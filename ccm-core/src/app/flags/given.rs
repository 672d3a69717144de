//! The command line as it was given: every flag with its value, the defaults included.

use std::collections::BTreeMap;

use clap::ArgMatches;

/// Flags by their names, without dashes in front. No flag holds a secret: those are in files.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Given(BTreeMap<String, String>);

impl Given {
    pub(super) fn new(command: &clap::Command, matches: &ArgMatches) -> Self {
        let flags = command.get_arguments().filter(|arg| arg.get_action().takes_values());
        let flags = flags.filter(|arg| !arg.is_positional());
        let value = |arg: &clap::Arg| {
            let values = matches.get_raw(arg.get_id().as_str()).into_iter().flatten();
            values.map(|value| value.to_string_lossy()).collect::<Vec<_>>().join(",")
        };
        Self(flags.filter_map(|arg| Some((arg.get_long()?.to_owned(), value(arg)))).collect())
    }

    /// The value of a flag; empty where there is none, or no such flag.
    pub fn value(&self, name: &str) -> &str {
        self.0.get(name).map_or("", String::as_str)
    }

    /// Names and values, in the order of the names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }
}
