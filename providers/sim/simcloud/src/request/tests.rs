//! Requests about instances, and what faults make of answers.

use rstest::rstest;

use super::*;
use crate::api::{FaultKind, Settings, Timestamp};
use crate::faults::Strike;
use crate::rng::Rng;

const NOW: Timestamp = Timestamp::from_millis(1_000);

fn fleet(many: usize) -> Cloud {
    let mut cloud = Cloud::new(0);
    let instances =
        (0..many).map(|number| CreateInstance::named(format!("node-{number}"))).collect();
    let batch = Request::BatchCreate(BatchCreateInstances { instances });
    serve(&mut cloud, batch, &now(&Settings::default())).unwrap();
    cloud
}

fn ask(cloud: &mut Cloud, request: Request) -> (Vec<String>, Option<String>) {
    shown(&serve(cloud, request, &now(&Settings::default())).unwrap())
}

fn shown(answer: &Answer) -> (Vec<String>, Option<String>) {
    let Answer::List(list) = answer else { panic!("{answer:?}") };
    let name = |one: &Shown| match one {
        Shown::Instance(instance) => instance.name.clone(),
        other => panic!("{other:?}"),
    };
    (list.items.iter().map(name).collect(), list.next_page_token.clone())
}

fn now(settings: &Settings) -> Cx<'_> {
    Cx::new(NOW, settings, false)
}

#[rstest]
#[case::a_few(&[("page_size", "7")], 7, true)]
#[case::more_than_the_limit(&[("page_size", "5000")], 100, true)]
#[case::the_limit(&[], 100, true)]
#[case::from_a_token(&[("page_token", "p64")], 50, false)]
fn pages(#[case] query: &[(&str, &str)], #[case] want: usize, #[case] more: bool) {
    let pairs = query.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect();
    let list = Request::List(parse_instances(pairs).unwrap());
    let (names, next) = ask(&mut fleet(150), list);
    assert_eq!((names.len(), next.is_some()), (want, more));
}

#[rstest]
#[case::no_page(&[("page_size", "0")], "page_size: must be at least 1")]
#[case::no_number(&[("page_size", "ten")], "page_size: must be a number, not \"ten\"")]
#[case::a_foreign_token(
    &[("page_token", "x")], "page_token: is not one that the list has given",
)]
#[case::half_a_tag(&[("tag", "pool")], "tag: must be key=value, not \"pool\"")]
#[case::a_typo(
    &[("pagesize", "1")], "pagesize: is unknown; there are page_token, page_size and tag",
)]
fn odd_queries_are_refused(#[case] query: &[(&str, &str)], #[case] want: &str) {
    let pairs = query.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect();
    let served = parse_instances(pairs)
        .and_then(|ask| serve(&mut fleet(1), Request::List(ask), &now(&Settings::default())));
    assert_eq!(served.unwrap_err().to_string(), want);
}

#[test]
fn a_describe_over_the_batch_limit_is_refused() {
    let names = (0..101).map(|number| format!("node-{number}")).collect();
    let request = Request::Describe(DescribeInstances { names, ids: vec![] });
    let refused = serve(&mut fleet(1), request, &now(&Settings::default())).unwrap_err();
    assert_eq!(refused, Refusal::BatchTooLarge { asked: 101, limit: 100 });
}

#[rstest]
#[case::some(FaultKind::CutPage { missing_share: 0.1 }, None, 90, true)]
#[case::at_least_one(FaultKind::CutPage { missing_share: 0.000_1 }, None, 99, true)]
#[case::all(FaultKind::CutPage { missing_share: 1.0 }, None, 0, true)]
#[case::just_that_one(FaultKind::CutPage { missing_share: 1.0 }, Some("node-5"), 99, true)]
#[case::none_left(FaultKind::EmptyPage, None, 0, false)]
#[case::no_more_pages(FaultKind::DropPageToken, None, 100, false)]
fn spoiled_pages(
    #[case] kind: FaultKind,
    #[case] instance: Option<&str>,
    #[case] want: usize,
    #[case] more: bool,
) {
    let mut cloud = fleet(150);
    let list = Request::List(ListInstances::default());
    let answer = serve(&mut cloud, list, &now(&Settings::default())).unwrap();
    let instance = instance.map(str::to_owned);
    let strike = Strike { id: "f-1".into(), kind, instance: instance.clone(), resource: None };

    let (names, next) = shown(&spoil(answer, &strike, &cloud, &mut Rng::new(0)).unwrap());

    assert_eq!((names.len(), next.is_some()), (want, more));
    assert!(!names.iter().any(|name| Some(name) == instance.as_ref()));
}

#[test]
fn a_denied_instance_looks_like_one_that_never_was() {
    let mut cloud = fleet(1);
    let (there, nowhere) = ("i-0000000000000001".into(), "i-0000000000000002".into());
    let get = |cloud: &mut Cloud, id: &InstanceId| {
        serve(cloud, Request::Get(id.clone()), &now(&Settings::default()))
    };
    let strike =
        Strike { id: "f-1".into(), kind: FaultKind::NotFound, instance: None, resource: None };

    let answer = get(&mut cloud, &there).unwrap();
    let denied = spoil(answer, &strike, &cloud, &mut Rng::new(0)).unwrap_err();

    assert_eq!(denied, Refusal::not_found("instance", there.as_str()));
    assert_eq!(
        get(&mut cloud, &nowhere).unwrap_err(),
        Refusal::not_found("instance", nowhere.as_str())
    );
}

#[rstest]
#[case::named(Request::Describe(DescribeInstances {
    names: vec!["node-3".into()], ids: vec![],
}), true)]
#[case::another(Request::Describe(DescribeInstances {
    names: vec!["node-4".into()], ids: vec![],
}), false)]
#[case::by_id(Request::Get("i-0000000000000004".into()), true)]
#[case::by_another_id(Request::Get("i-0000000000000003".into()), false)]
#[case::its_replacement(Request::Replace("i-0000000000000004".into()), true)]
#[case::a_list(Request::List(ListInstances::default()), true)]
#[case::a_new_one(Request::Create(Box::new(CreateInstance::named("node-3"))), true)]
fn what_a_call_is_about_instance(#[case] request: Request, #[case] want: bool) {
    let cloud = fleet(10);
    assert_eq!(request.is_about_instance(&cloud, "node-3"), want);
    if !matches!(request, Request::Create(_)) {
        assert_eq!(request.is_about_instance(&cloud, "i-0000000000000004"), want);
    }
}
