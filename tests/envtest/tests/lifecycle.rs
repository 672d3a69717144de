//! A control plane starts, is used, is hurt, and goes without a trace.

mod common;

use std::{
    os::unix::fs::PermissionsExt,
    time::{Duration, Instant},
};

use ccm_envtest::{ControlPlane, Error, Options};
use common::{eventually, record_of, remains, runs};
use futures::{StreamExt, TryStreamExt};
use k8s_openapi::{
    api::core::v1::{ConfigMap, Namespace},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::{
    Api,
    api::{ListParams, PostParams, WatchParams},
};
use rstest::rstest;

/// Long enough for what takes milliseconds.
const SOON: Duration = Duration::from_secs(10);

fn pids(control_plane: &ControlPlane) -> Vec<u32> {
    let apiserver = control_plane.apiserver_pid().expect("it runs");
    vec![control_plane.etcd_pid(), apiserver, control_plane.guardian_pid()]
}

fn namespace(name: &str) -> Namespace {
    let metadata = ObjectMeta { name: Some(name.to_owned()), ..Default::default() };
    Namespace { metadata, ..Default::default() }
}

#[tokio::test]
async fn what_is_started_is_used_and_stopped() {
    let control_plane = ControlPlane::start().await.unwrap();
    let (pids, dir) = (pids(&control_plane), control_plane.dir().to_owned());
    assert!(pids.iter().all(|pid| runs(*pid)) && dir.exists() && record_of(&dir).exists());

    let client = control_plane.admin_client();
    let version = client.apiserver_version().await.unwrap();
    assert_eq!((&*version.major, &*version.minor), ("1", "36"), "{version:?}");
    let namespaces: Api<Namespace> = Api::all(client);
    namespaces.create(&PostParams::default(), &namespace("a")).await.unwrap();
    assert!(namespaces.get("a").await.is_ok());

    control_plane.stop().await.unwrap();
    assert!(!remains(&pids, &dir));
}

/// Whoever reaches etcd may write anything, and asks nobody for leave.
#[tokio::test]
async fn etcd_is_reached_by_its_owner_alone() {
    let control_plane = ControlPlane::start().await.unwrap();
    let mode = control_plane.dir().metadata().unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700, "the folder with its sockets");
    let etcd = listening(control_plane.etcd_pid());
    assert!(etcd.is_empty(), "etcd listens on ports: {etcd:?}");
    let apiserver = listening(control_plane.apiserver_pid().unwrap());
    assert_eq!(apiserver.len(), 1, "this test sees ports that are listened on: {apiserver:?}");
    control_plane.stop().await.unwrap();
}

/// The lines of the system's tables for ports that this process listens on.
fn listening(pid: u32) -> Vec<String> {
    let files = std::fs::read_dir(format!("/proc/{pid}/fd")).expect("it runs and is ours");
    let files = files.flatten().filter_map(|file| std::fs::read_link(file.path()).ok());
    let sockets: Vec<_> = files.map(|file| file.display().to_string()).collect();
    let tables = ["tcp", "tcp6"].map(|name| format!("/proc/{pid}/net/{name}"));
    let tables = tables.map(|path| std::fs::read_to_string(path).unwrap_or_default()).concat();
    let lines = tables.lines().filter(|line| {
        let fields: Vec<_> = line.split_whitespace().collect();
        // The fourth is the state, of which 0A is to listen; the tenth names the socket.
        fields.get(3) == Some(&"0A")
            && fields.get(9).is_some_and(|inode| sockets.contains(&format!("socket:[{inode}]")))
    });
    lines.map(str::to_owned).collect()
}

#[tokio::test]
async fn one_that_is_dropped_is_gone_at_once() {
    let control_plane = ControlPlane::start().await.unwrap();
    let (pids, dir) = (pids(&control_plane), control_plane.dir().to_owned());
    drop(control_plane);
    assert!(!remains(&pids, &dir));
}

#[tokio::test]
async fn a_panic_takes_it_away() {
    let (sender, receiver) = tokio::sync::oneshot::channel();
    let test = tokio::spawn(async move {
        let control_plane = ControlPlane::start().await.unwrap();
        sender.send((pids(&control_plane), control_plane.dir().to_owned())).unwrap();
        panic!("as a failing test does");
    });
    let (pids, dir) = receiver.await.unwrap();
    assert!(test.await.unwrap_err().is_panic());
    assert!(!remains(&pids, &dir));
}

#[tokio::test]
async fn two_side_by_side_do_not_know_of_each_other() {
    let (one, other) = tokio::join!(ControlPlane::start(), ControlPlane::start());
    let (one, other) = (one.unwrap(), other.unwrap());
    assert_ne!(one.server_url(), other.server_url());

    let in_one: Api<Namespace> = Api::all(one.admin_client());
    in_one.create(&PostParams::default(), &namespace("only-in-one")).await.unwrap();
    let in_other: Api<Namespace> = Api::all(other.admin_client());
    let names: Vec<_> = in_other.list(&ListParams::default()).await.unwrap().items;
    assert!(names.iter().all(|found| found.metadata.name.as_deref() != Some("only-in-one")));

    let pids_of_one = pids(&one);
    one.stop().await.unwrap();
    assert!(pids_of_one.iter().all(|pid| !runs(*pid)));
    assert!(in_other.get("default").await.is_ok(), "the other one goes on");
    other.stop().await.unwrap();
}

