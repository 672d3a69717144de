//! The life of instances, told the time.

use rstest::rstest;

use super::*;
use crate::state::Pace;
use crate::state::row::MAX_VERSIONS;

const START: Timestamp = Timestamp::from_millis(1_000_000);

/// So many milliseconds after the start, in a cloud that keeps terminated ones for a second.
fn at(millis: u64) -> Moment {
    let pace = Pace { consistency: 0, transition: 0, retention: 1_000 };
    Moment { now: START.after(millis), pace }
}

fn slow(millis: u64) -> Moment {
    Moment { pace: Pace { transition: 100, ..at(0).pace }, ..at(millis) }
}

fn stale(millis: u64) -> Moment {
    Moment { pace: Pace { consistency: 50, ..at(0).pace }, ..at(millis) }
}

fn make(cloud: &mut Fleet, moment: Moment, name: &str) -> InstanceId {
    cloud.create(moment, vec![CreateInstance::named(name)]).unwrap()[0].id.clone()
}

fn state(cloud: &Fleet, moment: Moment, id: &InstanceId) -> Option<RunState> {
    cloud.get(moment, id).ok().map(|instance| instance.state)
}

fn names(cloud: &Fleet, ask: &DescribeInstances) -> Vec<String> {
    let found = cloud.describe(at(0), ask);
    found.iter().map(|instance| instance.name.clone()).collect()
}

#[test]
fn a_new_instance_has_all_that_was_not_said() {
    let mut cloud = Fleet::new(1);
    let id = make(&mut cloud, at(0), "node-1");
    let made = cloud.get(at(0), &id).unwrap();

    assert_eq!(made.id.as_str(), "i-0000000000000001");
    assert_eq!(
        (&*made.instance_type, &*made.region, &*made.zone),
        ("sim.small", "sim-1", "sim-1a")
    );
    assert_eq!(made.nics[0].private_ipv4s, [Ipv4Addr::new(10, 0, 0, 1)]);
    assert_eq!(made.created_at, START);
    check_uuid(&made.system_uuid).unwrap();
    assert_eq!(made.system_uuid, uuid(1, 1, 1));
    assert_ne!(made.system_uuid, uuid(1, 2, 1));
    assert_eq!(made.incarnation, 1);
}

#[test]
fn an_instance_made_under_the_name_of_another_has_another_id() {
    let mut cloud = Fleet::new(1);
    let first = make(&mut cloud, at(0), "node-1");
    cloud.terminate(at(0), &first).unwrap();
    let second = make(&mut cloud, at(0), "node-1");

    assert_ne!(first, second);
    let ask = DescribeInstances { names: vec!["node-1".into()], ..Default::default() };
    let states: Vec<_> = cloud.describe(at(0), &ask).iter().map(|one| one.state).collect();
    assert_eq!(states, [RunState::Terminated, RunState::Running]);
}

#[test]
fn describe_answers_what_it_knows_once_and_in_order() {
    let mut cloud = Fleet::new(1);
    let ids = ["a", "b", "c"].map(|name| make(&mut cloud, at(0), name));
    let ask = DescribeInstances {
        ids: vec![ids[2].clone(), "i-ffffffffffffffff".into(), "x".into(), ids[2].clone()],
        names: vec!["a".into(), "nobody".into(), "c".into()],
    };
    assert_eq!(names(&cloud, &ask), ["c", "a"]);
}

#[test]
fn pages_follow_each_other_without_gap_or_repeat() {
    let mut cloud = Fleet::new(1);
    for number in 0..25 {
        let mut one = CreateInstance::named(format!("node-{number}"));
        let pool = if number % 2 == 0 { "even" } else { "odd" };
        one.tags.insert("pool".into(), pool.into());
        cloud.create(at(0), vec![one]).unwrap();
    }
    let walk = |tags: &BTreeMap<String, String>, size| {
        let mut seen = Vec::new();
        let mut pages = 0;
        let mut after = 0;
        loop {
            let page = cloud.list(at(0), &PageAsk { after, size, tags });
            pages += 1;
            seen.extend(page.instances.iter().map(|one| one.name.clone()));
            match page.next {
                Some(next) => after = next,
                None => return (seen, pages),
            }
        }
    };
    let (all, pages) = walk(&BTreeMap::new(), 10);
    assert_eq!((all.len(), pages), (25, 3));
    assert_eq!(all[24], "node-24");
    let (odd, pages) = walk(&BTreeMap::from([("pool".into(), "odd".into())]), 12);
    assert_eq!((odd.len(), pages), (12, 1), "a full last page says that it is the last");
}

