//! Security groups.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use aws_sdk_ec2::types::{
    IpPermission, IpRange, Ipv6Range, PrefixListId, ResourceType, Tag, TagSpecification,
    UserIdGroupPair,
};
use ccm_core::cloud::{CloudError, Kind, Read, Write};
use ipnet::{Ipv4Net, Ipv6Net};

use super::ec2::{self, Condition, MOST_VALUES};
use super::{Client, read, write};
use crate::actions::{
    AUTHORIZE_SECURITY_GROUP_INGRESS, CREATE_SECURITY_GROUP, CREATE_TAGS, DELETE_SECURITY_GROUP,
    DESCRIBE_SECURITY_GROUPS, REVOKE_SECURITY_GROUP_INGRESS,
};
use crate::marks::Tags;

/// A security group, with its rules for what comes in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SecurityGroup {
    /// `sg-…`.
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) tags: Tags,
    pub(crate) ingress: BTreeSet<Rule>,
}

/// One rule for one peer: AWS groups rules that differ in nothing but the peer, which says nothing.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Rule {
    pub(crate) what: Traffic,
    pub(crate) peer: Peer,
    /// Not a part of what is allowed: two rules that differ in nothing else cannot be.
    pub(crate) description: Option<String>,
}

/// What a rule lets through.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Traffic {
    /// `tcp`, `udp`, `icmp`, `-1` for everything, or a number.
    pub(crate) protocol: String,
    /// The first and the last port; the type and the code for ICMP. `None`: all.
    pub(crate) ports: Option<(i32, i32)>,
}

/// Who may send.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Peer {
    V4(Ipv4Net),
    V6(Ipv6Net),
    /// Whoever is in this security group.
    Group(String),
    PrefixList(String),
    /// A range that is none, as it stands.
    Odd(String),
}

impl Traffic {
    /// One port of `tcp` or `udp`.
    pub(crate) fn port(protocol: &str, port: u16) -> Self {
        Self { protocol: protocol.to_owned(), ports: Some((port.into(), port.into())) }
    }

    /// "Fragmentation needed": without it senders never learn that their packets are too large.
    pub(crate) fn path_mtu() -> Self {
        Self { protocol: "icmp".to_owned(), ports: Some((3, 4)) }
    }

    /// Everything.
    pub(crate) fn all() -> Self {
        Self { protocol: "-1".to_owned(), ports: None }
    }
}

impl Rule {
    /// The same without its description: what is compared where only the effect counts.
    pub(crate) fn bare(&self) -> (&Traffic, &Peer) {
        (&self.what, &self.peer)
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Traffic { protocol, ports } = &self.what;
        match (protocol.as_str(), ports) {
            ("-1", _) => f.write_str("everything")?,
            ("icmp", Some((3, 4))) => f.write_str("icmp fragmentation needed")?,
            (protocol, None) => write!(f, "{protocol}")?,
            (protocol, Some((from, to))) if from == to => write!(f, "{protocol} {from}")?,
            (protocol, Some((from, to))) => write!(f, "{protocol} {from}-{to}")?,
        }
        match &self.peer {
            Peer::V4(range) => write!(f, " from {range}"),
            Peer::V6(range) => write!(f, " from {range}"),
            Peer::Group(id) | Peer::PrefixList(id) => write!(f, " from {id}"),
            Peer::Odd(text) => write!(f, " from {text:?}"),
        }
    }
}

impl Client {
    /// The groups that pass all filters, each once; a filter passes what has one of its values, however
    /// many it has.
    pub(crate) async fn security_groups(
        &self,
        cx: &Read,
        filters: &[(&str, Vec<String>)],
    ) -> Result<Vec<SecurityGroup>, CloudError> {
        let mut groups = BTreeMap::new();
        for filters in portions(filters) {
            let mut token = None;
            loop {
                let request = self.sdk()?.ec2.describe_security_groups();
                let request = request.set_filters(Some(ec2::filters(&filters)));
                let request = request.set_next_token(token);
                let page = read(cx, &DESCRIBE_SECURITY_GROUPS, request.send()).await?;
                let found = page.security_groups.unwrap_or_default().into_iter().map(group);
                groups.extend(found.map(|group| (group.id.clone(), group)));
                token = page.next_token.filter(|token| !token.is_empty());
                if token.is_none() {
                    break;
                }
            }
        }
        Ok(groups.into_values().collect())
    }

