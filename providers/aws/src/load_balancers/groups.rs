//! The security group that is made for a load balancer: which rules it has to have, and what that takes.

use std::collections::BTreeSet;
use std::fmt;

use ccm_core::cloud::{CloudError, Effect, Kind, ObjectId, Write};

use super::draft::Draft;
use crate::client::Client;
use crate::client::groups::{Peer, Rule, SecurityGroup};
use crate::ground::{Cluster, Home};
use crate::marks::{MANAGED_KEY, SERVICE_KEY, Tags};

/// How many rules of one direction a security group holds, unless the account's quota was raised.
/// <https://docs.aws.amazon.com/vpc/latest/userguide/amazon-vpc-limits.html>
const MOST_RULES: usize = 60;

/// Whether so many rules have to go before so many come, because a group may have no room for all of them.
///
/// Not where what comes may have no room even then: it is refused, and what works must not be gone. A
/// prefix list counts as many rules as it may have entries, which is not known here, and of a group with
/// more rules than usual the limit is not: there nothing but room for as many is certain.
pub(crate) fn is_tight(ingress: &BTreeSet<Rule>, goes: usize, comes: usize) -> bool {
    let beside = ingress.len() + comes;
    let has_lists = ingress.iter().any(|rule| matches!(rule.peer, Peer::PrefixList(_)));
    if has_lists || ingress.len() > MOST_RULES {
        return comes <= goes;
    }
    beside > MOST_RULES && beside.saturating_sub(goes) <= MOST_RULES
}

/// A group as it is to be. Its rules are exactly these, but for those that nobody judges: see [`want`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct WantedGroup {
    /// For whom it is.
    pub(crate) service: ObjectId,
    pub(crate) name: String,
    pub(crate) description: String,
    pub(crate) tags: Tags,
    pub(crate) rules: BTreeSet<Rule>,
}

/// A change of a load balancer's own group, which is known by its name.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum GroupChange {
    Create {
        name: String,
        description: String,
        tags: Vec<(String, String)>,
    },
    /// The cluster's mark is missing, or a tag of the annotation.
    Mark {
        name: String,
        tags: Vec<(String, String)>,
    },
    Authorize {
        name: String,
        rules: BTreeSet<Rule>,
    },
    Revoke {
        name: String,
        rules: BTreeSet<Rule>,
    },
    /// Waits until nothing uses it.
    Delete {
        name: String,
    },
}

impl GroupChange {
    pub(crate) fn effect(&self) -> Effect {
        match self {
            Self::Create { .. } => Effect::Create,
            Self::Mark { .. } | Self::Authorize { .. } | Self::Revoke { .. } => Effect::Update,
            Self::Delete { .. } => Effect::Delete,
        }
    }
}

impl fmt::Display for GroupChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Create { name, .. } => write!(f, "create security group {name}"),
            Self::Mark { name, tags } => {
                let pairs: Vec<_> =
                    tags.iter().map(|(key, value)| format!("{key}={value}")).collect();
                write!(f, "tag security group {name}: {}", pairs.join(", "))
            }
            Self::Authorize { name, rules } => {
                write!(f, "allow in security group {name}: {}", lines(rules))
            }
            Self::Revoke { name, rules } => {
                write!(f, "revoke in security group {name}: {}", lines(rules))
            }
            Self::Delete { name } => write!(f, "delete security group {name}"),
        }
    }
}

/// Rules, for people.
pub(crate) fn lines(rules: &BTreeSet<Rule>) -> String {
    let lines: Vec<_> = rules.iter().map(ToString::to_string).collect();
    lines.join(", ")
}

/// The group of this name.
pub(crate) fn find<'a>(groups: &'a [SecurityGroup], name: &str) -> Option<&'a SecurityGroup> {
    groups.iter().find(|group| group.name == name)
}

