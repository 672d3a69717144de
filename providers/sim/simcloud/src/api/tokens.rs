//! Tokens.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A token to let in.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AddToken {
    /// Its name, for the call log and for revoking it.
    pub name: String,
    /// The secret itself.
    pub token: String,
}

impl fmt::Debug for AddToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AddToken").field("name", &self.name).finish_non_exhaustive()
    }
}

/// A token as the control API shows it: without the secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenStatus {
    /// Its name.
    pub name: String,
    /// Whether it opens nothing at present.
    pub revoked: bool,
}

/// All tokens, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tokens {
    /// The tokens.
    pub tokens: Vec<TokenStatus>,
}