    /// Makes a group without rules and gives its ID.
    pub(crate) async fn create_security_group(
        &self,
        cx: &Write,
        vpc: &str,
        name: &str,
        description: &str,
        tags: &Tags,
    ) -> Result<String, CloudError> {
        let tags = TagSpecification::builder()
            .resource_type(ResourceType::SecurityGroup)
            .set_tags(Some(tag_list(tags)))
            .build();
        let request = self.sdk()?.ec2.create_security_group();
        let request = request.vpc_id(vpc).group_name(name).description(description);
        let request = request.tag_specifications(tags);
        let made = write(cx, &CREATE_SECURITY_GROUP, request.send()).await?;
        made.group_id.ok_or_else(|| {
            CloudError::new(Kind::Unavailable, "CreateSecurityGroup was answered without an ID")
        })
    }

    /// Deletes a group. One that is gone already is success; one that is in use is a
    /// [`Kind::Conflict`].
    pub(crate) async fn delete_security_group(
        &self,
        cx: &Write,
        id: &str,
    ) -> Result<(), CloudError> {
        let request = self.sdk()?.ec2.delete_security_group().group_id(id);
        gone_is_done(write(cx, &DELETE_SECURITY_GROUP, request.send()).await)
    }

    /// Adds rules, all or none. [`Kind::Conflict`] where one of them is there already.
    pub(crate) async fn authorize(
        &self,
        cx: &Write,
        group: &str,
        rules: &BTreeSet<Rule>,
    ) -> Result<(), CloudError> {
        let request = self.sdk()?.ec2.authorize_security_group_ingress().group_id(group);
        let request = request.set_ip_permissions(Some(rules.iter().map(permission).collect()));
        let sent = write(cx, &AUTHORIZE_SECURITY_GROUP_INGRESS, request.send()).await;
        sent.map(drop).map_err(|err| no_room(group, rules.len(), err))
    }

    /// Takes rules away, whatever their description. Those that are gone already are success.
    pub(crate) async fn revoke(
        &self,
        cx: &Write,
        group: &str,
        rules: &BTreeSet<Rule>,
    ) -> Result<(), CloudError> {
        let request = self.sdk()?.ec2.revoke_security_group_ingress().group_id(group);
        let request = request.set_ip_permissions(Some(rules.iter().map(permission).collect()));
        match write(cx, &REVOKE_SECURITY_GROUP_INGRESS, request.send()).await.map(drop) {
            // One of them may be what is missing: what is left shows at the next look.
            Err(err) if err.kind() == Kind::NotFound && rules.len() > 1 => {
                let message = "rules that were to be revoked are not there any more";
                Err(CloudError::new(Kind::Conflict, message).with_source(err))
            }
            answer => gone_is_done(answer),
        }
    }

    /// Adds tags to a group, or changes them.
    pub(crate) async fn tag_security_group(
        &self,
        cx: &Write,
        id: &str,
        tags: &Tags,
    ) -> Result<(), CloudError> {
        let request = self.sdk()?.ec2.create_tags().resources(id).set_tags(Some(tag_list(tags)));
        write(cx, &CREATE_TAGS, request.send()).await.map(drop)
    }
}

/// Says which group is full, and what helps.
fn no_room(group: &str, rules: usize, err: CloudError) -> CloudError {
    if err.kind() != Kind::QuotaExceeded {
        return err;
    }
    let message = format!(
        "security group {group} has no room for {rules} more rules: AWS takes 60 by default, so raise \
         the quota \"Inbound or outbound rules per security group\", or have fewer ports and source \
         ranges ({})",
        err.message()
    );
    CloudError::new(Kind::QuotaExceeded, message).with_source(err)
}

