//! A request of the cloud's API and its answer, without HTTP: the cloud is a function of its
//! state, the request and the time.

use std::sync::Arc;

use crate::api::{
    BatchCreateInstances, CreateInstance, DescribeInstances, FaultKind, Instance, InstanceId,
    ListInstances, Settings, Timestamp, UpdateInstance,
};
use crate::faults::Strike;
use crate::rng::Rng;
use crate::state::{Cloud, Moment, Pace, PageAsk, Refusal};

/// A call that made sense so far.
#[derive(Debug)]
pub(crate) enum Request {
    Describe(DescribeInstances),
    List(ListInstances),
    Get(InstanceId),
    Create(Box<CreateInstance>),
    BatchCreate(BatchCreateInstances),
    Update(InstanceId, Box<UpdateInstance>),
    Start(InstanceId),
    Stop(InstanceId),
    Replace(InstanceId),
    Terminate(InstanceId),
}

/// What the cloud has to say.
#[derive(Debug)]
pub(crate) enum Answer {
    /// One instance.
    One(Arc<Instance>),
    /// An instance that is new.
    Made(Arc<Instance>),
    /// Those that were found or made.
    Many(Vec<Arc<Instance>>),
    /// A page of the list.
    Page { instances: Vec<Arc<Instance>>, next_page_token: Option<String> },
}

impl Request {
    /// Instances that it is about; a list is about none in particular.
    pub(crate) fn instances(&self) -> u64 {
        let many = match self {
            Self::Describe(ask) => ask.ids.len() + ask.names.len(),
            Self::List(_) => 0,
            Self::BatchCreate(batch) => batch.instances.len(),
            Self::Get(_)
            | Self::Create(_)
            | Self::Update(..)
            | Self::Start(_)
            | Self::Stop(_)
            | Self::Replace(_)
            | Self::Terminate(_) => 1,
        };
        many as u64
    }

    /// Whether it is about the instance of this name or ID.
    pub(crate) fn is_about(&self, cloud: &Cloud, instance: &str) -> bool {
        let is_it = |id: &InstanceId| id.as_str() == instance || cloud.is_named(id, instance);
        match self {
            Self::Describe(ask) => {
                ask.names.iter().any(|name| name == instance)
                    || ask.ids.iter().any(is_it)
                    // Asked for by name, meant by ID.
                    || ask.names.iter().any(|name| cloud.is_named(&instance.into(), name))
            }
            Self::List(_) => true,
            Self::Create(wanted) => wanted.name == instance,
            Self::BatchCreate(batch) => batch.instances.iter().any(|one| one.name == instance),
            Self::Get(id)
            | Self::Update(id, _)
            | Self::Start(id)
            | Self::Stop(id)
            | Self::Replace(id)
            | Self::Terminate(id) => is_it(id),
        }
    }
}

/// Does what is asked.
pub(crate) fn serve(
    cloud: &mut Cloud,
    request: Request,
    now: Timestamp,
    settings: &Settings,
) -> Result<Answer, Refusal> {
    let pace = Pace {
        consistency: settings.consistency_delay_ms,
        transition: settings.transition_delay_ms,
        retention: settings.terminated_retention_ms,
    };
    let moment = Moment { now, pace };
    cloud.sweep(moment);
    match request {
        Request::Describe(ask) => {
            let (asked, limit) = (ask.ids.len() + ask.names.len(), settings.batch_limit);
            if asked > limit {
                return Err(Refusal::BatchTooLarge { asked, limit });
            }
            Ok(Answer::Many(cloud.describe(moment, &ask)))
        }
        Request::List(ask) => list(cloud, moment, &ask, settings.page_limit),
        Request::Get(id) => cloud.get(moment, &id).map(Answer::One),
        Request::Create(wanted) => {
            let mut made = cloud.create(moment, vec![*wanted])?;
            Ok(Answer::Made(made.pop().expect("one asked for is one made")))
        }
        Request::BatchCreate(batch) => cloud.create(moment, batch.instances).map(Answer::Many),
        Request::Update(id, update) => cloud.update(moment, &id, &update).map(Answer::One),
        Request::Start(id) => cloud.start(moment, &id).map(Answer::One),
        Request::Stop(id) => cloud.stop(moment, &id).map(Answer::One),
        Request::Replace(id) => cloud.replace(moment, &id).map(Answer::One),
        Request::Terminate(id) => cloud.terminate(moment, &id).map(Answer::One),
    }
}

