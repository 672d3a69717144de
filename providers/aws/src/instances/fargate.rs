//! Nodes on Fargate: one pod each, of which there is nothing to see but a network interface.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::sync::Arc;

use ccm_core::cloud::{Ask, CloudError, Kind, ProviderId, Read};
use futures::future::join_all;

use super::look::Word;
use crate::client::Client;
use crate::client::ec2::MOST_VALUES;
use crate::client::ec2::interfaces::{Attachment, FoundInterface};
use crate::error::not_as_absence;

/// What the cloud says of one of them.
#[derive(Clone, Debug)]
pub(super) enum Pod {
    Found(Arc<FoundInterface>),
    Absent,
    Unknown(Arc<CloudError>),
}

impl Pod {
    pub(super) fn word(&self, provider_id: &ProviderId) -> Word {
        match self {
            Self::Found(found) => Word::Fargate(provider_id.clone(), Arc::clone(found)),
            Self::Absent => Word::Absent,
            Self::Unknown(err) => Word::Unknown(Arc::clone(err)),
        }
    }
}

/// Many in one question for a look, each by itself for a confirmation.
pub(super) async fn ask(
    client: &Client,
    cx: &Read,
    ask: Ask,
    vpc: &str,
    addresses: &BTreeSet<Ipv4Addr>,
) -> BTreeMap<Ipv4Addr, Pod> {
    let many = match ask {
        Ask::Look => MOST_VALUES,
        Ask::Confirm => 1,
    };
    let addresses: Vec<_> = addresses.iter().copied().collect();
    let vpc = [vpc.to_owned()];
    let questions = addresses.chunks(many).map(|part| {
        let vpc = &vpc;
        async move {
            let values: Vec<_> = part.iter().map(ToString::to_string).collect();
            let conditions =
                [("private-ip-address", &values[..]), ("vpc-id", vpc), ("status", &in_use())];
            (part, client.find_interfaces(cx, &conditions).await)
        }
    });
    let mut pods = BTreeMap::new();
    for (part, answer) in join_all(questions).await {
        pods.extend(sort(part, answer));
    }
    pods
}

/// Attached ones are in use, and some that are being attached or detached: see [`sort`].
fn in_use() -> [String; 1] {
    ["in-use".to_owned()]
}

fn sort(
    addresses: &[Ipv4Addr],
    answer: Result<Vec<FoundInterface>, CloudError>,
) -> BTreeMap<Ipv4Addr, Pod> {
    let mut found = match answer {
        Ok(found) => found,
        Err(err) => {
            let err = Arc::new(not_as_absence(err));
            return addresses.iter().map(|it| (*it, Pod::Unknown(Arc::clone(&err)))).collect();
        }
    };
    let texts: BTreeSet<_> = addresses.iter().map(ToString::to_string).collect();
    let was_asked_for =
        |one: &&FoundInterface| one.private_ipv4s.iter().any(|it| texts.contains(it));
    let odd = found.iter().find(|one| !was_asked_for(one)).map(|odd| {
        let message = format!("AWS answered with {:?}, which nobody asked for", odd.id);
        Arc::new(CloudError::new(Kind::Internal, message))
    });
    found.sort_by(|one, other| one.id.cmp(&other.id));
    let found: Vec<_> = found.into_iter().map(Arc::new).collect();
    let pod = |address: &Ipv4Addr| {
        let text = address.to_string();
        let with_it = |attachment: Attachment| {
            let has_it = |one: &&Arc<FoundInterface>| {
                one.attachment == attachment && one.private_ipv4s.contains(&text)
            };
            let mut all = found.iter().filter(has_it);
            (all.next(), all.next())
        };
        // One that is being detached says that its pod goes, unless another has the address by now.
        let going = with_it(Attachment::Detaching).0;
        let pod = match with_it(Attachment::Attached) {
            (None, _) if let Some(going) = going => Pod::Found(Arc::clone(going)),
            // The question was not understood: nothing follows from what is missing.
            (None, _) if let Some(odd) = &odd => Pod::Unknown(Arc::clone(odd)),
            (None, _) => Pod::Absent,
            (Some(one), None) => Pod::Found(Arc::clone(one)),
            (Some(one), Some(other)) => {
                let message = format!(
                    "network interfaces {} and {} both have the address {address}",
                    one.id, other.id
                );
                Pod::Unknown(Arc::new(CloudError::new(Kind::InvalidConfiguration, message)))
            }
        };
        (*address, pod)
    };
    addresses.iter().map(pod).collect()
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    use Attachment::{Attached, Detaching, None as Loose};

    fn found(id: &str, addresses: &[&str], attachment: Attachment) -> FoundInterface {
        let private_ipv4s = addresses.iter().map(|&it| it.to_owned()).collect();
        FoundInterface { id: id.to_owned(), attachment, private_ipv4s, ..Default::default() }
    }

    #[rstest]
    #[case::none(vec![], "absent")]
    #[case::one(vec![found("eni-1", &["10.0.0.1"], Attached)], "eni-1")]
    #[case::another(
        vec![found("eni-1", &["10.0.0.2"], Attached)],
        "AWS answered with \"eni-1\", which nobody asked for",
    )]
    #[case::another_beside_it(
        vec![found("eni-1", &["10.0.0.1"], Attached), found("eni-2", &["10.0.0.2"], Attached)],
        "eni-1",
    )]
    #[case::one_that_is_not_attached(vec![found("eni-1", &["10.0.0.1"], Loose)], "absent")]
    #[case::one_that_is_being_detached(vec![found("eni-1", &["10.0.0.1"], Detaching)], "eni-1 goes")]
    #[case::one_that_is_being_detached_beside_another(
        vec![found("eni-1", &["10.0.0.1"], Detaching), found("eni-2", &["10.0.0.1"], Attached)],
        "eni-2",
    )]
    #[case::two(
        vec![
            found("eni-2", &["10.0.0.1"], Attached),
            found("eni-1", &["10.0.0.9", "10.0.0.1"], Attached),
        ],
        "network interfaces eni-1 and eni-2 both have the address 10.0.0.1",
    )]
    fn answers(#[case] there: Vec<FoundInterface>, #[case] want: &str) {
        let address = Ipv4Addr::new(10, 0, 0, 1);
        let said = match &sort(&[address], Ok(there))[&address] {
            Pod::Found(found) if found.attachment == Detaching => format!("{} goes", found.id),
            Pod::Found(found) => found.id.clone(),
            Pod::Absent => "absent".to_owned(),
            Pod::Unknown(err) => err.message().to_owned(),
        };
        assert_eq!(said, want);
    }

    #[test]
    fn a_failure_is_everybodys() {
        let addresses = [Ipv4Addr::new(10, 0, 0, 1), Ipv4Addr::new(10, 0, 0, 2)];
        let pods = sort(&addresses, Err(CloudError::new(Kind::Unavailable, "no")));
        assert!(pods.len() == 2 && pods.values().all(|pod| matches!(pod, Pod::Unknown(_))));
        let pods = sort(&addresses, Err(CloudError::new(Kind::NotFound, "no")));
        let kind = |pod: &Pod| match pod {
            Pod::Unknown(err) => Some(err.kind()),
            Pod::Found(_) | Pod::Absent => None,
        };
        assert!(pods.values().all(|pod| kind(pod) == Some(Kind::Internal)), "{pods:?}");
    }
}
