//! Versions, cipher suites and key exchanges of TLS by the names that Go has for them.

use rustls::crypto::aws_lc_rs;
use rustls::{CipherSuite, NamedGroup};

use super::super::options::Errors;
use super::list;

/// How TLS is spoken.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tls {
    /// The oldest version.
    pub oldest: Version,
    /// Suites of TLS 1.2 to choose from; `None` for all.
    pub ciphers: Option<Vec<CipherSuite>>,
    /// Key exchanges to choose from; `None` for the usual.
    pub groups: Option<Vec<NamedGroup>>,
}

/// A version of TLS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Version {
    /// 1.2
    #[default]
    Tls12,
    /// 1.3
    Tls13,
}

const VERSIONS: &str = "VersionTLS12 or VersionTLS13";

/// Suites that Go has and TLS libraries still offer.
const SUITES: [(&str, CipherSuite); 11] = [
    ("TLS_AES_128_GCM_SHA256", CipherSuite::TLS13_AES_128_GCM_SHA256),
    ("TLS_AES_256_GCM_SHA384", CipherSuite::TLS13_AES_256_GCM_SHA384),
    ("TLS_CHACHA20_POLY1305_SHA256", CipherSuite::TLS13_CHACHA20_POLY1305_SHA256),
    (
        "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
        CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
    ),
    (
        "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
        CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
    ),
    ("TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256),
    ("TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384", CipherSuite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384),
    (
        "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
        CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
    ),
    (
        "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
        CipherSuite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
    ),
    // Kept by upstream for old command lines.
    (
        "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305",
        CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
    ),
    (
        "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305",
        CipherSuite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
    ),
];

/// Suites that Go has besides: without forward secrecy, with CBC, with RC4.
/// <https://pkg.go.dev/crypto/tls#pkg-constants>
const LACKING: [&str; 16] = [
    "TLS_RSA_WITH_RC4_128_SHA",
    "TLS_RSA_WITH_3DES_EDE_CBC_SHA",
    "TLS_RSA_WITH_AES_128_CBC_SHA",
    "TLS_RSA_WITH_AES_256_CBC_SHA",
    "TLS_RSA_WITH_AES_128_CBC_SHA256",
    "TLS_RSA_WITH_AES_128_GCM_SHA256",
    "TLS_RSA_WITH_AES_256_GCM_SHA384",
    "TLS_ECDHE_ECDSA_WITH_RC4_128_SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256",
    "TLS_ECDHE_RSA_WITH_RC4_128_SHA",
    "TLS_ECDHE_RSA_WITH_3DES_EDE_CBC_SHA",
    "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA",
    "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA",
    "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256",
];

const CIPHERS: &str = "one of Go's names: TLS_AES_128_GCM_SHA256, TLS_AES_256_GCM_SHA384, \
     TLS_CHACHA20_POLY1305_SHA256, TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, \
     TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, \
     TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384, \
     TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256";

const SOME_CIPHER: &str = "a list with at least one suite that is still offered, such as \
     TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256 or TLS_AES_128_GCM_SHA256";

const GROUPS: &str = "one of Go's numbers: 23, 24, 25, 29, 4587, 4588 or 4589";

const SOME_GROUP: &str =
    "a list with at least one key exchange that is offered: 23, 24, 29, 4587 or 4588";

/// What Go knows. <https://pkg.go.dev/crypto/tls#CurveID>
const GO_GROUPS: [u16; 6] = [23, 24, 25, 29, 4587, 4588];
const GO_1_26_GROUP: u16 = 4589;

pub(super) fn read(
    version: &str,
    ciphers: &[String],
    groups: &[String],
    errors: &mut Errors,
    warnings: &mut Vec<String>,
) -> Option<Tls> {
    let oldest = self::version(version, errors, warnings);
    let ciphers = self::ciphers(&list(ciphers), errors, warnings);
    let groups = self::groups(&list(groups), errors, warnings);
    Some(Tls { oldest: oldest?, ciphers: ciphers?, groups: groups? })
}

fn version(text: &str, errors: &mut Errors, warnings: &mut Vec<String>) -> Option<Version> {
    errors.read("--tls-min-version", text, VERSIONS, |text| match text {
        "" | "VersionTLS12" => Some(Version::Tls12),
        "VersionTLS13" => Some(Version::Tls13),
        "VersionTLS10" | "VersionTLS11" => {
            warnings
                .push(format!("--tls-min-version {text}: the oldest version spoken is TLS 1.2"));
            Some(Version::Tls12)
        }
        _ => None,
    })
}

/// The outer `None`: reported. The inner: nothing was said.
#[expect(clippy::option_option, reason = "as said")]
fn ciphers(
    names: &[String],
    errors: &mut Errors,
    warnings: &mut Vec<String>,
) -> Option<Option<Vec<CipherSuite>>> {
    const FLAG: &str = "--tls-cipher-suites";
    let mut found = Vec::new();
    let mut lacking = Vec::new();
    let mut is_readable = true;
    for name in names {
        let suite = SUITES.iter().find(|(known, _)| known == name).map(|(_, suite)| *suite);
        if let Some(suite) = suite {
            found.push(suite);
        } else if LACKING.contains(&name.as_str()) {
            lacking.push(name.as_str());
        } else {
            is_readable &= errors.read(FLAG, name, CIPHERS, |_| None::<()>).is_some();
        }
    }
    chosen(FLAG, names, found, &lacking, is_readable, SOME_CIPHER, errors, warnings)
}

/// The outer `None`: reported. The inner: nothing was said.
#[expect(clippy::option_option, reason = "as said")]
fn groups(
    numbers: &[String],
    errors: &mut Errors,
    warnings: &mut Vec<String>,
) -> Option<Option<Vec<NamedGroup>>> {
    const FLAG: &str = "--tls-curve-preferences";
    let mut found = Vec::new();
    let mut lacking = Vec::new();
    let mut is_readable = true;
    for text in numbers {
        let number = errors.read(FLAG, text, GROUPS, |text| {
            let known = |number: &u16| GO_GROUPS.contains(number) || *number == GO_1_26_GROUP;
            text.parse().ok().filter(known)
        });
        let Some(number) = number else {
            is_readable = false;
            continue;
        };
        let group = NamedGroup::from(number);
        if aws_lc_rs::ALL_KX_GROUPS.iter().any(|offered| offered.name() == group) {
            found.push(group);
        } else {
            lacking.push(text.as_str());
        }
    }
    chosen(FLAG, numbers, found, &lacking, is_readable, SOME_GROUP, errors, warnings)
}

/// What of a list is there. The outer `None`: reported. The inner: nothing was said.
#[expect(clippy::option_option, reason = "as said")]
#[expect(clippy::too_many_arguments, reason = "one place for the rule that both lists share")]
fn chosen<T>(
    flag: &'static str,
    said: &[String],
    found: Vec<T>,
    lacking: &[&str],
    is_readable: bool,
    accepted: &'static str,
    errors: &mut Errors,
    warnings: &mut Vec<String>,
) -> Option<Option<Vec<T>>> {
    if said.is_empty() {
        return Some(None);
    }
    if !is_readable {
        return None;
    }
    if !lacking.is_empty() && !found.is_empty() {
        warnings.push(format!("{flag}: not offered, and left out: {}", lacking.join(",")));
    }
    let is_some = !found.is_empty();
    errors.read(flag, &said.join(","), accepted, |_| is_some.then_some(Some(found)))
}
