//! Which proxy leads to the API server: Go's rules, since the same Deployment may have run a Go binary.
//!
//! kube's own reading of the variables is of no use here: its in-cluster loader ignores them, and its
//! kubeconfig loader compares `NO_PROXY` with the proxy's address instead of the server's (5.0.0).
//! Go's rules: <https://pkg.go.dev/golang.org/x/net/http/httpproxy#Config>

use std::net::IpAddr;

use http::Uri;
use ipnet::IpNet;

use super::ConfigError;

/// The proxy through which `server` is to be reached, if any.
pub(super) fn from_env(
    server: &Uri,
    env: &dyn Fn(&str) -> Option<String>,
) -> Result<Option<Uri>, ConfigError> {
    let get = |names: [&'static str; 2]| {
        names.into_iter().find_map(|name| Some((name, env(name).filter(|text| !text.is_empty())?)))
    };
    let variables = if server.scheme_str() == Some("http") {
        ["HTTP_PROXY", "http_proxy"]
    } else {
        ["HTTPS_PROXY", "https_proxy"]
    };
    let Some((variable, text)) = get(variables) else { return Ok(None) };
    let excepted =
        get(["NO_PROXY", "no_proxy"]).is_some_and(|(_, list)| is_excepted(server, &list));
    if excepted || is_local(server) {
        return Ok(None);
    }
    let wrong =
        |problem: &str| ConfigError::Address { option: variable, problem: problem.to_owned() };
    parse(&text).map(Some).map_err(wrong)
}

/// Reads a proxy's address; without a scheme it is an HTTP proxy. An error is what is wrong with it: it may
/// hold a password, so it is never quoted.
pub(super) fn parse(text: &str) -> Result<Uri, &'static str> {
    let with_scheme = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
    let uri: Uri = with_scheme.parse().map_err(|_| "not a proxy's address")?;
    match uri.scheme_str() {
        Some("http" | "https") if uri.host().is_some_and(|host| !host.is_empty()) => Ok(uri),
        Some("http" | "https") => Err("not a proxy's address"),
        _ => Err("only http:// and https:// proxies are supported"),
    }
}