/// What it takes that the group is as wanted: it is there, marked, and has these rules and no others.
/// Descriptions do not count, and neither do the order and the grouping of rules.
///
/// An error where it belongs to another cluster.
pub(crate) fn want(
    cluster: &Cluster,
    groups: &[SecurityGroup],
    wanted: &WantedGroup,
    draft: &mut Draft,
) -> Result<(), CloudError> {
    let WantedGroup { service, name, description, tags, rules } = wanted;
    let name = name.clone();
    let Some(group) = find(groups, &name) else {
        let description = description.clone();
        let mut tags = tags.clone();
        tags.extend(service_tags(service));
        draft.build([GroupChange::Create { name: name.clone(), description, tags: pairs(&tags) }]);
        draft.build([GroupChange::Authorize { name, rules: rules.clone() }]);
        return Ok(());
    };
    if !cluster.has(&group.tags) {
        if let Some(other) = cluster.foreign_mark(&group.tags) {
            let message = format!(
                "security group {} has the name {name} and bears another cluster's tag {other}: delete it, \
                 or take the tag away to hand it over",
                group.id
            );
            return Err(CloudError::new(Kind::InvalidConfiguration, message));
        }
        let tags = self::pairs(&cluster.tags());
        draft.build([GroupChange::Mark { name: name.clone(), tags }]);
    }
    // Tags of the annotation: the Go program gives them to a new group alone.
    let marks = cluster.tags();
    let differs = |(key, value): &(&String, &String)| {
        !marks.contains_key(*key) && group.tags.get(*key) != Some(*value)
    };
    let extra: Tags =
        tags.iter().filter(differs).map(|(key, value)| (key.clone(), value.clone())).collect();
    if !extra.is_empty() {
        draft.tidy([GroupChange::Mark { name: name.clone(), tags: self::pairs(&extra) }]);
    }
    let have: BTreeSet<_> = group.ingress.iter().map(Rule::bare).collect();
    let want: BTreeSet<_> = rules.iter().map(Rule::bare).collect();
    let missing: BTreeSet<_> =
        rules.iter().filter(|rule| !have.contains(&rule.bare())).cloned().collect();
    // Ranges of IPv6 and prefix lists are somebody's who added them: neither the Go program nor this one
    // ever does.
    let is_surplus = |rule: &&Rule| !want.contains(&rule.bare()) && is_judged(rule);
    let surplus: BTreeSet<_> = group.ingress.iter().filter(is_surplus).cloned().collect();
    // Nobody is shut out in between, if there is room for that.
    let is_tight = is_tight(&group.ingress, surplus.len(), missing.len());
    let comes = (!missing.is_empty())
        .then(|| GroupChange::Authorize { name: name.clone(), rules: missing });
    let goes = (!surplus.is_empty()).then_some(GroupChange::Revoke { name, rules: surplus });
    for change in if is_tight { [goes, comes] } else { [comes, goes] } {
        draft.build(change);
    }
    Ok(())
}

fn is_judged(rule: &Rule) -> bool {
    match rule.peer {
        Peer::V4(_) | Peer::Odd(_) | Peer::Group(_) => true,
        Peer::V6(_) | Peer::PrefixList(_) => false,
    }
}

/// Lets the group of this name go, if it is the cluster's own, once nothing uses it.
pub(crate) fn unwant(cluster: &Cluster, groups: &[SecurityGroup], name: &str, draft: &mut Draft) {
    let Some(group) = find(groups, name) else { return };
    if !cluster.owns(&group.tags) {
        draft.note(
            "SecurityGroupLeft",
            format!(
                "security group {} ({name}) is left: it lacks the cluster's tag as owned",
                group.id
            ),
        );
        return;
    }
    draft.clear([GroupChange::Delete { name: name.to_owned() }]);
    draft.look_again(format!("security group {} to be used no more", group.id));
}

/// Sends a change. Gives the ID of a group that is made.
pub(crate) async fn apply(
    client: &Client,
    cx: &Write,
    home: &Home,
    change: &GroupChange,
    groups: &[SecurityGroup],
) -> Result<Option<String>, CloudError> {
    let id = |name: &str| match find(groups, name) {
        Some(group) => Ok(group.id.as_str()),
        None => Err(CloudError::new(
            Kind::Conflict,
            format!("security group {name} is not there any more"),
        )),
    };
    match change {
        GroupChange::Create { name, description, tags } => {
            let tags = tags.iter().cloned().collect();
            return client
                .create_security_group(cx, &home.vpc, name, description, &tags)
                .await
                .map(Some);
        }
        GroupChange::Mark { name, tags } => {
            let tags = tags.iter().cloned().collect();
            client.tag_security_group(cx, id(name)?, &tags).await?;
        }
        GroupChange::Authorize { name, rules } => client.authorize(cx, id(name)?, rules).await?,
        GroupChange::Revoke { name, rules } => client.revoke(cx, id(name)?, rules).await?,
        GroupChange::Delete { name } => {
            if let Some(group) = find(groups, name) {
                delete(client, cx, &group.id).await?;
            }
        }
    }
    Ok(None)
}

/// A group that was just made may not be known everywhere: it is tried again a little later.
pub(crate) fn not_yet(err: CloudError) -> CloudError {
    match err.kind() {
        Kind::NotFound => {
            let message = format!("a security group is not there, or not yet: {}", err.message());
            CloudError::new(Kind::Unavailable, message).with_source(err)
        }
        _ => err,
    }
}

/// The groups after a change, `made` being the ID of the one that was made: a look may not show it for a
/// while. `None`: a look says what is left.
pub(crate) fn after(
    mut groups: Vec<SecurityGroup>,
    change: &GroupChange,
    made: Option<String>,
) -> Option<Vec<SecurityGroup>> {
    if let GroupChange::Create { name, tags, .. } = change {
        let (name, tags) = (name.clone(), tags.iter().cloned().collect());
        groups.push(SecurityGroup { id: made?, name, tags, ingress: BTreeSet::new() });
        return Some(groups);
    }
    let name = match change {
        GroupChange::Create { .. } | GroupChange::Delete { .. } => return None,
        GroupChange::Mark { name, .. }
        | GroupChange::Authorize { name, .. }
        | GroupChange::Revoke { name, .. } => name,
    };
    let group = groups.iter_mut().find(|group| group.name == *name)?;
    match change {
        GroupChange::Create { .. } | GroupChange::Delete { .. } => {}
        GroupChange::Mark { tags, .. } => group.tags.extend(tags.iter().cloned()),
        GroupChange::Authorize { rules, .. } => group.ingress.extend(rules.iter().cloned()),
        GroupChange::Revoke { rules, .. } => {
            let gone: BTreeSet<_> = rules.iter().map(Rule::bare).collect();
            group.ingress.retain(|rule| !gone.contains(&rule.bare()));
        }
    }
    Some(groups)
}

