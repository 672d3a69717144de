//! The kinds of values that annotations have here.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::ops::Deref;

use ccm_core::cloud::annotations::AnnotationValue;

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
/// without a key counts, and what follows a second `=` is lost.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Pairs(pub(crate) BTreeMap<String, String>);

impl AnnotationValue for Pairs {
    const ACCEPTED: &'static str = "key=value, separated by commas";

    fn read(text: &str) -> Option<Self> {
        let pair = |pair: &str| {
            let mut parts = pair.trim().split('=');
            let (key, value) = (parts.next()?.trim(), parts.next().unwrap_or("").trim());
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
    /// Numbers and names, with the blanks around them: the Go program takes those for a part of the
    /// name.
    These(Vec<String>),
}

impl AnnotationValue for Ports {
    const ACCEPTED: &'static str = "* or numbers and names of ports, separated by commas";

    fn read(text: &str) -> Option<Self> {
        if matches!(text.trim(), "" | "*") {
            return Some(Self::All);
        }
        let words = text.split(',').filter(|word| !word.trim().is_empty());
        Some(Self::These(words.map(str::to_owned).collect()))
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
}

impl AnnotationValue for HealthCheckPort {
    const ACCEPTED: &'static str = "traffic-port, or a port from 1 to 65535";

    fn read(text: &str) -> Option<Self> {
        if text == "traffic-port" {
            return Some(Self::Traffic);
        }
        std::num::NonZeroU16::read(text).map(|port| Self::Number(port.get()))
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
            let key =
                [PRESERVE_CLIENT_IP, PROXY_PROTOCOL].into_iter().find(|known| *known == key)?;
            let value = match &*value {
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

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("a=b, c = d=e ,f,g=,=h,", &[("a", "b"), ("c", "d"), ("f", ""), ("g", "")])]
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

    #[rstest]
    #[case("*", Some(Ports::All))]
    #[case(" ", Some(Ports::All))]
    #[case("80, https", Some(Ports::These(vec!["80".into(), " https".into()])))]
    fn ports(#[case] text: &str, #[case] want: Option<Ports>) {
        assert_eq!(Ports::read(text), want);
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