fn is_local(server: &Uri) -> bool {
    let host = host(server);
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

fn is_excepted(server: &Uri, list: &str) -> bool {
    let host = host(server);
    let ip = host.parse::<IpAddr>().ok();
    let port = port(server);
    list.split(',').map(|entry| entry.trim().to_ascii_lowercase()).any(|entry| {
        if entry == "*" {
            return true;
        }
        if let (Ok(net), Some(ip)) = (entry.parse::<IpNet>(), ip) {
            return net.contains(&ip);
        }
        let (name, only_port) = split_port(&entry);
        if only_port.is_some_and(|only| only != port) {
            return false;
        }
        let name = name.trim_start_matches('[').trim_end_matches(']');
        match (name.parse::<IpAddr>(), ip) {
            (Ok(excepted), Some(ip)) => excepted == ip,
            (Ok(_), None) | (Err(_), Some(_)) => false,
            (Err(_), None) => is_within(&host, name.strip_prefix('*').unwrap_or(name)),
        }
    })
}

/// `example.org` is itself and all below it, `.example.org` only what is below.
fn is_within(host: &str, domain: &str) -> bool {
    match domain.strip_prefix('.') {
        Some("") => false,
        Some(_) => host.ends_with(domain),
        None if domain.is_empty() => false,
        None => host
            .strip_suffix(domain)
            .is_some_and(|before| before.is_empty() || before.ends_with('.')),
    }
}

fn split_port(entry: &str) -> (&str, Option<u16>) {
    match entry.rsplit_once(':') {
        // A second colon outside brackets makes it an IPv6 address.
        Some((name, port)) if !name.contains(':') || name.ends_with(']') => {
            port.parse().map_or((entry, None), |port| (name, Some(port)))
        }
        _ => (entry, None),
    }
}

fn host(server: &Uri) -> String {
    let host = server.host().unwrap_or_default();
    host.trim_start_matches('[').trim_end_matches(']').trim_end_matches('.').to_ascii_lowercase()
}

fn port(server: &Uri) -> u16 {
    server.port_u16().unwrap_or(if server.scheme_str() == Some("http") { 80 } else { 443 })
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    const PROXY: &str = "http://proxy.corp:3128";

    #[rstest]
    #[case::no_variable("https://10.96.0.1", &[], None)]
    #[case::an_empty_one("https://10.96.0.1", &[("HTTPS_PROXY", "")], None)]
    #[case::the_common_one("https://10.96.0.1", &[("HTTPS_PROXY", PROXY)], Some("http://proxy.corp:3128/"))]
    #[case::in_lower_case("https://10.96.0.1", &[("https_proxy", PROXY)], Some("http://proxy.corp:3128/"))]
    #[case::without_a_scheme("https://10.96.0.1", &[("HTTPS_PROXY", "proxy.corp:3128")], Some("http://proxy.corp:3128/"))]
    #[case::the_other_scheme("http://10.96.0.1", &[("HTTPS_PROXY", PROXY)], None)]
    #[case::plain_http("http://10.96.0.1", &[("HTTP_PROXY", PROXY)], Some("http://proxy.corp:3128/"))]
    #[case::loopback_never("https://127.0.0.1:6443", &[("HTTPS_PROXY", PROXY)], None)]
    #[case::loopback_of_six_never("https://[::1]:6443", &[("HTTPS_PROXY", PROXY)], None)]
    #[case::localhost_never("https://localhost:6443", &[("HTTPS_PROXY", PROXY)], None)]
    #[case::excepted("https://10.96.0.1", &[("HTTPS_PROXY", PROXY), ("NO_PROXY", "10.96.0.1")], None)]
    #[case::excepted_in_lower_case("https://10.96.0.1", &[("HTTPS_PROXY", PROXY), ("no_proxy", "10.96.0.1")], None)]
    // kube 5.0.0 would look for the proxy here.
    #[case::the_proxy_is_not_the_server("https://10.96.0.1", &[("HTTPS_PROXY", PROXY), ("NO_PROXY", "proxy.corp")], Some("http://proxy.corp:3128/"))]
    fn chooses(#[case] server: &str, #[case] env: &[(&str, &str)], #[case] want: Option<&str>) {
        let get = |name: &str| {
            env.iter().find(|(known, _)| *known == name).map(|(_, text)| (*text).to_owned())
        };
        let proxy = from_env(&server.parse().unwrap(), &get).unwrap();
        assert_eq!(proxy.map(|uri| uri.to_string()).as_deref(), want);
    }

    #[rstest]
    #[case("https://10.96.0.1", "10.0.0.0/8", true)]
    #[case("https://10.96.0.1", "192.168.0.0/16", false)]
    #[case("https://10.96.0.1:6443", "10.96.0.1:6443", true)]
    #[case("https://10.96.0.1:6443", "10.96.0.1:443", false)]
    #[case("https://[fd00::1]:6443", "fd00::/8", true)]
    #[case("https://[fd00::1]:6443", "fd00::1", true)]
    #[case("https://[fd00::1]:6443", "[fd00::1]:6443", true)]
    #[case("https://[fd00::1]:6443", "[fd00::1]:443", false)]
    #[case("https://api.example.org", "example.org", true)]
    #[case("https://example.org", "example.org", true)]
    #[case("https://badexample.org", "example.org", false)]
    #[case("https://api.example.org", ".example.org", true)]
    #[case("https://example.org", ".example.org", false)]
    #[case("https://api.example.org", "*.example.org", true)]
    #[case("https://API.Example.org", "EXAMPLE.ORG", true)]
    #[case("https://api.example.org", "example.org:443", true)]
    #[case("https://api.example.org", "example.org:6443", false)]
    #[case("https://api.example.org", "*", true)]
    // Entries that mean nothing are passed over, not errors: such lists are in use.
    #[case("https://10.96.0.1", "localhost, 127.0.0.1,.svc,,10.96.0.0/12,", true)]
    #[case("https://10.96.0.1", "no/host,", false)]
    #[case("https://10.96.0.1", ",", false)]
    #[case("https://api.example.org", ".", false)]
    fn excepts(#[case] server: &str, #[case] list: &str, #[case] want: bool) {
        assert_eq!(is_excepted(&server.parse().unwrap(), list), want);
    }

    #[rstest]
    #[case("socks5://user:secret@proxy:1080", "only http:// and https:// proxies are supported")]
    #[case("http://", "not a proxy's address")]
    #[case("http://user:secret@prox y", "not a proxy's address")]
    fn refuses_without_quoting(#[case] text: &str, #[case] problem: &str) {
        let env = |name: &str| (name == "HTTPS_PROXY").then(|| text.to_owned());
        let err = from_env(&Uri::from_static("https://h"), &env).unwrap_err().to_string();
        assert_eq!(err, format!("HTTPS_PROXY: {problem}"));
    }
}
