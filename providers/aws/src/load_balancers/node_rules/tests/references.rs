//! Rules that let a Classic Load Balancer's security group through.

use ccm_core::cloud::{Holds, World};
use rstest::rstest;

use super::super::super::samples::{
    absent, absent_with, doubtful, keep, keep_with, member, present, spec,
};
use super::{Cloud, classic_group, group, name, report, world};
use crate::client::groups::{Peer, Rule, Traffic};

/// Everything from a group, without a description: as the Go program writes it, and as people do.
fn everything(from: &str) -> Rule {
    Rule { what: Traffic::all(), peer: Peer::Group(from.to_owned()), description: None }
}

/// With a Classic Load Balancer that the Go program has left, or that is managed.
fn taken_over_or_made(is_managed: bool) -> Cloud {
    let cloud = Cloud::new().with_classic("web");
    if is_managed { cloud.managed("web") } else { cloud }
}

#[test]
fn a_classic_load_balancer_comes_from_its_group() {
    let mut cloud = Cloud::new().with_classic("web");
    let wish = world(vec![present(spec("web", &[80], &[]))]);
    cloud.converge(&wish);
    assert_eq!(cloud.rules("sg-nodes"), ["everything from sg-web"]);
    let gone = world(vec![absent("web")]);
    assert_eq!(report(&cloud.plan(&gone)).holds, Holds::Something);
    cloud.converge(&gone);
    assert_eq!(cloud.rules("sg-nodes"), Vec::<String>::new());
    assert_eq!(report(&cloud.plan(&gone)).holds, Holds::Nothing);
}

/// Who lets it in to the node ports alone means just that, and the Go program adds nothing beside.
#[test]
fn a_group_that_is_let_in_somewhere_is_let_in() {
    let mut cloud = Cloud::new().with_classic("web");
    let some = Rule { what: Traffic::port("tcp", 30_080), ..everything("sg-web") };
    cloud.seen.groups[0].ingress.insert(some);
    let wish = world(vec![present(spec("web", &[80], &[]))]);
    assert!(cloud.plan(&wish).is_done(), "{:?}", cloud.plan(&wish));
    assert_eq!(cloud.rules("sg-nodes"), ["tcp 30080 from sg-web"]);
}

/// Nodes may be in the group from which all Services' traffic comes, and which is the operator's.
#[rstest]
#[case::classic(&[])]
#[case::network(&[("type", "nlb")])]
fn the_operators_group_is_left_alone_where_nodes_are_in_it(#[case] said: Said<'_>) {
    let mut cloud = Cloud::new().with_network("web");
    cloud.config.elb_security_group = Some("sg-nodes".to_owned());
    if said.is_empty() {
        cloud.seen.networks.clear();
        cloud.seen.classics.insert(name("web"), vec!["sg-nodes".to_owned()]);
    }
    assert!(cloud.plan(&world(vec![present(spec("web", &[80], said))])).is_done());
    // What was let in before it was the operator's goes with the Service.
    let client = Rule {
        what: Traffic::port("tcp", 30_080),
        peer: Peer::V4("0.0.0.0/0".parse().unwrap()),
        description: Some(format!("kubernetes.io/rule/nlb/client={}", name("web"))),
    };
    cloud.seen.groups.push(group("sg-web", &classic_group(&name("web")), true));
    let others = ["sg-nodes", "sg-users"].map(everything);
    cloud.seen.groups[0].ingress.extend(others.clone());
    cloud.seen.groups[0].ingress.extend([client, everything("sg-web")]);
    assert!(cloud.plan(&world(vec![present(spec("web", &[80], said))])).is_done());
    assert!(cloud.plan(&world(vec![keep_with("web", said)])).is_done());
    let gone = world(vec![absent_with("web", said)]);
    assert_eq!(report(&cloud.plan(&gone)).holds, Holds::Something);
    cloud.converge(&gone);
    assert_eq!(cloud.seen.groups[0].ingress, others.into());
    assert_eq!(report(&cloud.plan(&gone)).holds, Holds::Nothing);
}

