//! Volumes of a real simulated cloud.

use ccm_conformance::leave;
use ccm_core::cloud::{ConfigFile, Uid};
use rstest::rstest;
use simcloud::api::{CreateVolume, FaultKind, FaultSpec, Operation, OperationFilter};
use simcloud::console::Console;
use simcloud::{Running, SimCloud};
use std::time::Duration;

use super::*;
use crate::config::Config;

struct Stage {
    _running: Running,
    console: Console,
    volumes: SimVolumes,
}

async fn stage() -> Stage {
    let running = SimCloud::start(simcloud::Config::new("a-token", "the-controls")).await.unwrap();
    let console = Console::new(running.url(), "a-token", "the-controls").unwrap();
    let bytes = format!("endpoint: {}\ntoken: a-token\nbatchLimit: 2", running.url()).into_bytes();
    let config = Config::read(Some(&ConfigFile { path: "sim.yaml".into(), bytes })).unwrap();
    let client = Arc::new(Client::new(&config, "ccm/1").unwrap());
    let volumes = SimVolumes::new(client, config.batch_limit, Some("cinder".to_owned()));
    Stage { _running: running, console, volumes }
}

fn csi(handle: &str) -> VolumeRef {
    let source = VolumeSource::Csi { driver: DRIVER.to_owned(), handle: handle.to_owned() };
    VolumeRef { name: format!("pv-{handle}"), uid: Uid::from("u"), source }
}

fn in_tree(field: &'static str, handle: &str) -> VolumeRef {
    VolumeRef { source: VolumeSource::InTree { field, handle: handle.to_owned() }, ..csi(handle) }
}

fn id(number: u64) -> String {
    format!("vol-{number:016x}")
}

impl Stage {
    async fn make(&self, zones: &[&str]) {
        let wanted = CreateVolume::named("data", zones.iter().copied());
        self.console.create_piece(&wanted).await.unwrap();
    }

    async fn said(&self, volumes: &[VolumeRef]) -> Vec<String> {
        let cx = leave(Duration::from_secs(30));
        let answers = self.volumes.topology(&cx, volumes).await.unwrap();
        let say = |answer: &Observation<Topology>| match answer {
            Observation::Present(Topology { zones, region }) => {
                let zones: Vec<_> = zones.iter().map(Zone::as_str).collect();
                format!("{} in {}", zones.join("+"), region.as_ref().unwrap())
            }
            Observation::Gone(evidence) => format!("{evidence:?}"),
            Observation::Unknown(err) => format!("{:?}: {err}", err.kind()),
        };
        answers.iter().map(say).collect()
    }
}

#[tokio::test]
async fn answers_come_in_the_order_of_the_questions_and_in_batches() {
    let stage = stage().await;
    for zones in [&["sim-1a"][..], &["sim-1b", "sim-1a"], &[]] {
        stage.make(zones).await;
    }
    stage.console.clear_calls().await.unwrap();
    let asked = [
        csi(&id(3)),
        csi(&id(9)),
        csi("../tokens"),
        in_tree("cinder", &id(1)),
        csi(&id(2)),
        csi(&id(1)),
        csi(""),
    ];
    assert_eq!(
        stage.said(&asked).await,
        [
            " in sim-1",
            "Absent",
            "InvalidConfiguration: volume pv-../tokens is named \"../tokens\", which is no volume ID",
            "sim-1a in sim-1",
            "sim-1a+sim-1b in sim-1",
            "sim-1a in sim-1",
            "InvalidConfiguration: volume pv- is named \"\", which is no volume ID",
        ]
    );
    let calls = stage.console.calls().await.unwrap();
    assert_eq!((calls.of(Operation::DescribeVolumes), calls.total), (2, 2), "each volume once");
    assert_eq!(stage.said(&[]).await, [""; 0]);
    assert_eq!(stage.console.calls().await.unwrap().total, 2, "no question, no call");
}

#[rstest]
#[case::denied(FaultKind::PermissionDenied, "PermissionDenied")]
#[case::down(FaultKind::ServerError { status: 503 }, "Unavailable")]
#[case::cut(FaultKind::LoseResponse, "Unavailable")]
#[tokio::test]
async fn a_failed_call_leaves_the_others_answers(#[case] kind: FaultKind, #[case] want: &str) {
    let stage = stage().await;
    for _ in 0..3 {
        stage.make(&["sim-1a"]).await;
    }
    let mut fault = FaultSpec::always(OperationFilter::Any, kind);
    fault.resource = Some(id(3));
    stage.console.add_fault(&fault).await.unwrap();
    let said = stage.said(&[csi(&id(3)), csi(&id(1)), csi(&id(2))]).await;
    assert!(said[0].starts_with(want), "{said:?}");
    assert_eq!(said[1..], ["sim-1a in sim-1", "sim-1a in sim-1"]);
}

#[test]
fn a_volume_is_ours_by_its_driver_or_by_the_field_that_is_said() {
    let bytes = b"endpoint: http://127.0.0.1:1\ntoken: t".to_vec();
    let config = Config::read(Some(&ConfigFile { path: "sim.yaml".into(), bytes })).unwrap();
    let client = Arc::new(Client::new(&config, "ccm/1").unwrap());
    let with = |field: Option<&str>| {
        let field = field.map(str::to_owned);
        SimVolumes::new(Arc::clone(&client), config.batch_limit, field)
    };
    let foreign = VolumeSource::Csi { driver: "ebs.csi.aws.com".into(), handle: id(1) };
    let foreign = VolumeRef { source: foreign, ..csi(&id(1)) };
    for (volumes, cinder) in [(with(None), false), (with(Some("cinder")), true)] {
        assert!(volumes.owns(&csi("anything")));
        assert_eq!(volumes.owns(&in_tree("cinder", &id(1))), cinder);
        assert!(!volumes.owns(&in_tree("gcePersistentDisk", &id(1))));
        assert!(!volumes.owns(&foreign));
    }
}

#[test]
fn an_answer_about_others_proves_no_absence() {
    let record = |id: Option<&str>, volume| VolumeRecord { id: id.map(VolumeId::from), volume };
    let odd = || Err(CloudError::new(Kind::Internal, "odd"));
    let (a, asked) = (VolumeId::from("a"), [VolumeId::from("a"), VolumeId::from("b")]);
    let kind = |records| match Answer(records).of(&a, &asked) {
        Observation::Unknown(err) => Some(err.kind()),
        Observation::Gone(Evidence::Absent) => None,
        other => panic!("{other:?}"),
    };
    assert_eq!(kind(Ok(vec![record(Some("b"), odd())])), None, "an odd one spoils no other");
    assert_eq!(kind(Ok(vec![record(Some("a"), odd())])), Some(Kind::Internal));
    assert_eq!(kind(Ok(vec![record(Some("c"), odd())])), Some(Kind::Internal));
    assert_eq!(kind(Ok(vec![record(None, odd())])), Some(Kind::Internal));
    let denied = CloudError::new(Kind::PermissionDenied, "no");
    assert_eq!(kind(Err(denied)), Some(Kind::PermissionDenied));
}
