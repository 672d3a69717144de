//! Who may call.

use secrecy::{ExposeSecret as _, SecretString};
use thiserror::Error;

use crate::api::{TokenStatus, Tokens};

/// Tokens that may be let in.
const MAX_TOKENS: usize = 1000;

/// A token of the cloud's API.
#[derive(Clone, Debug)]
pub struct Token {
    /// Its name, for the call log and for revoking it.
    pub name: String,
    /// The secret itself.
    pub secret: SecretString,
}

impl Token {
    /// A token of this name.
    pub fn new(name: impl Into<String>, secret: impl Into<String>) -> Self {
        Self { name: name.into(), secret: SecretString::from(secret.into()) }
    }
}

/// A token that cannot be let in.
#[derive(Debug, PartialEq, Eq, Error)]
pub enum BadToken {
    /// The name would not fit into a URL.
    #[error("name: must be 1 to 63 letters, digits, dots, dashes or underscores, not {0:?}")]
    Name(String),
    /// Nobody could send it in a header.
    #[error("token: the token {0} must be 1 to 1024 visible ASCII characters")]
    Secret(String),
    /// Another token has the name or the secret.
    #[error("there is a token {0} already")]
    Taken(String),
    /// There are too many.
    #[error("there are {MAX_TOKENS} tokens already")]
    Full,
}

#[derive(Debug)]
struct Entry {
    token: Token,
    revoked: bool,
}

/// All tokens.
#[derive(Debug, Default)]
pub(crate) struct TokenBook(Vec<Entry>);

impl TokenBook {
    /// Lets a token in.
    pub(crate) fn add(&mut self, token: Token) -> Result<(), BadToken> {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
        if !(1..=63).contains(&token.name.len()) || !token.name.bytes().all(is_plain) {
            return Err(BadToken::Name(token.name));
        }
        let secret = token.secret.expose_secret();
        if !(1..=1024).contains(&secret.len()) || !secret.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(BadToken::Secret(token.name));
        }
        let is_same =
            |other: &Token| other.name == token.name || other.secret.expose_secret() == secret;
        if let Some(taken) = self.0.iter().find(|entry| is_same(&entry.token)) {
            return Err(BadToken::Taken(taken.token.name.clone()));
        }
        if self.0.len() >= MAX_TOKENS {
            return Err(BadToken::Full);
        }
        self.0.push(Entry { token, revoked: false });
        Ok(())
    }

    /// The name of the token with this secret, unless it is revoked.
    pub(crate) fn name_of(&self, secret: &str) -> Option<&str> {
        let entry = self.0.iter().find(|entry| entry.token.secret.expose_secret() == secret)?;
        (!entry.revoked).then_some(entry.token.name.as_str())
    }

    /// Revokes or restores; says how the token stands, if there is one.
    pub(crate) fn set_revoked(&mut self, name: &str, revoked: bool) -> Option<TokenStatus> {
        let entry = self.0.iter_mut().find(|entry| entry.token.name == name)?;
        entry.revoked = revoked;
        Some(TokenStatus { name: name.to_owned(), revoked })
    }

    /// All of them, by name.
    pub(crate) fn list(&self) -> Tokens {
        let status =
            |entry: &Entry| TokenStatus { name: entry.token.name.clone(), revoked: entry.revoked };
        let mut tokens: Vec<_> = self.0.iter().map(status).collect();
        tokens.sort_by(|a, b| a.name.cmp(&b.name));
        Tokens { tokens }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[test]
    fn a_revoked_token_opens_nothing_until_it_is_restored() {
        let mut book = TokenBook::default();
        book.add(Token::new("ccm", "s3cret")).unwrap();
        assert_eq!(book.name_of("s3cret"), Some("ccm"));
        assert_eq!(book.name_of("other"), None);
        book.set_revoked("ccm", true).unwrap();
        assert_eq!(book.name_of("s3cret"), None);
        book.set_revoked("ccm", false).unwrap();
        assert_eq!(book.name_of("s3cret"), Some("ccm"));
        assert_eq!(book.set_revoked("nobody", true), None);
    }

    #[rstest]
    #[case::a_path("a/b", "x", BadToken::Name("a/b".into()))]
    #[case::no_name("", "x", BadToken::Name(String::new()))]
    #[case::no_secret("a", "", BadToken::Secret("a".into()))]
    #[case::two_lines("a", "x\ny", BadToken::Secret("a".into()))]
    #[case::the_same_name("ccm", "x", BadToken::Taken("ccm".into()))]
    #[case::the_same_secret("a", "s3cret", BadToken::Taken("ccm".into()))]
    fn bad_tokens(#[case] name: &str, #[case] secret: &str, #[case] want: BadToken) {
        let mut book = TokenBook::default();
        book.add(Token::new("ccm", "s3cret")).unwrap();
        assert_eq!(book.add(Token::new(name, secret)), Err(want));
    }

    #[test]
    fn secrets_are_not_shown() {
        let shown = format!("{:?}", Token::new("ccm", "s3cret"));
        assert!(shown.contains("ccm") && !shown.contains("s3cret"), "{shown}");
    }
}