/// There, too, a group that is not used any more cannot go while a rule names it.
#[rstest]
#[case::as_it_was_found(false)]
#[case::ours(true)]
fn what_names_its_own_group_of_before_in_the_operators(#[case] is_managed: bool) {
    let mut cloud = taken_over_or_made(is_managed);
    cloud.config.elb_security_group = Some("sg-nodes".to_owned());
    cloud.seen.classics.insert(name("web"), vec!["sg-nodes".to_owned()]);
    cloud.seen.groups[0].ingress.insert(everything("sg-web"));
    let wish = world(vec![present(spec("web", &[80], &[]))]);
    cloud.converge(&wish);
    assert_eq!(cloud.rules("sg-nodes").is_empty(), is_managed);
}

/// The operator's group is none to let traffic in where there is another, whatever their IDs are.
#[rstest]
#[case::both_marked(true)]
#[case::none_marked(false)]
fn beside_the_operators_group_the_other_one_lets_traffic_in(#[case] is_marked: bool) {
    let mut cloud = Cloud::new().with_network("web");
    cloud.config.elb_security_group = Some("sg-0elb".to_owned());
    cloud.seen.groups.push(group("sg-0elb", "elb", is_marked));
    if !is_marked {
        cloud.seen.groups[0].tags.clear();
    }
    let nodes = [member(1, &["sg-0elb", "sg-nodes"])];
    let wants = vec![present(spec("web", &[80], &[("type", "nlb")]))];
    cloud.converge(&World { wants, nodes: nodes.into_iter().collect() });
    assert_eq!((cloud.rules("sg-0elb").len(), cloud.rules("sg-nodes").len()), (0, 2));
}

/// The Go program looks at nothing but what its traffic comes from now.
#[rstest]
#[case::as_it_was_found(false, 2)]
#[case::ours(true, 1)]
fn what_names_its_own_group_of_before(#[case] is_managed: bool, #[case] left: usize) {
    let mut cloud = taken_over_or_made(is_managed);
    cloud.seen.classics.insert(name("web"), vec!["sg-users".to_owned()]);
    cloud.seen.groups[0].ingress.extend(["sg-web", "sg-users"].map(everything));
    let wish = world(vec![present(spec("web", &[80], USERS))]);
    assert_eq!(cloud.plan(&wish).is_done(), !is_managed);
    cloud.converge(&wish);
    assert_eq!(cloud.rules("sg-nodes").len(), left);
    cloud.converge(&world(vec![absent_with("web", USERS)]));
    assert_eq!(cloud.rules("sg-nodes"), Vec::<String>::new());
}

/// One that bears the cluster's tag goes before the first, and the Go program's choice then follows the
/// order in which AWS names them.
#[rstest]
#[case::the_first(&["sg-first"], "everything from sg-first")]
#[case::the_marked(&["sg-users"], "everything from sg-users")]
#[case::both(&["sg-first", "sg-users"], "everything from sg-first, everything from sg-users")]
#[case::neither(&[], "everything from sg-users")]
fn of_two_groups_the_one_that_is_let_in_counts(#[case] there: &[&str], #[case] want: &str) {
    let said = &[("security-groups", "sg-first,sg-users")];
    let mut cloud = Cloud::new();
    cloud.seen.groups.extend([group("sg-first", "first", false), group("sg-users", "users", true)]);
    let attached = ["sg-users", "sg-first"].map(str::to_owned).into();
    cloud.seen.classics.insert(name("web"), attached);
    cloud.seen.groups[0].ingress.extend(there.iter().map(|from| everything(from)));
    let wish = world(vec![present(spec("web", &[80], said))]);
    assert_eq!(cloud.plan(&wish).is_done(), !there.is_empty());
    cloud.converge(&wish);
    assert_eq!(cloud.rules("sg-nodes").join(", "), want);
    // Where both are, the order was once another.
    cloud.converge(&world(vec![absent_with("web", said)]));
    assert_eq!(cloud.rules("sg-nodes"), Vec::<String>::new());
}

