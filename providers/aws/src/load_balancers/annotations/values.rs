//! The kinds of values that annotations have here.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::ops::Deref;

use ccm_core::cloud::annotations::AnnotationValue;

use super::PREFIX;

/// The kind of load balancer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    Classic,
    /// Classic, by a text that is likely meant otherwise.
    Unheard,
    Network,
    /// Another controller's.
    Elsewhere,
}

impl AnnotationValue for Kind {
    const ACCEPTED: &'static str =
        "nlb, external or nlb-ip; any other text is a Classic Load Balancer";

    fn read(text: &str) -> Option<Self> {
        Some(match text {
            "" => Self::Classic,
            "nlb" => Self::Network,
            "external" | "nlb-ip" => Self::Elsewhere,
            _ => Self::Unheard,
        })
    }
}

/// Keys with values, as the Go program reads them: a key without a value has an empty one, nothing
/// without a key counts, and what follows a second `=` is lost. Blanks around a pair do not count, those
/// around its `=` do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Pairs(pub(crate) BTreeMap<String, String>);

impl AnnotationValue for Pairs {
    const ACCEPTED: &'static str = "key=value, separated by commas";

    fn read(text: &str) -> Option<Self> {
        let pair = |pair: &str| {
            let mut parts = pair.trim().split('=');
            let (key, value) = (parts.next()?, parts.next().unwrap_or(""));
            (!key.is_empty()).then(|| (key.to_owned(), value.to_owned()))
        };
        Some(Self(text.split(',').filter_map(pair).collect()))
    }
}

/// Names, without blanks around them. An empty place in the list is nothing, as in the Go program.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Names(pub(crate) Vec<String>);

impl AnnotationValue for Names {
    const ACCEPTED: &'static str = "words, separated by commas";

    fn read(text: &str) -> Option<Self> {
        let words = text.split(',').map(str::trim).filter(|word| !word.is_empty());
        Some(Self(words.map(str::to_owned).collect()))
    }
}

impl Deref for Names {
    type Target = [String];

    fn deref(&self) -> &[String] {
        &self.0
    }
}

/// Some ports of a Service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ports {
    All,
    /// Numbers and names between commas, as they are written: the Go program takes blanks for a part
    /// of a name, and an empty place for the port without one.
    These(Vec<String>),
}

impl Ports {
    /// Whether this port is one of them.
    pub(crate) fn has(&self, port: u16, name: &str) -> bool {
        let is_it = |word: &str| !word.is_empty() && (word == name || word == port.to_string());
        match self {
            Self::All => true,
            Self::These(words) => match &words[..] {
                [only] if only.trim() == "*" => true,
                words if words.iter().all(|word| word.trim().is_empty()) => true,
                words => words.iter().any(|word| is_it(word.trim())),
            },
        }
    }

    /// The same as the Go program reads it.
    pub(crate) fn has_to_go(&self, port: u16, name: &str) -> bool {
        let is_it = |word: &String| match word.parse::<i64>() {
            Ok(number) => number == i64::from(port),
            Err(_) => word == name,
        };
        match self {
            Self::All => true,
            Self::These(words) => words.iter().any(is_it),
        }
    }
}

impl AnnotationValue for Ports {
    const ACCEPTED: &'static str = "* or numbers and names of ports, separated by commas";

    fn read(text: &str) -> Option<Self> {
        if matches!(text, "" | "*") {
            return Some(Self::All);
        }
        Some(Self::These(text.split(',').map(str::to_owned).collect()))
    }
}

/// The one word that turns the PROXY protocol on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Only;

impl AnnotationValue for Only {
    const ACCEPTED: &'static str = "*, for all ports";

    fn read(text: &str) -> Option<Self> {
        (text == "*").then_some(Self)
    }
}

/// Where a node is asked whether it is well.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum HealthCheckPort {
    /// Where its traffic goes.
    Traffic,
    Number(u16),
    /// Some other text, which is wrong where it has an effect.
    Nonsense,
}

impl AnnotationValue for HealthCheckPort {
    const ACCEPTED: &'static str = "traffic-port, or a port from 1 to 65535";

