//! Who a client says that it is, and whether that can be believed. Pure, but for signatures.

use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use rustls::pki_types::{CertificateDer, UnixTime};

use super::identity::{self, Identity};
use super::trust::{Proxies, Trust};

/// What a request says of who sent it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Claim {
    /// It is proved.
    Proved(Identity),
    /// Somebody else knows whose token this is.
    Token(String),
    /// It says nothing.
    Nothing,
    /// It says something that is wrong.
    Refused(String),
}

/// In upstream's order: a front proxy's headers, the client's certificate, a token. What is wrong
/// does not count if something else is right.
pub(super) fn claim(
    trust: &Trust,
    shown: &[CertificateDer<'_>],
    headers: &HeaderMap,
    now: UnixTime,
) -> Claim {
    let mut wrong = Vec::new();
    if !shown.is_empty() {
        let proxied = trust.proxies.as_ref().map(|proxies| proxied(proxies, shown, headers, now));
        let direct = || {
            let clients = trust.clients.as_ref()?;
            let vouched = clients.vouch_for(shown, now).map_err(|err| err.to_string());
            Some(vouched.and_then(|()| identity::from_certificate(&shown[0])))
        };
        for found in proxied.into_iter().chain(std::iter::once_with(direct).flatten()) {
            match found {
                Ok(Some(identity)) => return Claim::Proved(identity.authenticated()),
                Ok(None) => {}
                Err(why) => wrong.push(why),
            }
        }
    }
    match token(headers) {
        Some(token) => Claim::Token(token.to_owned()),
        None if wrong.is_empty() => Claim::Nothing,
        None => Claim::Refused(format!("client certificate: {}", wrong.join("; "))),
    }
}

fn proxied(
    proxies: &Proxies,
    shown: &[CertificateDer<'_>],
    headers: &HeaderMap,
    now: UnixTime,
) -> Result<Option<Identity>, String> {
    proxies
        .authorities
        .vouch_for(shown, now)
        .map_err(|err| format!("as a front proxy's: {err}"))?;
    let allowed = &proxies.headers.allowed_names;
    let name = identity::common_name(&shown[0])?.unwrap_or_default();
    if !allowed.is_empty() && !allowed.contains(&name) {
        return Err(format!("{name:?} is no allowed front proxy"));
    }
    identity::from_headers(headers, &proxies.headers)
}

/// As upstream reads it: the word after `Bearer`.
fn token(headers: &HeaderMap) -> Option<&str> {
    let text = headers.get(AUTHORIZATION)?.to_str().ok()?.trim();
    let (scheme, rest) = text.split_once(' ')?;
    let token = rest.split(' ').next().unwrap_or_default();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use rcgen::{
        BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType,
        ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose,
    };
    use rstest::rstest;

    use super::super::identity::AUTHENTICATED;
    use super::super::trust::Authorities;
    use super::*;
    use crate::app::flags::serving::Headers;

    type Issuer = CertifiedIssuer<'static, KeyPair>;

    fn name(common: &str, organization: Option<&str>) -> DistinguishedName {
        let mut name = DistinguishedName::new();
        if let Some(organization) = organization {
            name.push(DnType::OrganizationName, organization);
        }
        name.push(DnType::CommonName, common);
        name
    }

    fn authority(common: &str) -> Issuer {
        let mut params = CertificateParams::default();
        params.distinguished_name = name(common, None);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
    }

    struct Leaf {
        common: &'static str,
        usage: ExtendedKeyUsagePurpose,
        ends: SystemTime,
    }

    impl Default for Leaf {
        fn default() -> Self {
            let ends = SystemTime::now() + Duration::from_hours(1);
            Self { common: "jane", usage: ExtendedKeyUsagePurpose::ClientAuth, ends }
        }
    }

    fn issued(by: &Issuer, leaf: Leaf) -> CertificateDer<'static> {
        let mut params = CertificateParams::default();
        params.distinguished_name = name(leaf.common, Some("dev"));
        params.extended_key_usages = vec![leaf.usage];
        params.not_after = leaf.ends.into();
        params.signed_by(&KeyPair::generate().unwrap(), by).unwrap().into()
    }

    /// The authorities of clients and of front proxies, and what is thought of them.
    struct Scene {
        clients: Issuer,
        proxies: Issuer,
        trust: Trust,
    }

    impl Scene {
        fn new() -> Self {
            let (clients, proxies) = (authority("clients"), authority("proxies"));
            let authorities =
                |issuer: &Issuer| Authorities::from_pem(issuer.pem().as_bytes()).unwrap();
            let headers = Headers {
                allowed_names: vec!["front".to_owned()],
                user: vec!["x-remote-user".parse().unwrap()],
                groups: vec!["x-remote-group".parse().unwrap()],
                ..Headers::default()
            };
            let trust = Trust {
                clients: Some(authorities(&clients)),
                proxies: Some(Proxies { authorities: authorities(&proxies), headers }),
            };
            Self { clients, proxies, trust }
        }

        fn claim(&self, shown: &[CertificateDer<'static>], said: &[(&'static str, &str)]) -> Claim {
            let mut headers = HeaderMap::new();
            for &(name, value) in said {
                headers.insert(name, value.parse().unwrap());
            }
            claim(&self.trust, shown, &headers, UnixTime::now())
        }
    }

    fn user(claim: &Claim) -> Option<(&str, Vec<&str>)> {
        let Claim::Proved(identity) = claim else { return None };
        Some((&identity.user, identity.groups.iter().map(String::as_str).collect()))
    }

    const USER: (&str, &str) = ("x-remote-user", "proxied");
    const GROUP: (&str, &str) = ("x-remote-group", "system:masters");
    const TOKEN: (&str, &str) = ("authorization", "Bearer t0ken");

    #[test]
    fn a_client_is_whom_its_certificate_names() {
        let scene = Scene::new();
        let claim = scene.claim(&[issued(&scene.clients, Leaf::default())], &[USER, GROUP, TOKEN]);
        assert_eq!(user(&claim), Some(("jane", vec!["dev", AUTHENTICATED])));
    }

    #[test]
    fn a_front_proxy_says_for_whom_it_asks() {
        let scene = Scene::new();
        let front = || Leaf { common: "front", ..Leaf::default() };
        let claim = scene.claim(&[issued(&scene.proxies, front())], &[USER, GROUP, TOKEN]);
        assert_eq!(user(&claim), Some(("proxied", vec!["system:masters", AUTHENTICATED])));
        // Its certificate is good for nothing else.
        let claim = scene.claim(&[issued(&scene.proxies, front())], &[]);
        assert!(matches!(claim, Claim::Refused(_)), "{claim:?}");
        // The same name from the authority of clients is a client.
        let claim = scene.claim(&[issued(&scene.clients, front())], &[USER, GROUP]);
        assert_eq!(user(&claim), Some(("front", vec!["dev", AUTHENTICATED])));
    }

    #[test]
    fn other_proxies_are_not_believed() {
        let scene = Scene::new();
        let shown = [issued(&scene.proxies, Leaf { common: "back", ..Leaf::default() })];
        let claim = scene.claim(&shown, &[USER, GROUP]);
        assert!(matches!(&claim, Claim::Refused(why) if why.contains("back")), "{claim:?}");
        let mut anybody = Scene { trust: scene.trust.clone(), ..scene };
        anybody.trust.proxies.as_mut().unwrap().headers.allowed_names.clear();
        assert_eq!(user(&anybody.claim(&shown, &[USER])), Some(("proxied", vec![AUTHENTICATED])));
    }

    #[test]
    fn headers_without_a_certificate_say_nothing() {
        assert_eq!(Scene::new().claim(&[], &[USER, GROUP]), Claim::Nothing);
    }

    #[test]
    fn bad_certificates_are_refused_unless_there_is_a_token() {
        let scene = Scene::new();
        let past = SystemTime::now() - Duration::from_hours(1);
        let stranger = authority("clients");
        for (what, certificate) in [
            ("expired", issued(&scene.clients, Leaf { ends: past, ..Leaf::default() })),
            ("foreign, though of the same name", issued(&stranger, Leaf::default())),
            ("a server's", {
                let usage = ExtendedKeyUsagePurpose::ServerAuth;
                issued(&scene.clients, Leaf { usage, ..Leaf::default() })
            }),
            ("nonsense", CertificateDer::from(vec![1, 2, 3])),
        ] {
            let claim = scene.claim(std::slice::from_ref(&certificate), &[USER, GROUP]);
            assert!(matches!(claim, Claim::Refused(_)), "{what}: {claim:?}");
            let claim = scene.claim(&[certificate], &[USER, GROUP, TOKEN]);
            assert_eq!(claim, Claim::Token("t0ken".to_owned()), "{what}");
        }
    }

    #[test]
    fn without_authorities_a_certificate_says_nothing() {
        let scene = Scene::new();
        let shown = [issued(&scene.clients, Leaf::default())];
        let nobody = Scene { trust: Trust::default(), ..scene };
        assert_eq!(nobody.claim(&shown, &[USER]), Claim::Nothing);
    }

    #[test]
    fn a_certificate_without_a_name_says_nothing() {
        let mut scene = Scene::new();
        scene.trust.proxies = None;
        let shown = [issued(&scene.clients, Leaf { common: "", ..Leaf::default() })];
        assert_eq!(scene.claim(&shown, &[]), Claim::Nothing);
    }

    #[rstest]
    #[case("Bearer abc", Some("abc"))]
    #[case("bearer abc", Some("abc"))]
    #[case(" BEARER abc ", Some("abc"))]
    #[case("Bearer abc def", Some("abc"))]
    #[case("Bearer  abc", None)]
    #[case("Bearer", None)]
    #[case("Basic abc", None)]
    #[case("", None)]
    fn a_token_is_the_word_after_bearer(#[case] header: &str, #[case] want: Option<&str>) {
        let mut headers = HeaderMap::new();
        headers.insert(AUTHORIZATION, header.parse().unwrap());
        assert_eq!(token(&headers), want);
    }
}