/// Whoever lets it in somehow means just that, whosever group it is.
#[test]
fn a_group_without_the_clusters_tag_is_no_different() {
    let mut cloud = Cloud::new().with_classic("web");
    cloud.seen.groups[0].tags.clear();
    let some = Rule { what: Traffic::port("tcp", 30_080), ..everything("sg-web") };
    cloud.seen.groups[0].ingress.insert(some);
    assert!(cloud.plan(&world(vec![present(spec("web", &[80], &[]))])).is_done());
}

#[test]
fn groups_of_others_are_closed_only_where_a_deletion_needs_it() {
    let mut cloud = Cloud::new().with_classic("web");
    cloud.seen.groups.push(group("sg-other", "other", false));
    let rule = |from: &str| Rule {
        what: Traffic::all(),
        peer: Peer::Group(from.to_owned()),
        description: None,
    };
    cloud.seen.classics.get_mut(&name("web")).unwrap().push("sg-users".to_owned());
    for from in ["sg-web", "sg-users"] {
        cloud.seen.groups.last_mut().unwrap().ingress.insert(rule(from));
    }
    let wish = world(vec![present(spec("web", &[80], &[]))]);
    cloud.converge(&wish);
    assert_eq!(cloud.rules("sg-other").len(), 2, "in use");
    cloud.converge(&world(vec![absent("web")]));
    assert_eq!(cloud.rules("sg-other"), ["everything from sg-users"]);
}

#[test]
fn a_group_that_several_come_from_stays_open_for_the_last() {
    let mut cloud = Cloud::new();
    cloud.seen.groups.push(group("sg-users", "users", true));
    for service in ["one", "two"] {
        cloud.seen.classics.insert(name(service), vec!["sg-users".to_owned()]);
    }
    let of = |service: &str| present(spec(service, &[80], &[("security-groups", "sg-users")]));
    cloud.converge(&world(vec![of("one"), of("two")]));
    let wish = world(vec![absent("one"), of("two")]);
    assert!(cloud.converge(&wish).is_empty());
    assert_eq!(report(&cloud.plan(&wish)).holds, Holds::Nothing, "it is the other's now");
    cloud.converge(&world(vec![absent("one"), absent("two")]));
    assert_eq!(cloud.rules("sg-nodes"), Vec::<String>::new());
}

type Said<'a> = &'a [(&'a str, &'a str)];

/// What people have let through themselves stays, whatever groups a Service names: its own traffic comes
/// from one of them.
#[rstest]
#[case::the_nodes_own_as_an_extra(
    &[("extra-security-groups", "sg-nodes")], &["sg-nodes", "sg-web"],
    &["everything from sg-nodes", "everything from sg-web"], &["everything from sg-nodes"]
)]
#[case::an_extra(
    &[("extra-security-groups", "sg-users")], &["sg-users", "sg-web"],
    &["everything from sg-users", "everything from sg-web"], &["everything from sg-users"]
)]
#[case::the_second_of_those_that_are_named(
    &[("security-groups", "sg-first, sg-users")], &["sg-users", "sg-first"],
    &["everything from sg-first", "everything from sg-users"], &["everything from sg-users"]
)]
#[case::the_nodes_own_instead_of_its_own(
    &[("security-groups", "sg-nodes")], &["sg-nodes"],
    &["everything from sg-nodes"], &["everything from sg-nodes"]
)]
fn rules_that_name_another_group_of_it_are_somebody_elses(
    #[case] said: Said<'_>,
    #[case] attached: &[&str],
    #[case] with_it: &[&str],
    #[case] after_it: &[&str],
    #[values(false, true)] is_managed: bool,
) {
    let mut cloud = taken_over_or_made(is_managed);
    let attached: Vec<_> = attached.iter().map(|id| (*id).to_owned()).collect();
    cloud.seen.classics.insert(name("web"), attached);
    for it in ["sg-users", "sg-first"] {
        cloud.seen.groups.push(group(it, it, true));
    }
    cloud.seen.groups[0].ingress.extend(
        after_it.iter().map(|line| everything(line.strip_prefix("everything from ").unwrap())),
    );
    let wish = world(vec![present(spec("web", &[80], said))]);
    cloud.converge(&wish);
    assert_eq!(cloud.rules("sg-nodes"), with_it);
    let gone = world(vec![absent_with("web", said)]);
    cloud.converge(&gone);
    assert_eq!(cloud.rules("sg-nodes"), after_it);
    assert_eq!(report(&cloud.plan(&gone)).holds, Holds::Nothing);
}

