//! Who a client is.

use std::collections::BTreeMap;
use std::fmt::Write;

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use rustls::pki_types::CertificateDer;
use sha2::{Digest, Sha256};
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;
use x509_parser::x509::AttributeTypeAndValue;

use crate::app::flags::serving::Headers;

/// Who nobody is.
pub(super) const ANONYMOUS: &str = "system:anonymous";

/// The group of those who are not known.
pub(super) const UNAUTHENTICATED: &str = "system:unauthenticated";

/// The group of those who are.
pub(super) const AUTHENTICATED: &str = "system:authenticated";

/// Says by which credential somebody is known.
/// <https://kubernetes.io/docs/reference/access-authn-authz/authentication/#x509-client-certificates>
const CREDENTIAL_ID: &str = "authentication.kubernetes.io/credential-id";

/// A user as the API server knows one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Identity {
    /// The name.
    pub user: String,
    /// Tells users of one name apart; may be empty.
    pub uid: String,
    /// The groups.
    pub groups: Vec<String>,
    /// What else was said.
    pub extra: BTreeMap<String, Vec<String>>,
}

impl Identity {
    /// Nobody.
    pub fn anonymous() -> Self {
        let groups = vec![UNAUTHENTICATED.to_owned()];
        Self { user: ANONYMOUS.to_owned(), groups, ..Self::default() }
    }

    /// Whether this is nobody, or somebody whom a front proxy does not know.
    pub fn is_anonymous(&self) -> bool {
        self.user == ANONYMOUS || self.groups.iter().any(|group| group == UNAUTHENTICATED)
    }

    /// With the group of those who are known, as upstream adds it.
    #[must_use]
    pub fn authenticated(mut self) -> Self {
        if !self.is_anonymous() && !self.groups.iter().any(|group| group == AUTHENTICATED) {
            self.groups.push(AUTHENTICATED.to_owned());
        }
        self
    }
}

/// The common name is the user, organizations are groups. Without a common name it says nothing.
pub(super) fn from_certificate(der: &CertificateDer<'_>) -> Result<Option<Identity>, String> {
    let Some(user) = common_name(der)? else { return Ok(None) };
    let certificate = parsed(der)?;
    let groups = certificate.subject().iter_organization().map(text);
    let groups = groups.collect::<Result<_, _>>()?;
    let mut id = "X509SHA256=".to_owned();
    for byte in Sha256::digest(der) {
        write!(id, "{byte:02x}").map_err(|err| err.to_string())?;
    }
    let extra = BTreeMap::from([(CREDENTIAL_ID.to_owned(), vec![id])]);
    Ok(Some(Identity { user, groups, extra, ..Identity::default() }))
}

/// The last one that is there, as in Go.
pub(super) fn common_name(der: &CertificateDer<'_>) -> Result<Option<String>, String> {
    let certificate = parsed(der)?;
    let name = certificate.subject().iter_common_name().last().map(text).transpose()?;
    Ok(name.filter(|name| !name.is_empty()))
}

fn parsed<'a>(der: &'a CertificateDer<'_>) -> Result<X509Certificate<'a>, String> {
    match X509Certificate::from_der(der) {
        Ok((_, certificate)) => Ok(certificate),
        Err(err) => Err(format!("not a certificate: {err}")),
    }
}

fn text(value: &AttributeTypeAndValue<'_>) -> Result<String, String> {
    value.as_str().map(str::to_owned).map_err(|_| "its subject cannot be read".to_owned())
}

/// What a front proxy says. Only to be asked when it is one.
pub(super) fn from_headers(
    headers: &HeaderMap,
    names: &Headers,
) -> Result<Option<Identity>, String> {
    let first = |names: &[HeaderName]| -> Result<Option<String>, String> {
        for name in names {
            let text = headers.get(name).map(|value| said(name, value)).transpose()?;
            if let Some(text) = text.filter(|text| !text.is_empty()) {
                return Ok(Some(text));
            }
        }
        Ok(None)
    };
    let Some(user) = first(&names.user)? else { return Ok(None) };
    let mut groups = Vec::new();
    for name in &names.groups {
        for value in headers.get_all(name) {
            groups.push(said(name, value)?);
        }
    }
    groups.retain(|group| !group.is_empty());
    let mut extra: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for prefix in &names.extra {
        for (name, value) in headers {
            // Names are in lower case.
            if let Some(key) = name.as_str().strip_prefix(prefix) {
                extra.entry(unescaped(key)).or_default().push(said(name, value)?);
            }
        }
    }
    Ok(Some(Identity { user, uid: first(&names.uid)?.unwrap_or_default(), groups, extra }))
}

/// Names are UTF-8. What is not is nobody's: a part of it left out would be somebody else.
fn said(name: &HeaderName, value: &HeaderValue) -> Result<String, String> {
    let text = std::str::from_utf8(value.as_bytes());
    text.map(str::to_owned).map_err(|_| format!("{name} is not UTF-8"))
}