#[test]
fn transitions_take_their_time() {
    let mut cloud = Fleet::new(1);
    let id = make(&mut cloud, slow(0), "node-1");
    assert_eq!(state(&cloud, slow(0), &id), Some(RunState::Pending));
    assert_eq!(state(&cloud, slow(99), &id), Some(RunState::Pending));
    assert_eq!(state(&cloud, slow(100), &id), Some(RunState::Running));

    cloud.stop(slow(200), &id).unwrap();
    assert_eq!(state(&cloud, slow(200), &id), Some(RunState::Stopping));
    let refused = cloud.start(slow(250), &id).unwrap_err();
    assert!(matches!(refused, Refusal::Conflict(_)), "{refused}");
    assert_eq!(state(&cloud, slow(300), &id), Some(RunState::Stopped));

    cloud.start(slow(300), &id).unwrap();
    assert_eq!(state(&cloud, slow(400), &id), Some(RunState::Running));
}

#[test]
fn a_replaced_machine_is_another_behind_the_same_record() {
    let mut cloud = Fleet::new(1);
    let wanted = CreateInstance {
        instance_type: Some("sim.big".into()),
        zone: Some("sim-1c".into()),
        tags: BTreeMap::from([("pool".into(), "blue".into())]),
        labels: BTreeMap::from([("example.com/rack".into(), "r7".into())]),
        pod_cidrs: vec!["10.244.1.0/24".parse().unwrap()],
        system_uuid: Some("11111111-2222-4333-8444-555555555555".into()),
        ..CreateInstance::named("node-1")
    };
    let first = cloud.create(at(0), vec![wanted]).unwrap().remove(0);
    let second = cloud.replace(at(10), &first.id).unwrap();
    let third = cloud.replace(at(10), &first.id).unwrap();

    let kept = |machine: &Instance| Instance {
        incarnation: first.incarnation,
        system_uuid: first.system_uuid.clone(),
        created_at: first.created_at,
        ..machine.clone()
    };
    assert_eq!((&kept(&second), &kept(&third)), (&*first, &*first));
    assert_eq!([&first, &second, &third].map(|one| one.incarnation), [1, 2, 3]);
    assert_eq!([&second, &third].map(|one| one.created_at), [at(10).now; 2]);
    let uuids: BTreeSet<_> =
        [&first, &second, &third].iter().map(|one| one.system_uuid.clone()).collect();
    assert_eq!(uuids.len(), 3, "{uuids:?}");
    check_uuid(&second.system_uuid).unwrap();
    assert_eq!(cloud.get(at(10), &first.id).unwrap(), third);
    assert_eq!(cloud.len(), 1);
}

type Act = fn(&mut Fleet, Moment, &InstanceId) -> Result<Arc<Instance>, Refusal>;

/// An instance after that was done to it at its making, so long ago.
fn after(act: Act, millis: u64, want: RunState) -> (Fleet, InstanceId) {
    let mut cloud = Fleet::new(1);
    let id = make(&mut cloud, slow(0), "node-1");
    act(&mut cloud, slow(0), &id).unwrap();
    assert_eq!(state(&cloud, slow(millis), &id), Some(want));
    (cloud, id)
}

#[rstest]
#[case::pending(Fleet::start, 50, RunState::Pending)]
#[case::running(Fleet::start, 100, RunState::Running)]
#[case::stopping(Fleet::stop, 50, RunState::Stopping)]
#[case::stopped(Fleet::stop, 100, RunState::Stopped)]
#[case::replaced(Fleet::replace, 50, RunState::Pending)]
fn what_lives_is_replaced_and_boots(#[case] act: Act, #[case] when: u64, #[case] was: RunState) {
    let (mut cloud, id) = after(act, when, was);
    assert_eq!(cloud.replace(slow(when), &id).unwrap().state, RunState::Pending);
    assert_eq!(state(&cloud, slow(when + 99), &id), Some(RunState::Pending));
    assert_eq!(state(&cloud, slow(when + 100), &id), Some(RunState::Running));
    assert_eq!(state(&cloud, slow(10_000), &id), Some(RunState::Running));
}

