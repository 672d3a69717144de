use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::time::SystemTime;

use async_trait::async_trait;

use super::*;
use crate::cloud::{
    Bucket, Detail, Evidence, Incarnation, Instance, Operation, PodCidrs, ProviderId, Read,
    RunState,
};
use crate::cluster::gate::Gate;
use crate::telemetry::CloudMetrics;

/// Answers after 50 ms, and notes how many nodes each call was about.
#[derive(Debug, Default)]
struct Cloud {
    calls: Mutex<Vec<usize>>,
    confirms: Mutex<Vec<usize>>,
    fails: Mutex<Option<Kind>>,
    /// What a look, and what a direct answer, says of the incarnation.
    incarnations: Mutex<(u32, u32)>,
}

#[async_trait]
impl Instances for Cloud {
    fn batching(&self) -> Batching {
        Batching::UpTo(NonZeroUsize::new(10).unwrap())
    }

    async fn describe(
        &self,
        cx: &Read,
        ask: Ask,
        nodes: &[NodeIdentity],
    ) -> Result<Vec<Observation>, CloudError> {
        let calls = if ask == Ask::Look { &self.calls } else { &self.confirms };
        calls.lock().unwrap().push(nodes.len());
        let (looked, confirmed) = *self.incarnations.lock().unwrap();
        let incarnation = if ask == Ask::Look { looked } else { confirmed };
        let fails = *self.fails.lock().unwrap();
        cx.call(Operation("Describe"), Bucket("reads"), async {
            sleep(Duration::from_millis(50)).await;
            if let Some(kind) = fails { Err(CloudError::new(kind, "no")) } else { Ok(()) }
        })
        .await?;
        Ok(nodes.iter().map(|node| seen(node, incarnation)).collect())
    }
}

fn seen(node: &NodeIdentity, incarnation: u32) -> Observation {
    if node.name.as_str().starts_with("gone") {
        return Observation::Gone(Evidence::Absent);
    }
    Observation::Present(Instance {
        provider_id: ProviderId::try_from(format!("test://{}", node.name).as_str()).unwrap(),
        incarnation: Incarnation::from(format!("{}/{incarnation}", node.name)),
        state: if node.name.as_str().starts_with("starting") {
            RunState::Starting
        } else {
            RunState::Running
        },
        instance_type: None,
        zone: None,
        region: None,
        addresses: Vec::new(),
        labels: BTreeMap::new(),
        pod_cidrs: PodCidrs::Unsaid,
        detail: Detail::default(),
    })
}

fn node(name: &str) -> NodeIdentity {
    NodeIdentity {
        name: name.into(),
        uid: format!("{name}-uid").into(),
        created: SystemTime::UNIX_EPOCH,
        provider_id: None,
        system_uuid: None,
        addresses: Vec::new(),
        labels: BTreeMap::new(),
        annotations: BTreeMap::new(),
        is_initialized: false,
    }
}

fn fleet() -> (Arc<Fleet>, Arc<Cloud>) {
    let cloud = Arc::new(Cloud::default());
    let governor = Governor::new(Gate::always_open(), CloudMetrics::unread());
    let fleet = Arc::new(Fleet::new(Arc::clone(&cloud) as _, governor));
    tokio::spawn(Arc::clone(&fleet).run(CancellationToken::new()));
    (fleet, cloud)
}

const FRESH: Duration = Duration::from_secs(10);

#[tokio::test(start_paused = true)]
async fn questions_that_arrive_together_share_calls() {
    let (fleet, cloud) = fleet();
    let asks = (0..25).map(|n| fleet.look(vec![node(&format!("n{n}"))], FRESH, Urgency::Refresh));
    let answers = join_all(asks).await;
    for (n, answer) in answers.iter().enumerate() {
        let Observation::Present(instance) = &*answer[0].observation else { panic!("{answer:?}") };
        assert_eq!(instance.provider_id.as_str(), format!("test://n{n}"));
    }
    assert_eq!(*cloud.calls.lock().unwrap(), [10, 10, 5]);
}