/// The same question in as many as EC2 takes the values of.
fn portions<'a>(filters: &'a [(&'a str, Vec<String>)]) -> Vec<Vec<Condition<'a>>> {
    let mut questions = vec![Vec::new()];
    for (name, values) in filters {
        let with = |question: &Vec<Condition<'a>>| -> Vec<_> {
            let some = values.chunks(MOST_VALUES);
            some.map(|some| [&question[..], &[(*name, some)]].concat()).collect()
        };
        questions = questions.iter().flat_map(with).collect();
    }
    questions
}

/// What was to go and is not there is as it should be.
pub(crate) fn gone_is_done<T>(answer: Result<T, CloudError>) -> Result<(), CloudError> {
    match answer {
        Err(err) if err.kind() == Kind::NotFound => Ok(()),
        answer => answer.map(drop),
    }
}

/// Tags as EC2 takes them.
pub(crate) fn tag_list(tags: &Tags) -> Vec<Tag> {
    tags.iter().map(|(key, value)| Tag::builder().key(key).value(value).build()).collect()
}

/// Tags as EC2 gives them.
pub(crate) fn tags_of(list: Option<Vec<Tag>>) -> Tags {
    let pair = |tag: Tag| Some((tag.key?, tag.value.unwrap_or_default()));
    list.unwrap_or_default().into_iter().filter_map(pair).collect()
}

fn group(group: aws_sdk_ec2::types::SecurityGroup) -> SecurityGroup {
    SecurityGroup {
        id: group.group_id.unwrap_or_default(),
        name: group.group_name.unwrap_or_default(),
        tags: tags_of(group.tags),
        ingress: group.ip_permissions.unwrap_or_default().into_iter().flat_map(rules).collect(),
    }
}

fn rules(permission: IpPermission) -> Vec<Rule> {
    let protocol = permission.ip_protocol.unwrap_or_default();
    let ports = match (permission.from_port, permission.to_port) {
        (Some(from), Some(to)) if protocol != "-1" => Some((from, to)),
        _ => None,
    };
    let what = Traffic { protocol, ports };
    let rule = |peer, description| Rule { what: what.clone(), peer, description };
    let v4 = permission.ip_ranges.unwrap_or_default().into_iter().map(|range| {
        let text = range.cidr_ip.unwrap_or_default();
        rule(text.parse().map_or_else(|_| Peer::Odd(text), Peer::V4), range.description)
    });
    let v6 = permission.ipv6_ranges.unwrap_or_default().into_iter().map(|range| {
        let text = range.cidr_ipv6.unwrap_or_default();
        rule(text.parse().map_or_else(|_| Peer::Odd(text), Peer::V6), range.description)
    });
    let groups = permission
        .user_id_group_pairs
        .unwrap_or_default()
        .into_iter()
        .map(|pair| rule(Peer::Group(pair.group_id.unwrap_or_default()), pair.description));
    let lists = permission.prefix_list_ids.unwrap_or_default().into_iter().map(|list| {
        rule(Peer::PrefixList(list.prefix_list_id.unwrap_or_default()), list.description)
    });
    v4.chain(v6).chain(groups).chain(lists).collect()
}

fn permission(rule: &Rule) -> IpPermission {
    let Rule { what: Traffic { protocol, ports }, peer, description } = rule;
    let builder = IpPermission::builder().ip_protocol(protocol);
    let builder =
        builder.set_from_port(ports.map(|(from, _)| from)).set_to_port(ports.map(|(_, to)| to));
    let description = description.clone();
    match peer {
        Peer::V4(range) => builder.ip_ranges(
            IpRange::builder().cidr_ip(range.to_string()).set_description(description).build(),
        ),
        Peer::Odd(text) => {
            builder.ip_ranges(IpRange::builder().cidr_ip(text).set_description(description).build())
        }
        Peer::V6(range) => builder.ipv6_ranges(
            Ipv6Range::builder().cidr_ipv6(range.to_string()).set_description(description).build(),
        ),
        Peer::Group(id) => builder.user_id_group_pairs(
            UserIdGroupPair::builder().group_id(id).set_description(description).build(),
        ),
        Peer::PrefixList(id) => builder.prefix_list_ids(
            PrefixListId::builder().prefix_list_id(id).set_description(description).build(),
        ),
    }
    .build()
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::no_condition(&[], vec![vec![]])]
    #[case::few_values(&[("vpc-id", 1), ("tag-key", 2)], vec![vec![1, 2]])]
    #[case::as_many_as_fit(&[("group-id", 100)], vec![vec![100]])]
    #[case::more(&[("ip-permission.group-id", 201)], vec![vec![100], vec![100], vec![1]])]
    #[case::beside_another(&[("vpc-id", 1), ("group-id", 101)], vec![vec![1, 100], vec![1, 1]])]
    #[case::no_value_passes_nothing(&[("vpc-id", 1), ("group-id", 0)], vec![])]
    fn a_question_has_as_many_values_as_ec2_takes(
        #[case] filters: &[(&str, usize)],
        #[case] want: Vec<Vec<usize>>,
    ) {
        let values = |count: usize| (0..count).map(|it| format!("sg-{it}")).collect();
        let filters: Vec<_> = filters.iter().map(|(name, it)| (*name, values(*it))).collect();
        let asked = portions(&filters);
        let sizes: Vec<Vec<_>> =
            asked.iter().map(|it| it.iter().map(|(_, values)| values.len()).collect()).collect();
        assert_eq!(sizes, want);
        for (at, (name, all)) in filters.iter().enumerate() {
            let of: BTreeSet<_> = asked.iter().flat_map(|it| it[at].1).collect();
            assert!(asked.iter().all(|it| it[at].0 == *name));
            assert_eq!(of.len(), if asked.is_empty() { 0 } else { all.len() });
        }
    }

    #[test]
    fn a_full_group_says_which_it_is_and_what_helps() {
        let code =
            "AuthorizeSecurityGroupIngress was refused: RulesPerSecurityGroupLimitExceeded: no";
        let err = no_room("sg-1", 7, CloudError::new(Kind::QuotaExceeded, code));
        assert_eq!(err.kind(), Kind::QuotaExceeded);
        for word in ["sg-1", "7 more rules", "Inbound or outbound rules per security group", code] {
            assert!(err.message().contains(word), "{err}");
        }
        let err = no_room("sg-1", 7, CloudError::new(Kind::Conflict, "no"));
        assert_eq!((err.kind(), err.message()), (Kind::Conflict, "no"));
    }

    #[test]
    fn grouped_rules_are_taken_apart_and_put_together_alike() {
        let grouped = IpPermission::builder()
            .ip_protocol("tcp")
            .from_port(80)
            .to_port(80)
            .ip_ranges(IpRange::builder().cidr_ip("10.0.0.0/8").description("a").build())
            .ip_ranges(IpRange::builder().cidr_ip("nonsense").build())
            .ipv6_ranges(Ipv6Range::builder().cidr_ipv6("fd00::/8").build())
            .user_id_group_pairs(UserIdGroupPair::builder().group_id("sg-1").build())
            .prefix_list_ids(PrefixListId::builder().prefix_list_id("pl-1").build())
            .build();
        let apart = rules(grouped);
        let lines: Vec<_> = apart.iter().map(ToString::to_string).collect();
        assert_eq!(
            lines,
            [
                "tcp 80 from 10.0.0.0/8",
                "tcp 80 from \"nonsense\"",
                "tcp 80 from fd00::/8",
                "tcp 80 from sg-1",
                "tcp 80 from pl-1",
            ]
        );
        for rule in &apart {
            assert_eq!(rules(permission(rule)), std::slice::from_ref(rule));
        }
        let all =
            Rule { what: Traffic::all(), peer: Peer::Group("sg-2".into()), description: None };
        assert_eq!(rules(permission(&all)), [all]);
    }
}