fn list(
    cloud: &Cloud,
    moment: Moment,
    ask: &ListInstances,
    page_limit: usize,
) -> Result<Answer, Refusal> {
    let invalid = |field: &str, why: &str| {
        Err(Refusal::Invalid { field: field.to_owned(), why: why.to_owned() })
    };
    let after = match ask.page_token.as_deref().map(number_of_token) {
        None => 0,
        Some(Some(after)) => after,
        Some(None) => return invalid("page_token", "is not one that the list has given"),
    };
    if ask.page_size == Some(0) {
        return invalid("page_size", "must be at least 1");
    }
    let size = ask.page_size.unwrap_or(page_limit).min(page_limit);
    let page = cloud.list(moment, &PageAsk { after, size, tags: &ask.tags });
    Ok(Answer::Page { instances: page.instances, next_page_token: page.next.map(token_of) })
}

fn token_of(number: u64) -> String {
    format!("p{number:x}")
}

fn number_of_token(token: &str) -> Option<u64> {
    u64::from_str_radix(token.strip_prefix('p')?, 16).ok()
}

/// Reads the query string of a list.
pub(crate) fn parse_list(pairs: Vec<(String, String)>) -> Result<ListInstances, Refusal> {
    let invalid = |field: &str, why: String| Refusal::Invalid { field: field.to_owned(), why };
    let mut ask = ListInstances::default();
    for (key, value) in pairs {
        match key.as_str() {
            "page_token" => ask.page_token = Some(value),
            "page_size" => {
                let why = || format!("must be a number, not {value:?}");
                ask.page_size = Some(value.parse().map_err(|_| invalid("page_size", why()))?);
            }
            "tag" => {
                let Some((key, value)) = value.split_once('=') else {
                    return Err(invalid("tag", format!("must be key=value, not {value:?}")));
                };
                ask.tags.insert(key.to_owned(), value.to_owned());
            }
            unknown => {
                let why = "is unknown; there are page_token, page_size and tag".to_owned();
                return Err(invalid(unknown, why));
            }
        }
    }
    Ok(ask)
}

/// What is left of an answer that a fault strikes.
pub(crate) fn spoil(answer: Answer, strike: &Strike, rng: &mut Rng) -> Result<Answer, Refusal> {
    Ok(match strike.kind {
        FaultKind::CutPage { missing_share } => answer.with_instances(|mut instances| {
            if let Some(name) = &strike.instance {
                instances.retain(|one| one.name != *name && one.id.as_str() != *name);
            } else {
                for _ in 0..share_of(instances.len(), missing_share) {
                    let last = instances.len() - 1;
                    let drawn = usize::try_from(rng.up_to(last as u64)).unwrap_or(last);
                    instances.remove(drawn);
                }
            }
            instances
        }),
        FaultKind::EmptyPage => answer.without_next().with_instances(|_| Vec::new()),
        FaultKind::DropPageToken => answer.without_next(),
        FaultKind::NotFound => match answer {
            Answer::One(instance) => return Err(Refusal::NotFound(instance.id.clone())),
            other @ (Answer::Made(_) | Answer::Many(_) | Answer::Page { .. }) => other,
        },
        FaultKind::Unauthenticated
        | FaultKind::PermissionDenied
        | FaultKind::Throttle { .. }
        | FaultKind::ServerError { .. }
        | FaultKind::Hang { .. }
        | FaultKind::Slow { .. }
        | FaultKind::LoseResponse
        | FaultKind::Reset => answer,
    })
}

/// So much of so many, rounded, and at least one of any.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "a share of a page is small and not negative"
)]
fn share_of(many: usize, share: f64) -> usize {
    let rounded = (many as f64 * share).round() as usize;
    rounded.max(1).min(many)
}