#[tokio::test(start_paused = true)]
async fn a_kept_answer_serves_until_it_is_too_old() {
    let (fleet, cloud) = fleet();
    let look = |name: &'static str| fleet.look(vec![node(name)], FRESH, Urgency::Refresh);
    look("n").await;
    look("n").await;
    assert_eq!(cloud.calls.lock().unwrap().len(), 1);
    sleep(FRESH).await;
    look("n").await;
    assert_eq!(cloud.calls.lock().unwrap().len(), 2);

    // Absence is asked about anew, and so is a node of the same name.
    look("gone").await;
    look("gone").await;
    assert_eq!(cloud.calls.lock().unwrap().len(), 4);
    let renewed = NodeIdentity { uid: "another".into(), ..node("n") };
    fleet.look(vec![renewed], FRESH, Urgency::Refresh).await;
    assert_eq!(cloud.calls.lock().unwrap().len(), 5);
}

#[tokio::test(start_paused = true)]
async fn of_a_machine_that_starts_no_answer_is_kept_for_long() {
    let (fleet, cloud) = fleet();
    let old = Duration::from_mins(10);
    let look = || fleet.look(vec![node("n"), node("starting")], old, Urgency::Refresh);
    look().await;
    sleep(Duration::from_secs(1)).await;
    look().await;
    assert_eq!(*cloud.calls.lock().unwrap(), [2]);
    sleep(Duration::from_secs(5)).await;
    look().await;
    assert_eq!(*cloud.calls.lock().unwrap(), [2, 1], "it may run by now");
}

#[tokio::test(start_paused = true)]
async fn a_failed_call_is_doubt_about_every_node_and_not_kept() {
    let (fleet, cloud) = fleet();
    *cloud.fails.lock().unwrap() = Some(Kind::PermissionDenied);
    let nodes = vec![node("a"), node("b")];
    for sighting in fleet.look(nodes.clone(), FRESH, Urgency::Initialize).await {
        let Observation::Unknown(err) = &*sighting.observation else { panic!("{sighting:?}") };
        assert_eq!(err.kind(), Kind::PermissionDenied);
    }
    *cloud.fails.lock().unwrap() = None;
    for sighting in fleet.look(nodes, FRESH, Urgency::Initialize).await {
        assert!(matches!(&*sighting.observation, Observation::Present(_)));
    }
}

#[tokio::test(start_paused = true)]
async fn the_urgent_are_asked_about_first() {
    let (fleet, cloud) = fleet();
    let drift = (0..10).map(|n| node(&format!("d{n}"))).collect();
    let (drifting, new) = futures::join!(
        fleet.look(drift, FRESH, Urgency::Drift),
        fleet.look(vec![node("new")], FRESH, Urgency::Initialize),
    );
    assert!(new[0].at <= drifting[9].at);
    assert_eq!(*cloud.calls.lock().unwrap(), [10, 1]);
}

#[tokio::test(start_paused = true)]
async fn while_nodes_join_one_by_one_calls_are_shared() {
    let (fleet, cloud) = fleet();
    // 100 nodes in a second, and an answer takes 50 ms.
    let joins = (0..100_u64).map(|n| {
        let fleet = &fleet;
        async move {
            sleep(Duration::from_millis(10 * n)).await;
            let name = format!("n{n}");
            let asked = Instant::now();
            fleet.look(vec![node(&name)], FRESH, Urgency::Initialize).await;
            asked.elapsed()
        }
    });
    let waits = join_all(joins).await;
    let calls = cloud.calls.lock().unwrap().len();
    assert!(calls <= 45, "{calls} calls");
    let longest = waits.into_iter().max().unwrap();
    assert!(longest <= Duration::from_millis(110), "{longest:?}");
}

#[test]
fn an_answer_of_the_wrong_length_is_doubt() {
    let err = as_asked(Ok(vec![Observation::<Instance>::Gone(Evidence::Absent)]), 2).unwrap_err();
    assert_eq!(err.kind(), Kind::Internal);
}

