//! What `status.addresses` should be. Pure.

use std::collections::HashSet;
use std::net::IpAddr;

use crate::cloud::{AddressKind, NodeAddress};
use crate::cluster::keys;

/// The annotation cannot be obeyed. Says so to the node's owner.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum ProvidedIpError {
    /// It cannot be read.
    #[error(
        "annotation {key} is {text:?}; accepted is one IP address, or two of different families \
         separated by a comma", key = keys::PROVIDED_NODE_IP
    )]
    Unreadable {
        /// What it says.
        text: String,
    },
    /// The machine does not have the address.
    #[error(
        "annotation {key} asks for {wanted}, which is not an address of the instance; it has {has}",
        key = keys::PROVIDED_NODE_IP, has = listed(has)
    )]
    Missing {
        /// The address that was asked for.
        wanted: IpAddr,
        /// The addresses that the machine has.
        has: Vec<IpAddr>,
    },
}

fn listed(addresses: &[IpAddr]) -> String {
    if addresses.is_empty() {
        return "none".to_owned();
    }
    let texts: Vec<_> = addresses.iter().map(ToString::to_string).collect();
    texts.join(", ")
}

/// The addresses that the node should show, in their order. `None`: leave what is there.
///
/// - Nothing from the cloud leaves the node alone.
/// - Host names that the kubelet reported stay, unless the cloud has one.
/// - With the annotation each requested address comes first, in the order asked, and is the only
///   one of its type; the types that were not asked for follow as the cloud has them.
/// - Repetitions are dropped: the API refuses a list with one.
pub(super) fn wanted(
    from_cloud: &[NodeAddress],
    current: &[NodeAddress],
    provided: Option<&str>,
) -> Result<Option<Vec<NodeAddress>>, ProvidedIpError> {
    if from_cloud.is_empty() {
        return Ok(None);
    }
    let mut all = from_cloud.to_vec();
    let is_hostname = |address: &&NodeAddress| address.kind == AddressKind::Hostname;
    if !all.iter().any(|address| is_hostname(&address)) {
        all.extend(current.iter().filter(is_hostname).cloned());
    }
    let mut chosen = match provided {
        None => all,
        Some(text) => pin(&requested(text)?, &all)?,
    };
    let mut seen = HashSet::new();
    chosen.retain(|address| seen.insert(address.clone()));
    Ok(Some(chosen))
}

/// Reads the annotation: one address, or two of different families.
///
/// As strict as upstream: no blanks, and no unspecified address in a pair.
fn requested(text: &str) -> Result<Vec<IpAddr>, ProvidedIpError> {
    let unreadable = || ProvidedIpError::Unreadable { text: text.to_owned() };
    let addresses = text
        .split(',')
        .map(str::parse)
        .collect::<Result<Vec<IpAddr>, _>>()
        .map_err(|_| unreadable())?;
    match *addresses.as_slice() {
        [_] => Ok(addresses),
        [a, b] if a.is_ipv4() != b.is_ipv4() && !a.is_unspecified() && !b.is_unspecified() => {
            Ok(addresses)
        }
        _ => Err(unreadable()),
    }
}