#[rstest]
#[case::terminating(50, RunState::Terminating)]
#[case::terminated(100, RunState::Terminated)]
fn what_goes_is_not_replaced(#[case] when: u64, #[case] was: RunState) {
    let (mut cloud, id) = after(Fleet::terminate, when, was);
    let refused = cloud.replace(slow(when), &id).unwrap_err();
    assert_eq!(refused, in_state(&id, was, "replaced"));
}

#[test]
fn an_unknown_instance_is_not_replaced() {
    let nobody = InstanceId::from("i-0000000000000001");
    let refused = Fleet::new(1).replace(at(0), &nobody).unwrap_err();
    assert_eq!(refused, no_instance(&nobody));
}

#[test]
fn an_instance_terminated_while_it_boots_never_runs() {
    let mut cloud = Fleet::new(1);
    let id = make(&mut cloud, slow(0), "node-1");
    cloud.terminate(slow(50), &id).unwrap();
    assert_eq!(state(&cloud, slow(120), &id), Some(RunState::Terminating));
    assert_eq!(state(&cloud, slow(150), &id), Some(RunState::Terminated));
}

#[test]
fn what_is_changed_while_it_boots_stays_changed() {
    let mut cloud = Fleet::new(1);
    let id = make(&mut cloud, slow(0), "node-1");
    let update = UpdateInstance { instance_type: Some("sim.big".into()), ..Default::default() };
    cloud.update(slow(10), &id, &update).unwrap();
    for moment in [slow(10), slow(100)] {
        assert_eq!(cloud.get(moment, &id).unwrap().instance_type, "sim.big");
    }
    assert_eq!(state(&cloud, slow(100), &id), Some(RunState::Running));
}

#[test]
fn terminated_instances_stay_and_then_vanish() {
    let mut cloud = Fleet::new(1);
    let id = make(&mut cloud, at(0), "node-1");
    let gone = cloud.terminate(at(10), &id).unwrap();
    assert_eq!((gone.state, gone.terminated_at), (RunState::Terminated, Some(at(10).now)));
    assert_eq!(gone.nics, []);

    cloud.terminate(at(500), &id).unwrap();
    assert_eq!(state(&cloud, at(1_009), &id), Some(RunState::Terminated));
    assert_eq!(state(&cloud, at(1_010), &id), None);
    assert_eq!(cloud.terminate(at(1_010), &id), Err(no_instance(&id)));
    cloud.sweep(at(1_009));
    assert_eq!(cloud.len(), 1);
    cloud.sweep(at(1_010));
    assert_eq!((cloud.len(), cloud.by_name.len()), (0, 0));
    assert_eq!(make(&mut cloud, at(1_010), "node-1").as_str(), "i-0000000000000002");
}

#[test]
fn without_retention_they_vanish_at_once() {
    let moment = |millis| Moment { pace: Pace::default(), ..at(millis) };
    let mut cloud = Fleet::new(1);
    let id = make(&mut cloud, moment(0), "node-1");
    assert_eq!(cloud.terminate(moment(1), &id).unwrap().state, RunState::Terminated);
    assert_eq!(state(&cloud, moment(1), &id), None);
}

#[test]
fn readers_see_changes_later_and_writers_at_once() {
    let mut cloud = Fleet::new(1);
    let id = make(&mut cloud, stale(0), "node-1");
    assert_eq!(state(&cloud, stale(49), &id), None);
    assert_eq!(state(&cloud, stale(50), &id), Some(RunState::Running));

    cloud.replace(stale(55), &id).unwrap();
    let seen = |millis| cloud.get(stale(millis), &id).unwrap().incarnation;
    assert_eq!((seen(104), seen(105)), (1, 2));

    cloud.stop(stale(60), &id).unwrap();
    cloud.terminate(stale(60), &id).unwrap();
    assert_eq!(state(&cloud, stale(109), &id), Some(RunState::Running));
    assert_eq!(state(&cloud, stale(110), &id), Some(RunState::Terminated));
    let refused = cloud.start(stale(61), &id).unwrap_err();
    assert!(matches!(refused, Refusal::Conflict(_)), "{refused}");
}

#[test]
fn readers_that_look_back_further_than_before_still_see_it() {
    let mut cloud = Fleet::new(1);
    let id = make(&mut cloud, at(0), "node-1");
    cloud.stop(at(100_000), &id).unwrap();
    assert_eq!(state(&cloud, stale(100_010), &id), Some(RunState::Stopped));
}

