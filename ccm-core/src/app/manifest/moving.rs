//! Controllers that move here from a kube-controller-manager: the file that says so goes with the pods.

use crate::app::flags::{MigrationFile, Options};
use crate::app::migration::{self, Migration, MigrationError};
use crate::cloud::CONFIG_FOLDER;

/// The file's name in the `ConfigMap`.
pub(super) const FILE: &str = "leader-migration.yaml";

/// What moves, and the file for the pods that says so.
pub(super) struct Moving {
    pub(super) migration: Migration,
    /// `None`: the flags name none.
    pub(super) text: Option<String>,
}

impl Moving {
    /// What the flags say, and the file that they name. One that is not here is left to be filled in; one
    /// that the pods would refuse is an error.
    pub(super) fn of(options: &Options) -> Result<Self, MigrationError> {
        let election = options.leader_election.as_ref();
        let Some(MigrationFile::Named(path)) =
            election.and_then(|election| election.migration.as_ref())
        else {
            return Ok(Self { migration: migration::of(options)?, text: None });
        };
        let shown = path.display();
        // A comment first, so that the text's own indentation is no matter.
        let (migration, text) = match migration::read(path) {
            Ok((migration, text)) => (migration, format!("# {shown}\n{text}")),
            Err(MigrationError::Unreadable { source, .. }) => {
                let text = format!(
                    "# FILL IN: {shown} could not be read ({source}). This is what goes without a file; with \
                     another leaderName the Role has to name that lease.\n{}",
                    migration::SAMPLE
                );
                (migration::usual(), text)
            }
            Err(err @ MigrationError::Content { .. }) => return Err(err),
        };
        Ok(Self { migration, text: Some(text) })
    }

    /// The flag as the pods have it.
    pub(super) fn flag(&self, typed: &str) -> String {
        let is_of_the_file = typed.starts_with("--leader-migration-config=");
        if is_of_the_file && self.text.is_some() {
            format!("--leader-migration-config={CONFIG_FOLDER}/{FILE}")
        } else {
            typed.to_owned()
        }
    }
}