/// Puts the requested addresses first and drops what else is of their types.
fn pin(requested: &[IpAddr], all: &[NodeAddress]) -> Result<Vec<NodeAddress>, ProvidedIpError> {
    let mut chosen: Vec<NodeAddress> = Vec::with_capacity(all.len());
    for wanted in requested {
        let matches = all.iter().filter(|address| address.ip() == Some(*wanted));
        let before = chosen.len();
        chosen.extend(matches.cloned());
        if chosen.len() == before {
            let has = all.iter().filter_map(NodeAddress::ip).collect();
            return Err(ProvidedIpError::Missing { wanted: *wanted, has });
        }
    }
    let pinned: HashSet<_> = chosen.iter().map(|address| address.kind).collect();
    chosen.extend(all.iter().filter(|address| !pinned.contains(&address.kind)).cloned());
    Ok(chosen)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    /// `Int 10.1.1.1, Host h` and so on.
    fn list(text: &str) -> Vec<NodeAddress> {
        let one = |item: &str| {
            let (kind, address) = item.trim().split_once(' ').unwrap();
            let kind = match kind {
                "Int" => AddressKind::InternalIp,
                "Ext" => AddressKind::ExternalIp,
                "IntDns" => AddressKind::InternalDns,
                "Host" => AddressKind::Hostname,
                other => panic!("{other}"),
            };
            NodeAddress::new(kind, address)
        };
        text.split(',').filter(|item| !item.trim().is_empty()).map(one).collect()
    }

    // The first rows are the table of the behaviour that we replace.
    #[rstest]
    #[case::no_wish(
        None,
        "Int 10.1.1.1, Ext 55.5.5.5, Host h",
        "Int 10.1.1.1, Ext 55.5.5.5, Host h"
    )]
    #[case::a_pinned_internal_address_is_the_only_one(
        Some("10.1.1.1"),
        "Int 10.1.1.1, Int 10.2.2.2, Ext 55.5.5.5, Host h",
        "Int 10.1.1.1, Ext 55.5.5.5, Host h"
    )]
    #[case::a_pinned_external_address_comes_first(
        Some("55.5.5.5"),
        "Int 10.1.1.1, Ext 55.5.5.5, Host h",
        "Ext 55.5.5.5, Int 10.1.1.1, Host h"
    )]
    #[case::equal_as_numbers_with_the_clouds_text(
        Some("fd00::5"),
        "Int 10.1.1.1, Int fd00:0:0::5, Host h",
        "Int fd00:0:0::5, Host h"
    )]
    #[case::a_pair_in_the_order_asked(
        Some("10.1.1.1,fd00::5"),
        "Int fd00::5, Int 10.1.1.1, Host h",
        "Int 10.1.1.1, Int fd00::5, Host h"
    )]
    #[case::a_pair_of_two_types(
        Some("55.5.5.5,fd00::5"),
        "Int 10.1.1.1, Ext 55.5.5.5, Int fd00::5, Ext 2001:db8::1, Host h",
        "Ext 55.5.5.5, Int fd00::5, Host h"
    )]
    #[case::a_host_name_that_is_an_address_takes_part(
        Some("10.1.1.1"),
        "Int 10.1.1.1, Host 10.1.1.1",
        "Int 10.1.1.1, Host 10.1.1.1"
    )]
    #[case::repetitions_are_dropped(
        None,
        "Int 10.1.1.1, Int 10.1.1.1, Host h",
        "Int 10.1.1.1, Host h"
    )]
    fn addresses(#[case] provided: Option<&str>, #[case] cloud: &str, #[case] expected: &str) {
        assert_eq!(wanted(&list(cloud), &[], provided), Ok(Some(list(expected))));
    }

    #[rstest]
    #[case::not_an_address("10.1.1")]
    #[case::empty("")]
    #[case::blanks("10.1.1.1, fd00::5")]
    #[case::one_family("10.1.1.1,10.2.2.2")]
    #[case::unspecified_in_a_pair("0.0.0.0,fd00::5")]
    #[case::three("10.1.1.1,fd00::5,10.2.2.2")]
    fn an_unreadable_wish_is_refused(#[case] provided: &str) {
        let err = wanted(&list("Int 10.1.1.1"), &[], Some(provided)).unwrap_err();
        assert_eq!(err, ProvidedIpError::Unreadable { text: provided.to_owned() });
        assert!(err.to_string().contains(keys::PROVIDED_NODE_IP));
    }

    #[test]
    fn a_wish_for_another_machines_address_is_refused_with_what_there_is() {
        let err = wanted(&list("Int 10.1.1.1, Host h"), &[], Some("10.1.1.1,fd00::5")).unwrap_err();
        let has = vec!["10.1.1.1".parse().unwrap()];
        assert_eq!(err, ProvidedIpError::Missing { wanted: "fd00::5".parse().unwrap(), has });
    }

    #[rstest]
    #[case::kept_where_the_cloud_has_none(
        "Int 10.1.1.1",
        "Host old, Int 9.9.9.9",
        "Int 10.1.1.1, Host old"
    )]
    #[case::replaced_where_the_cloud_has_one(
        "Int 10.1.1.1, Host new",
        "Host old",
        "Int 10.1.1.1, Host new"
    )]
    fn the_kubelets_host_name_is(
        #[case] cloud: &str,
        #[case] current: &str,
        #[case] expected: &str,
    ) {
        assert_eq!(wanted(&list(cloud), &list(current), None), Ok(Some(list(expected))));
    }

    #[test]
    fn nothing_from_the_cloud_leaves_the_node_alone() {
        assert_eq!(wanted(&[], &list("Int 10.1.1.1"), Some("nonsense")), Ok(None));
    }
}