#[test]
fn a_caller_that_writes_in_a_loop_fills_no_memory() {
    let mut cloud = Fleet::new(1);
    let moment = Moment { pace: Pace { consistency: 600_000, ..at(0).pace }, ..at(0) };
    let id = make(&mut cloud, moment, "node-1");
    for millis in 0..1_000 {
        let moment = Moment { now: START.after(millis), ..moment };
        cloud.update(moment, &id, &UpdateInstance::default()).unwrap();
    }
    assert!(cloud.instances[&1].versions().count() <= MAX_VERSIONS);
}

#[test]
fn a_restored_cloud_is_the_same() {
    let mut cloud = Fleet::new(1);
    let ids = ["a", "b", "b"].map(|name| make(&mut cloud, slow(0), name));
    cloud.terminate(slow(100), &ids[0]).unwrap();
    cloud.replace(slow(100), &ids[1]).unwrap();

    let (newest, instances) = cloud.kept();
    let restored = Fleet::restore(1, newest, instances).unwrap();

    for moment in [slow(0), slow(100), slow(200), slow(1_200)] {
        for id in &ids {
            assert_eq!(cloud.get(moment, id), restored.get(moment, id));
        }
    }
    let ask = DescribeInstances { names: vec!["b".into()], ..Default::default() };
    assert_eq!(names(&restored, &ask), ["b", "b"]);
    assert_eq!(cloud.vanishing, restored.vanishing);
}

#[test]
fn a_snapshot_that_contradicts_itself_is_refused() {
    let mut cloud = Fleet::new(1);
    make(&mut cloud, at(0), "node-1");
    let (newest, mut instances) = cloud.kept();
    Fleet::restore(1, newest - 1, instances.clone()).unwrap_err();
    instances.get_mut(&1).unwrap().clear();
    Fleet::restore(1, newest, instances).unwrap_err();
}

#[test]
fn only_what_changes_something_counts_as_a_change() {
    let mut cloud = Fleet::new(1);
    let id = make(&mut cloud, at(0), "node-1");
    assert_eq!(cloud.changes(), 1);
    let bigger = UpdateInstance { instance_type: Some("sim.big".into()), ..Default::default() };
    for want in [2, 2] {
        cloud.update(at(0), &id, &bigger).unwrap();
        assert_eq!(cloud.changes(), want);
    }
    let acts: [Act; 6] = [
        Fleet::start,
        Fleet::stop,
        Fleet::stop,
        Fleet::replace,
        Fleet::terminate,
        Fleet::terminate,
    ];
    let counted = acts.map(|act| {
        act(&mut cloud, at(0), &id).unwrap();
        cloud.changes()
    });
    assert_eq!(counted, [2, 3, 3, 4, 5, 5]);
    cloud.start(at(0), &id).unwrap_err();
    assert_eq!(cloud.changes(), 5);
}

#[rstest]
#[case::no_name(CreateInstance::named(""), "name")]
#[case::a_long_name(CreateInstance::named("x".repeat(254)), "name")]
#[case::a_blank_name(CreateInstance::named("a b"), "name")]
#[case::an_empty_zone(
    CreateInstance { zone: Some(String::new()), ..CreateInstance::named("a") }, "zone",
)]
#[case::an_odd_uuid(
    CreateInstance { system_uuid: Some("12".into()), ..CreateInstance::named("a") },
    "system_uuid",
)]
#[case::an_odd_tag(
    CreateInstance {
        tags: BTreeMap::from([("a=b".into(), "c".into())]), ..CreateInstance::named("a")
    },
    "tags",
)]
fn what_cannot_be_made_is_named(#[case] wanted: CreateInstance, #[case] want: &str) {
    let mut cloud = Fleet::new(1);
    let field_of = |refusal| match refusal {
        Refusal::Invalid { field, .. } => field,
        other => panic!("{other}"),
    };
    let alone = cloud.create(at(0), vec![wanted.clone()]).unwrap_err();
    assert_eq!(field_of(alone), want);
    let second = cloud.create(at(0), vec![CreateInstance::named("b"), wanted]).unwrap_err();
    assert_eq!(field_of(second), format!("instances[1].{want}"));
    assert_eq!(cloud.len(), 0);
}