/// With `%2f` as `/`; as it is where that is not well-formed.
fn unescaped(key: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = key.as_bytes();
    while let [byte, after @ ..] = rest {
        rest = after;
        if *byte != b'%' {
            bytes.push(*byte);
            continue;
        }
        let digits = after.get(..2).filter(|digits| digits.iter().all(u8::is_ascii_hexdigit));
        let digits = digits.and_then(|digits| std::str::from_utf8(digits).ok());
        let Some(decoded) = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()) else {
            return key.to_owned();
        };
        bytes.push(decoded);
        rest = &after[2..];
    }
    String::from_utf8(bytes).unwrap_or_else(|_| key.to_owned())
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn names() -> Headers {
        Headers {
            allowed_names: vec![],
            user: vec!["x-remote-user".parse().unwrap(), "x-user".parse().unwrap()],
            uid: vec!["x-remote-uid".parse().unwrap()],
            groups: vec!["x-remote-group".parse().unwrap()],
            extra: vec!["x-remote-extra-".to_owned()],
        }
    }

    fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
        let pair = |&(name, value): &(&str, &str)| {
            (name.parse::<HeaderName>().unwrap(), value.parse().unwrap())
        };
        let mut map = HeaderMap::new();
        for (name, value) in pairs.iter().map(pair) {
            map.append(name, value);
        }
        map
    }

    #[rstest]
    #[case::nothing(&[], None)]
    #[case::groups_alone(&[("X-Remote-Group", "system:masters")], None)]
    #[case::empty_user(&[("X-Remote-User", "")], None)]
    #[case::the_first_that_is_there(&[("X-User", "b"), ("X-Remote-User", "a")], Some("a"))]
    #[case::another(&[("X-User", "b"), ("X-Remote-User", "")], Some("b"))]
    fn the_user_is_in_the_first_header_that_names_one(
        #[case] said: &[(&str, &str)],
        #[case] user: Option<&str>,
    ) {
        let found = from_headers(&headers(said), &names()).unwrap().map(|identity| identity.user);
        assert_eq!(found.as_deref(), user);
    }

    #[test]
    fn a_front_proxy_may_say_more() {
        let said = headers(&[
            ("X-Remote-User", "jane"),
            ("X-Remote-Uid", "42"),
            ("X-Remote-Group", "a"),
            ("X-Remote-Group", "b"),
            ("X-Remote-Extra-Acme.com%2fProject", "p1"),
            ("X-Remote-Extra-Acme.com%2fProject", "p2"),
            ("X-Remote-Extra-odd%zz", "o"),
            ("X-Remote-Extra-sign%+f", "s"),
        ]);
        let found = from_headers(&said, &names()).unwrap().unwrap();
        assert_eq!((found.user.as_str(), found.uid.as_str()), ("jane", "42"));
        assert_eq!(found.groups, ["a", "b"]);
        assert_eq!(found.extra["acme.com/project"], ["p1", "p2"]);
        assert_eq!(found.extra["odd%zz"], ["o"]);
        assert_eq!(found.extra["sign%+f"], ["s"]);
    }

    #[rstest]
    #[case::user("X-Remote-User")]
    #[case::uid("X-Remote-Uid")]
    #[case::group("X-Remote-Group")]
    #[case::extra("X-Remote-Extra-e")]
    fn names_are_utf8(#[case] name: &str) {
        let name: HeaderName = name.parse().unwrap();
        let mut said = headers(&[("X-User", "jane")]);
        said.insert(&name, HeaderValue::from_bytes("jürgen".as_bytes()).unwrap());
        let found = format!("{:?}", from_headers(&said, &names()).unwrap().unwrap());
        assert!(found.contains("jürgen"), "{found}");
        said.insert(&name, HeaderValue::from_bytes(b"j\xfcrgen").unwrap());
        let problem = from_headers(&said, &names()).unwrap_err();
        assert_eq!(problem, format!("{name} is not UTF-8"));
    }

    #[rstest]
    #[case("jane", &["dev"], &["dev", AUTHENTICATED])]
    #[case("jane", &[AUTHENTICATED], &[AUTHENTICATED])]
    #[case(ANONYMOUS, &[], &[])]
    #[case("somebody", &[UNAUTHENTICATED], &[UNAUTHENTICATED])]
    fn who_is_known_is_in_a_group(
        #[case] user: &str,
        #[case] groups: &[&str],
        #[case] want: &[&str],
    ) {
        let groups = groups.iter().map(|&group| group.to_owned()).collect();
        let identity = Identity { user: user.to_owned(), groups, ..Identity::default() };
        assert_eq!(identity.authenticated().groups, want);
    }
}