    fn read(text: &str) -> Option<Self> {
        if text == "traffic-port" {
            return Some(Self::Traffic);
        }
        let port = std::num::NonZeroU16::read(text);
        Some(port.map_or(Self::Nonsense, |port| Self::Number(port.get())))
    }
}

/// Private addresses for a load balancer, as they are written: they count only when one is made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct PrivateAddresses(pub(crate) Names);

impl AnnotationValue for PrivateAddresses {
    const ACCEPTED: &'static str = "IPv4 addresses, separated by commas";

    fn read(text: &str) -> Option<Self> {
        Names::read(text).map(Self)
    }
}

impl PrivateAddresses {
    /// The addresses, or the first text that is none.
    pub(crate) fn addresses(&self) -> Result<Vec<Ipv4Addr>, &str> {
        self.0.iter().map(|text| text.parse().map_err(|_| text.as_str())).collect()
    }
}

/// Minutes between access logs. Other numbers than AWS accepts matter only where there are logs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct EmitInterval(pub(crate) u32);

impl AnnotationValue for EmitInterval {
    const ACCEPTED: &'static str = "5 or 60";

    fn read(text: &str) -> Option<Self> {
        text.parse().ok().map(Self)
    }
}

/// Seconds that a health check's answer may take. Any whole number: the Go program reads and
/// ignores it for a Network Load Balancer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct HealthTimeout(pub(crate) i64);

impl AnnotationValue for HealthTimeout {
    const ACCEPTED: &'static str = "a whole number, from 2 to 60 for a Classic Load Balancer, or to \
                                    120 for a Network Load Balancer";

    fn read(text: &str) -> Option<Self> {
        text.parse().ok().map(Self)
    }
}

/// `preserve_client_ip.enabled` and `proxy_protocol_v2.enabled`, as far as they are named.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct TargetGroupAttributes(pub(crate) BTreeMap<&'static str, bool>);

/// Whether targets see the client's address.
pub(crate) const PRESERVE_CLIENT_IP: &str = "preserve_client_ip.enabled";
/// Whether targets are told the client by the PROXY protocol.
pub(crate) const PROXY_PROTOCOL: &str = "proxy_protocol_v2.enabled";

impl AnnotationValue for TargetGroupAttributes {
    const ACCEPTED: &'static str = "preserve_client_ip.enabled and proxy_protocol_v2.enabled, each \
                                    =true or =false, separated by commas";

    fn read(text: &str) -> Option<Self> {
        let mut read = BTreeMap::new();
        for (key, value) in Pairs::read(text)?.0 {
            let known = [PRESERVE_CLIENT_IP, PROXY_PROTOCOL];
            let key = known.into_iter().find(|known| *known == key.trim())?;
            let value = match value.trim() {
                "true" => true,
                "false" => false,
                _ => return None,
            };
            read.insert(key, value);
        }
        Some(Self(read))
    }
}

ccm_core::whole_number! {
    /// Seconds for which connections are let end.
    pub(crate) struct DrainingSeconds(pub(crate) u32): 1 to 3600
}
ccm_core::whole_number! {
    /// Seconds for which a connection may be silent.
    pub(crate) struct IdleSeconds(pub(crate) u32): 1 to 4000
}
ccm_core::whole_number! {
    /// Seconds between two health checks.
    pub(crate) struct HealthInterval(pub(crate) u32): 5 to 300
}
ccm_core::whole_number! {
    /// Answers in a row.
    pub(crate) struct Threshold(pub(crate) u32): 2 to 10
}

/// Bad answers in a row. Any whole number: the Go program reads it, and by itself never sends it to a
/// target group of a Network Load Balancer that is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct UnhealthyThreshold(pub(crate) i64);

impl AnnotationValue for UnhealthyThreshold {
    const ACCEPTED: &'static str = Threshold::ACCEPTED;

    fn read(text: &str) -> Option<Self> {
        text.parse().ok().map(Self)
    }
}