/// Says which groups' rules keep it, where some do: those go with nothing of ours.
async fn delete(client: &Client, cx: &Write, id: &str) -> Result<(), CloudError> {
    let Err(err) = client.delete_security_group(cx, id).await else { return Ok(()) };
    if err.kind() != Kind::Conflict {
        return Err(err);
    }
    let filter = [("ip-permission.group-id", vec![id.to_owned()])];
    let naming = client.security_groups(cx, &filter).await.unwrap_or_default();
    let naming: Vec<_> = naming.into_iter().map(|it| it.id).filter(|it| it != id).collect();
    let message = if naming.is_empty() {
        format!("{id}: {}", err.message())
    } else {
        format!("{id} is named by rules of {}: take those away", naming.join(", "))
    };
    Err(CloudError::new(Kind::Conflict, message).with_source(err))
}

/// By which a group is known to be a Service's, whatever its name. Those of the Go program's groups lack
/// them.
pub(crate) fn service_tags(service: &ObjectId) -> Tags {
    [(SERVICE_KEY, service.to_string()), (MANAGED_KEY, service.uid.to_string())]
        .map(|(key, value)| (key.to_owned(), value))
        .into()
}

/// Tags as a change has them.
pub(crate) fn pairs(tags: &Tags) -> Vec<(String, String)> {
    tags.iter().map(|(key, value)| (key.clone(), value.clone())).collect()
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::client::groups::Traffic;

    /// Of a group with so many rules, of which so many go, and so many come.
    #[rstest]
    #[case::there_is_room_for_both(30, 10, 30, false)]
    #[case::there_is_room_for_the_new(50, 20, 30, true)]
    #[case::just_so(60, 1, 1, true)]
    #[case::what_comes_will_not_fit(3, 3, 75, false)]
    #[case::what_comes_will_not_fit_beside_others(55, 1, 10, false)]
    #[case::as_many_beyond_the_usual_limit(80, 30, 30, true)]
    #[case::more_beyond_it(80, 30, 31, false)]
    fn what_goes_goes_first_where_that_makes_room(
        #[case] have: u16,
        #[case] goes: usize,
        #[case] comes: usize,
        #[case] want: bool,
    ) {
        let ingress = (0..have).map(|port| rule(port, None)).collect();
        assert_eq!(is_tight(&ingress, goes, comes), want);
    }

    /// It may count as any number of rules.
    #[rstest]
    #[case::as_many(2, 2, true)]
    #[case::fewer(2, 1, true)]
    #[case::more(2, 3, false)]
    fn beside_a_prefix_list(#[case] goes: usize, #[case] comes: usize, #[case] want: bool) {
        let list = Rule { peer: Peer::PrefixList("pl-1".to_owned()), ..rule(22, None) };
        let ingress = [list, rule(1, None), rule(2, None)].into();
        assert_eq!(is_tight(&ingress, goes, comes), want);
    }

    fn rule(port: u16, description: Option<&str>) -> Rule {
        let peer = Peer::V4("10.0.0.0/8".parse().unwrap());
        Rule { what: Traffic::port("tcp", port), peer, description: description.map(str::to_owned) }
    }

    #[test]
    fn what_was_done_is_known_without_a_look() {
        let name = || "k8s-elb-a".to_owned();
        let tag = |key: &str| vec![(key.to_owned(), String::new())];
        let create =
            GroupChange::Create { name: name(), description: String::new(), tags: tag("one") };
        assert_eq!(after(Vec::new(), &create, None), None);
        let mut groups = after(Vec::new(), &create, Some("sg-1".to_owned())).unwrap();
        for change in [
            GroupChange::Mark { name: name(), tags: tag("two") },
            GroupChange::Authorize {
                name: name(),
                rules: [rule(80, Some("web")), rule(443, None)].into(),
            },
            // Descriptions do not count.
            GroupChange::Revoke { name: name(), rules: [rule(80, None)].into() },
        ] {
            groups = after(groups, &change, None).unwrap();
        }
        let [group] = &groups[..] else { panic!("{groups:?}") };
        assert_eq!((group.id.as_str(), &group.name), ("sg-1", &name()));
        assert_eq!(group.tags.keys().collect::<Vec<_>>(), ["one", "two"]);
        assert_eq!(group.ingress, [rule(443, None)].into());
        assert_eq!(after(groups, &GroupChange::Delete { name: name() }, None), None);
    }
}