impl Answer {
    fn with_instances(self, change: impl FnOnce(Vec<Arc<Instance>>) -> Vec<Arc<Instance>>) -> Self {
        match self {
            Self::Many(instances) => Self::Many(change(instances)),
            Self::Page { instances, next_page_token } => {
                Self::Page { instances: change(instances), next_page_token }
            }
            one @ (Self::One(_) | Self::Made(_)) => one,
        }
    }

    fn without_next(self) -> Self {
        match self {
            Self::Page { instances, .. } => Self::Page { instances, next_page_token: None },
            other @ (Self::One(_) | Self::Made(_) | Self::Many(_)) => other,
        }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_000);

    fn fleet(many: usize) -> Cloud {
        let mut cloud = Cloud::new(0);
        let instances =
            (0..many).map(|number| CreateInstance::named(format!("node-{number}"))).collect();
        let batch = Request::BatchCreate(BatchCreateInstances { instances });
        serve(&mut cloud, batch, NOW, &Settings::default()).unwrap();
        cloud
    }

    fn ask(cloud: &mut Cloud, request: Request) -> (Vec<String>, Option<String>) {
        shown(&serve(cloud, request, NOW, &Settings::default()).unwrap())
    }

    fn shown(answer: &Answer) -> (Vec<String>, Option<String>) {
        match answer {
            Answer::Page { instances, next_page_token } => {
                (instances.iter().map(|one| one.name.clone()).collect(), next_page_token.clone())
            }
            Answer::Many(instances) => {
                (instances.iter().map(|one| one.name.clone()).collect(), None)
            }
            other => panic!("{other:?}"),
        }
    }

    #[rstest]
    #[case::a_few(&[("page_size", "7")], 7, true)]
    #[case::more_than_the_limit(&[("page_size", "5000")], 100, true)]
    #[case::the_limit(&[], 100, true)]
    #[case::from_a_token(&[("page_token", "p64")], 50, false)]
    fn pages(#[case] query: &[(&str, &str)], #[case] want: usize, #[case] more: bool) {
        let pairs = query.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect();
        let list = Request::List(parse_list(pairs).unwrap());
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
        let served = parse_list(pairs)
            .and_then(|ask| serve(&mut fleet(1), Request::List(ask), NOW, &Settings::default()));
        assert_eq!(served.unwrap_err().to_string(), want);
    }

    #[test]
    fn a_describe_over_the_batch_limit_is_refused() {
        let names = (0..101).map(|number| format!("node-{number}")).collect();
        let request = Request::Describe(DescribeInstances { names, ids: vec![] });
        let refused = serve(&mut fleet(1), request, NOW, &Settings::default()).unwrap_err();
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
        let list = Request::List(ListInstances::default());
        let answer = serve(&mut fleet(150), list, NOW, &Settings::default()).unwrap();
        let instance = instance.map(str::to_owned);
        let strike = Strike { id: "f-1".into(), kind, instance: instance.clone() };

        let (names, next) = shown(&spoil(answer, &strike, &mut Rng::new(0)).unwrap());

        assert_eq!((names.len(), next.is_some()), (want, more));
        assert!(!names.iter().any(|name| Some(name) == instance.as_ref()));
    }

    #[test]
    fn a_denied_instance_looks_like_one_that_never_was() {
        let mut cloud = fleet(1);
        let (there, nowhere) = ("i-0000000000000001".into(), "i-0000000000000002".into());
        let mut get = |id: &InstanceId| {
            serve(&mut cloud, Request::Get(id.clone()), NOW, &Settings::default())
        };
        let strike = Strike { id: "f-1".into(), kind: FaultKind::NotFound, instance: None };

        let denied = spoil(get(&there).unwrap(), &strike, &mut Rng::new(0)).unwrap_err();

        assert_eq!(denied, Refusal::NotFound(there));
        assert_eq!(get(&nowhere).unwrap_err(), Refusal::NotFound(nowhere));
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
    fn what_a_call_is_about(#[case] request: Request, #[case] want: bool) {
        let cloud = fleet(10);
        assert_eq!(request.is_about(&cloud, "node-3"), want);
        if !matches!(request, Request::Create(_)) {
            assert_eq!(request.is_about(&cloud, "i-0000000000000004"), want);
        }
    }
}