impl UnhealthyThreshold {
    /// The number, or what is wrong with it where AWS does not accept it.
    pub(crate) fn accepted(self) -> Result<u32, String> {
        let Self(said) = self;
        let why = || {
            let accepted = Self::ACCEPTED;
            format!(
                "annotation {PREFIX}healthcheck-unhealthy-threshold=\"{said}\": must be {accepted}"
            )
        };
        Threshold::read(&said.to_string()).map(|answers| answers.0).ok_or_else(why)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("a=b, c = d=e ,f,g=,=h,", &[("a", "b"), ("c ", " d"), ("f", ""), ("g", "")])]
    #[case("", &[])]
    fn pairs_are_read_as_ever(#[case] text: &str, #[case] want: &[(&str, &str)]) {
        let want = want.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        assert_eq!(Pairs::read(text), Some(Pairs(want.collect())));
    }

    #[rstest]
    #[case("a, b", &["a", "b"])]
    #[case("a,,b,", &["a", "b"])]
    #[case(" , ", &[])]
    #[case("", &[])]
    fn an_empty_place_is_no_name(#[case] text: &str, #[case] want: &[&str]) {
        assert_eq!(*Names::read(text).unwrap(), *want);
    }

    #[rstest]
    #[case("10.0.0.1, 10.0.1.1", Ok(vec![Ipv4Addr::new(10, 0, 0, 1), Ipv4Addr::new(10, 0, 1, 1)]))]
    #[case("", Ok(vec![]))]
    #[case("10.0.0.1,there", Err("there"))]
    fn private_addresses(#[case] text: &str, #[case] want: Result<Vec<Ipv4Addr>, &str>) {
        assert_eq!(PrivateAddresses::read(text).unwrap().addresses(), want);
    }

    #[rstest]
    #[case("15", Some(15))]
    #[case("-1", Some(-1))]
    #[case("+1", Some(1))]
    #[case("", None)]
    #[case("5s", None)]
    fn any_whole_number_is_a_timeout(#[case] text: &str, #[case] want: Option<i64>) {
        assert_eq!(HealthTimeout::read(text).map(|it| it.0), want);
    }

    #[rstest]
    #[case("nlb", Kind::Network)]
    #[case("external", Kind::Elsewhere)]
    #[case("nlb-ip", Kind::Elsewhere)]
    #[case("", Kind::Classic)]
    #[case("NLB", Kind::Unheard)]
    fn kinds(#[case] text: &str, #[case] want: Kind) {
        assert_eq!(Kind::read(text), Some(want));
    }

    /// Of the ports 443, called https, and 80, which has no name: those that are meant, and those that
    /// the Go program finds.
    #[rstest]
    #[case::all("*", &[443, 80], &[443, 80])]
    #[case::not_said("", &[443, 80], &[443, 80])]
    #[case::a_blank(" ", &[443, 80], &[])]
    #[case::all_and_a_blank("* ", &[443, 80], &[])]
    #[case::number("443", &[443], &[443])]
    #[case::name("https", &[443], &[443])]
    #[case::behind_a_blank("80, https", &[80, 443], &[80])]
    #[case::an_empty_place("https,", &[443], &[443, 80])]
    #[case::a_number_in_its_way("0443,+80", &[], &[443, 80])]
    #[case::another("8443", &[], &[])]
    fn ports(#[case] text: &str, #[case] meant: &[u16], #[case] to_go: &[u16]) {
        let said = Ports::read(text).unwrap();
        let all = |has: &dyn Fn(u16, &str) -> bool| {
            let mut found = vec![(443, "https"), (80, "")];
            found.retain(|(port, name)| has(*port, name));
            found.into_iter().map(|(port, _)| port).collect::<BTreeSet<_>>()
        };
        let want = |ports: &[u16]| ports.iter().copied().collect::<BTreeSet<_>>();
        assert_eq!(all(&|port, name| said.has(port, name)), want(meant));
        assert_eq!(all(&|port, name| said.has_to_go(port, name)), want(to_go));
    }

    #[rstest]
    #[case("preserve_client_ip.enabled=true", Some(&[(PRESERVE_CLIENT_IP, true)][..]))]
    #[case("", Some(&[][..]))]
    #[case("preserve_client_ip.enabled", None)]
    #[case("preserve_client_ip.enabled=yes", None)]
    #[case("deregistration_delay.timeout_seconds=10", None)]
    fn attributes(#[case] text: &str, #[case] want: Option<&[(&'static str, bool)]>) {
        let want = want.map(|pairs| TargetGroupAttributes(pairs.iter().copied().collect()));
        assert_eq!(TargetGroupAttributes::read(text), want);
    }
}