/// Somebody who cannot be read, or whose turn it is not, may need what another one goes without.
#[rstest]
#[case::as_it_is_said(USERS)]
#[case::as_it_was_said_before(&[])]
#[case::with_another_order_than_before(&[("security-groups", "sg-more,sg-users")])]
fn a_group_that_somebody_comes_from_who_is_kept_stays_open(#[case] said: Said<'_>) {
    let mut cloud = Cloud::new();
    cloud.seen.groups.push(group("sg-users", "users", true));
    cloud.seen.classics.insert(name("one"), vec!["sg-users".to_owned()]);
    cloud.seen.classics.insert(name("two"), vec!["sg-users".to_owned(), "sg-more".to_owned()]);
    let of = |service: &str| present(spec(service, &[80], USERS));
    cloud.converge(&world(vec![of("one"), of("two")]));
    let (gone, kept) = (|| absent_with("one", USERS), || keep_with("two", said));
    for wants in [vec![gone(), kept()], vec![kept(), gone()]] {
        assert!(cloud.converge(&world(wants)).is_empty());
    }
    let plan = cloud.plan(&world(vec![gone(), kept()]));
    assert_eq!(report(&plan).holds, Holds::Nothing, "it is the other's now");
    cloud.converge(&world(vec![absent_with("two", USERS)]));
    assert_eq!(cloud.rules("sg-nodes"), Vec::<String>::new());
}

/// So may somebody one of whose nodes may be in that group.
#[test]
fn a_group_of_a_node_in_doubt_stays_open_for_who_shares_the_source() {
    let mut cloud = Cloud::new();
    for it in ["sg-users", "sg-more"] {
        cloud.seen.groups.push(group(it, it, true));
    }
    for service in ["one", "two"] {
        cloud.seen.classics.insert(name(service), vec!["sg-users".to_owned()]);
    }
    let two = || present(spec("two", &[80], USERS));
    let nodes = [member(1, &["sg-nodes"]), member(2, &["sg-more"])];
    let one = present(spec("one", &[80], USERS));
    cloud.converge(&World { wants: vec![one, two()], nodes: nodes.into_iter().collect() });
    let gone = || vec![absent_with("one", USERS), two()];
    let nodes = [member(1, &["sg-nodes"]), doubtful(2)];
    assert!(cloud.plan(&World { wants: gone(), nodes: nodes.into_iter().collect() }).is_done());
    let nodes = [member(1, &["sg-nodes"])];
    cloud.converge(&World { wants: gone(), nodes: nodes.into_iter().collect() });
    assert_eq!(cloud.rules("sg-more"), Vec::<String>::new());
}

/// The operator's group, from which all Services' traffic comes, is nobody's alone.
#[test]
fn the_shared_group_stays_open_for_who_is_kept() {
    let mut cloud = Cloud::new();
    cloud.config.elb_security_group = Some("sg-shared".to_owned());
    cloud.seen.groups.push(group("sg-more", "more", true));
    for service in ["one", "two"] {
        cloud.seen.classics.insert(name(service), vec!["sg-shared".to_owned()]);
    }
    cloud.seen.groups.iter_mut().for_each(|it| _ = it.ingress.insert(everything("sg-shared")));
    let wish = |two| world(vec![present(spec("one", &[80], &[])), two]);
    assert!(cloud.plan(&wish(keep("two"))).is_done(), "its nodes may be in the other group");
    assert!(cloud.plan(&world(vec![absent("one"), absent("two")])).is_done());
    assert_eq!(cloud.converge(&wish(absent("two"))).len(), 1);
    assert_eq!(cloud.rules("sg-more"), Vec::<String>::new());
}

const USERS: Said<'_> = &[("security-groups", "sg-users")];