#[tokio::test(start_paused = true)]
async fn a_replaced_machine_is_doubted_until_a_direct_answer_says_the_same() {
    let (fleet, cloud) = fleet();
    let known = NodeIdentity { provider_id: ProviderId::try_from("test://n").ok(), ..node("n") };
    let look = || async {
        let mut sightings = fleet.look(vec![known.clone()], Duration::ZERO, Urgency::Refresh).await;
        sightings.remove(0)
    };
    look().await;
    assert!(cloud.confirms.lock().unwrap().is_empty());

    *cloud.incarnations.lock().unwrap() = (1, 0);
    let doubted = look().await;
    let Observation::Unknown(err) = &*doubted.observation else { panic!("{doubted:?}") };
    assert_eq!(err.kind(), Kind::Conflict);
    assert_eq!(doubted.before, Some(RunState::Running));

    *cloud.incarnations.lock().unwrap() = (1, 1);
    let believed = look().await;
    assert!(matches!(&*believed.observation, Observation::Present(_)), "{believed:?}");
    assert_eq!(believed.replaces, Some("n/0".into()));
    assert_eq!(*cloud.confirms.lock().unwrap(), [1, 1]);
    // It stays so until the node is renewed, and costs nothing more.
    assert_eq!(look().await.replaces, Some("n/0".into()));
    fleet.renewed(&"n".into());
    assert_eq!(look().await.replaces, None);
    assert_eq!(cloud.confirms.lock().unwrap().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn direct_questions_are_asked_at_once_and_in_batches() {
    let (fleet, cloud) = fleet();
    let nodes: Vec<_> = (0..15).map(|n| node(&format!("gone{n}"))).collect();
    let sightings = fleet.confirm(&nodes).await;
    assert_eq!(sightings.len(), 15);
    let is_gone = |it: &Sighting| matches!(*it.observation, Observation::Gone(Evidence::Absent));
    assert!(sightings.iter().all(is_gone));
    assert_eq!(*cloud.confirms.lock().unwrap(), [10, 5]);
    assert!(cloud.calls.lock().unwrap().is_empty());
}

#[test]
fn the_answer_to_an_older_question_does_not_replace_a_newer_one() {
    let mut kept = Kept::default();
    let (start, second) = (Instant::now(), Duration::from_secs(1));
    kept.keep(&node("n"), seen(&node("n"), 2), start + second, start + second * 2);
    kept.keep(&node("n"), seen(&node("n"), 1), start, start + second * 3);
    let last = kept.recall(&node("n"), start + second * 3, FRESH).unwrap();
    assert_eq!(last.instance().unwrap().incarnation, Incarnation::from("n/2"));
}

#[tokio::test(start_paused = true)]
async fn what_two_ask_at_once_is_asked_once_while_an_answer_may_be_as_old() {
    let (fleet, cloud) = fleet();
    let nodes = || vec![node("a"), node("gone-b")];
    let ask = |max_age| fleet.look(nodes(), max_age, Urgency::Refresh);
    let old = Duration::from_secs(5);
    futures::join!(ask(old), ask(old));
    assert_eq!(*cloud.calls.lock().unwrap(), [2]);

    // One that joins on the way; and one that wants to know what is so after it asked.
    let late = async {
        sleep(Duration::from_millis(20)).await;
        futures::join!(
            fleet.look(vec![node("gone-b")], old, Urgency::Refresh),
            fleet.look(vec![node("gone-b")], Duration::ZERO, Urgency::Refresh),
        )
    };
    let (first, (joined, fresh)) =
        futures::join!(fleet.look(vec![node("gone-b")], Duration::ZERO, Urgency::Refresh), late);
    assert_eq!(joined[0].asked, first[0].asked);
    assert!(fresh[0].asked > first[0].asked);
    assert_eq!(*cloud.calls.lock().unwrap(), [2, 1, 1]);

    // Another identity is another question, whatever the name.
    let other = NodeIdentity { provider_id: ProviderId::try_from("test://x").ok(), ..node("a") };
    futures::join!(
        fleet.look(vec![node("a")], Duration::ZERO, Urgency::Refresh),
        fleet.look(vec![other], Duration::ZERO, Urgency::Refresh),
    );
    assert_eq!(*cloud.calls.lock().unwrap(), [2, 1, 1, 2]);
}