/// How an API server goes.
#[derive(Clone, Copy, Debug)]
enum End {
    InOrder,
    WithoutNotice,
}

#[rstest]
#[case::in_order(End::InOrder)]
#[case::without_notice(End::WithoutNotice)]
#[tokio::test]
async fn the_api_server_comes_back_with_its_port_and_its_objects(#[case] end: End) {
    let mut control_plane = ControlPlane::start().await.unwrap();
    let client = control_plane.admin_client();
    let namespaces: Api<Namespace> = Api::all(client);
    namespaces.create(&PostParams::default(), &namespace("kept")).await.unwrap();
    let mut watch = namespaces.watch(&WatchParams::default(), "0").await.unwrap().boxed();
    watch.try_next().await.unwrap().expect("a namespace that is there");
    let url = control_plane.server_url().to_owned();
    let first = control_plane.apiserver_pid().unwrap();

    let since = Instant::now();
    match end {
        End::InOrder => control_plane.stop_apiserver().await.unwrap(),
        End::WithoutNotice => control_plane.kill_apiserver().unwrap(),
    }
    let took = since.elapsed();
    // A watch that it waited for would hold it up until it is killed.
    assert!(took < Duration::from_secs(15), "an open watch held it up for {took:?}");
    assert!(!runs(first));
    assert_eq!(control_plane.apiserver_pid(), None);
    assert!(namespaces.get("kept").await.is_err(), "nobody answers");

    control_plane.start_apiserver().await.unwrap();
    assert_eq!(control_plane.server_url(), url);
    assert_ne!(control_plane.apiserver_pid(), Some(first));
    assert!(namespaces.get("kept").await.is_ok(), "the same client finds the same object");

    let (pids, dir) = (pids(&control_plane), control_plane.dir().to_owned());
    let record = std::fs::read_to_string(record_of(&dir)).unwrap();
    assert!(!record.contains(&format!("process {first} ")), "{record}");
    control_plane.stop().await.unwrap();
    assert!(!remains(&pids, &dir));
}

#[tokio::test]
async fn a_write_waits_for_a_paused_etcd() {
    let mut control_plane = ControlPlane::start().await.unwrap();
    let maps: Api<ConfigMap> = Api::default_namespaced(control_plane.admin_client());
    control_plane.pause_etcd().unwrap();
    let map = ConfigMap {
        metadata: ObjectMeta { name: Some("late".to_owned()), ..Default::default() },
        ..Default::default()
    };
    let params = PostParams::default();
    let create = maps.create(&params, &map);
    tokio::pin!(create);
    let early = tokio::time::timeout(Duration::from_millis(500), &mut create).await;
    assert!(early.is_err(), "written without etcd: {early:?}");

    control_plane.resume_etcd().unwrap();
    create.await.unwrap();

    // A paused process can be stopped, too.
    control_plane.pause_etcd().unwrap();
    let (pids, dir) = (pids(&control_plane), control_plane.dir().to_owned());
    drop(control_plane);
    assert!(!remains(&pids, &dir));
}

/// What tells a race for a port from another failure is in the programs' own words.
#[tokio::test]
async fn a_port_that_stays_taken_is_said_to_be() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let etcd = Options {
        etcd_args: vec![format!("--listen-client-urls=http://127.0.0.1:{port}")],
        ..Options::default()
    };
    let apiserver =
        Options { apiserver_args: vec![format!("--secure-port={port}")], ..Options::default() };
    for (options, name) in [(etcd, "etcd"), (apiserver, "kube-apiserver")] {
        let err = ControlPlane::start_with(options).await.unwrap_err();
        let Error::Exited { program, run, .. } = &err else { panic!("{err}") };
        assert_eq!(*program, name, "{err}");
        assert!(run.tail.contains("address already in use"), "{err}");
    }
}

#[tokio::test]
async fn a_program_that_ends_by_itself_is_told_of() {
    let mut control_plane = ControlPlane::start().await.unwrap();
    control_plane.expect_running().unwrap();
    let etcd = control_plane.etcd_pid();
    kill(etcd);
    // One that is killed cannot be waited for before its last thread has ended.
    let is_noticed = || control_plane.expect_running().is_err();
    eventually("it is noticed that etcd is gone", SOON, is_noticed).await;
    let err = control_plane.expect_running().unwrap_err();
    assert!(matches!(err, Error::Exited { program: "etcd", .. }), "{err}");
}

fn kill(pid: u32) {
    let status = std::process::Command::new("kill").args(["-KILL", &pid.to_string()]).status();
    assert!(status.is_ok_and(|status| status.success()));
}

#[tokio::test]
async fn a_start_that_fails_says_why_and_leaves_nothing() {
    let options = Options { apiserver_args: vec!["--no-such-flag".into()], ..Options::default() };
    let err = ControlPlane::start_with(options).await.unwrap_err();
    let Error::Exited { program, run, .. } = &err else { panic!("{err}") };
    assert_eq!(*program, "kube-apiserver");
    assert!(run.tail.contains("unknown flag: --no-such-flag"), "{err}");
    assert!(run.command.contains("--etcd-servers="), "{err}");
    let dir = run.log.parent().unwrap();
    eventually("the directory is gone", SOON, || !remains(&[], dir)).await;
}
