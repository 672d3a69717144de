//! Leader election against a real API server, with the rights that our manifests grant.

#![allow(clippy::unwrap_used, reason = "a test's helpers")]

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use ccm_core::cluster::client::ClusterConfig;
use ccm_core::cluster::gate::{Gate, GateKeeper};
use ccm_core::cluster::lease::{Election, Elector, Lost, Timing, identity};
use ccm_envtest::{ControlPlane, Grant};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::rbac::v1::PolicyRule;
use kube::api::{Api, DeleteParams, Patch, PatchParams};
use rstest::rstest;
use serde_json::{Value, json};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::sync::OnceCell;
use tokio::time::{Instant, sleep, timeout};

const NAMESPACE: &str = "kube-system";
const LONG: Duration = Duration::from_secs(30);
const MS: Duration = Duration::from_millis(1);

/// Terms that say something of how one follows another.
const FEW_TERMS: u32 = 6;

/// A candidate with the rights it has in production, and no others.
struct Candidate {
    elector: Elector,
    gate: Gate,
}

impl Candidate {
    fn new(kubeconfig: &Path, lease: &str, timing: Timing) -> Self {
        let config = ClusterConfig::load(Some(kubeconfig), None, "test").unwrap();
        let client = config.lease_client(timing.request_timeout()).unwrap();
        let keeper = GateKeeper::new();
        let gate = keeper.gate();
        let election = Election {
            namespace: NAMESPACE.to_owned(),
            name: lease.to_owned(),
            identity: identity(),
            timing,
        };
        Self { elector: Elector::new(client, election, keeper), gate }
    }

    /// Leads, and says how long it took.
    async fn lead(&mut self) -> Duration {
        let start = Instant::now();
        timeout(LONG, self.elector.acquire()).await.unwrap().unwrap();
        assert!(self.gate.is_open());
        start.elapsed()
    }

    /// Leads for so long.
    async fn hold(&mut self, how_long: Duration) {
        let lost = timeout(how_long, self.elector.hold()).await;
        assert!(lost.is_err(), "{lost:?}");
        assert!(self.gate.is_open());
    }

    /// Leads until it is so, however slow the machine is.
    async fn hold_until(&mut self, what: &str, mut is_so: impl AsyncFnMut() -> bool) {
        let waits = async {
            while !is_so().await {
                sleep(MS * 20).await;
            }
        };
        tokio::select! {
            lost = self.elector.hold() => panic!("{lost:?} before {what}"),
            () = waits => {}
            () = sleep(LONG) => panic!("waited for {what}"),
        }
        assert!(self.gate.is_open());
    }

    /// Leads until it has renewed the lease.
    async fn renew(&mut self) {
        let health = self.elector.health();
        let before = health.last_renewed();
        self.hold_until("a renewal", async || health.last_renewed() > before).await;
    }
}

/// Lease duration, renew deadline and retry period in milliseconds. Where a lease must not run out,
/// the deadline is longer than a busy machine stands still.
fn timing(lease: u32, renew: u32, retry: u32) -> Timing {
    Timing::new(MS * lease, MS * renew, MS * retry).unwrap()
}

/// Renews often, and has much time for it.
fn patient() -> Timing {
    timing(30_000, 20_000, 500)
}

/// One control plane for all tests of this file, which ends with the process. It lives in a runtime of
/// its own, since each test's ends with the test.
async fn control_plane() -> &'static ControlPlane {
    static PLANE: OnceCell<ControlPlane> = OnceCell::const_new();
    PLANE.get_or_init(|| async { apart(ControlPlane::start()).await.unwrap() }).await
}

async fn apart<T: Send + 'static>(task: impl Future<Output = T> + Send + 'static) -> T {
    static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().unwrap());
    RUNTIME.spawn(task).await.unwrap()
}

/// A kubeconfig of somebody who may create leases and do `verbs` with the lease of this name.
async fn somebody(lease: &str, verbs: &[&str]) -> PathBuf {
    let rule = |verbs: &[&str], names: Option<Vec<String>>| PolicyRule {
        api_groups: Some(vec!["coordination.k8s.io".to_owned()]),
        resources: Some(vec!["leases".to_owned()]),
        resource_names: names,
        verbs: verbs.iter().map(|verb| (*verb).to_owned()).collect(),
        ..PolicyRule::default()
    };
    let rules = vec![rule(&["create"], None), rule(verbs, Some(vec![lease.to_owned()]))];
    let grants = [Grant::RoleRules { namespace: NAMESPACE.to_owned(), rules }];
    let (plane, name) = (control_plane().await, lease.to_owned());
    let account = apart(async move { plane.service_account(NAMESPACE, &name, &grants).await });
    account.await.unwrap().kubeconfig().to_owned()
}

const ALL: &[&str] = &["get", "update", "watch"];

/// The cluster's owner, in this test's runtime.
async fn leases() -> Api<Lease> {
    let plane = control_plane().await;
    Api::namespaced(plane.client(plane.admin_credentials()).await.unwrap(), NAMESPACE)
}

async fn spec(lease: &str) -> Value {
    serde_json::to_value(leases().await.get(lease).await.unwrap().spec.unwrap()).unwrap()
}

/// Whether the lease is there, and this is who holds it.
async fn is_held(lease: &str, by: &str) -> bool {
    let lease = leases().await.get_opt(lease).await.unwrap();
    lease.and_then(|lease| lease.spec?.holder_identity).is_some_and(|it| it == by)
}

async fn change(lease: &str, patch: Value) {
    leases().await.patch(lease, &PatchParams::default(), &Patch::Merge(patch)).await.unwrap();
}

#[tokio::test]
async fn a_free_lease_is_held_at_once_and_a_released_one_too() {
    let who = somebody("free", ALL).await;
    let mut shown = Vec::new();
    for transitions in 0..5 {
        let start = Instant::now();
        // From nothing: configuration, TLS, and the lease's two round trips.
        let mut candidate = Candidate::new(&who, "free", Timing::default());
        candidate.lead().await;
        shown.push(start.elapsed());
        assert_eq!(spec("free").await["leaseTransitions"], transitions);
        assert!(candidate.elector.health().is_leader());
        candidate.elector.release().await.unwrap();
        assert!(!candidate.gate.is_open());
        assert!(!candidate.elector.health().is_leader());
    }
    println!("from nothing to leading: {shown:.1?} (the first one creates the lease)");
    // 150 ms are promised on an idle machine; this one compiles meanwhile.
    assert!(shown.iter().min().unwrap() < &Duration::from_secs(1), "{shown:?}");
}

#[tokio::test]
async fn the_record_is_client_gos() {
    let who = somebody("record", ALL).await;
    let mut candidate = Candidate::new(&who, "record", Timing::default());
    candidate.lead().await;
    let held = spec("record").await;
    let now = &held["renewTime"];
    assert_eq!(
        held,
        json!({
            "holderIdentity": candidate.elector.identity(), "leaseDurationSeconds": 15,
            "leaseTransitions": 0, "acquireTime": now, "renewTime": now,
        })
    );
    // As Go's RFC3339Micro, which wants six digits.
    assert_eq!(now.as_str().unwrap().len(), "2026-01-02T03:04:05.000000Z".len());
    assert_eq!(candidate.elector.involved().uid.len(), 36);

    candidate.elector.release().await.unwrap();
    let released = spec("record").await;
    let now = &released["renewTime"];
    assert_eq!(
        released,
        json!({
            "holderIdentity": "", "leaseDurationSeconds": 1, "leaseTransitions": 0,
            "acquireTime": now, "renewTime": now,
        })
    );
}

/// Retry periods are so long that a poll cannot have seen it.
#[tokio::test]
async fn a_release_is_seen_by_watching() {
    let who = somebody("watched", ALL).await;
    let timing = timing(15_000, 14_000, 10_000);
    let mut first = Candidate::new(&who, "watched", timing);
    first.lead().await;
    let mut second = Candidate::new(&who, "watched", timing);
    let waiting = tokio::spawn(async move {
        second.lead().await;
        (second, Instant::now())
    });
    until_watched().await;

    let start = Instant::now();
    first.elector.release().await.unwrap();
    let (second, led) = waiting.await.unwrap();
    println!("from the beginning of the release to the next leader: {:.1?}", led - start);
    // A poll would come after ten seconds.
    assert!(led - start < Duration::from_secs(9));
    assert_eq!(spec("watched").await["leaseTransitions"], 1);
    drop(second);
}

#[tokio::test]
async fn a_deleted_lease_is_seen_by_watching() {
    let who = somebody("deleted", ALL).await;
    let timing = timing(15_000, 14_000, 10_000);
    let mut first = Candidate::new(&who, "deleted", timing);
    first.lead().await;
    let mut second = Candidate::new(&who, "deleted", timing);
    let waiting = tokio::spawn(async move { second.lead().await });
    until_watched().await;
    leases().await.delete("deleted", &DeleteParams::default()).await.unwrap();
    waiting.await.unwrap();
    assert_eq!(spec("deleted").await["leaseTransitions"], 0);
}

/// Some lease is watched; whose watch it is the metric does not say.
async fn until_watched() {
    let plane = control_plane().await;
    let client = plane.client(plane.admin_credentials()).await.unwrap();
    timeout(LONG, async {
        loop {
            let request = axum::http::Request::get("/metrics").body(Vec::new()).unwrap();
            let metrics = client.request_text(request).await.unwrap();
            // Of one object, as ours is: the API server itself watches leases too.
            let watched = metrics.lines().any(|line| {
                line.starts_with("apiserver_longrunning_requests{")
                    && line.contains("resource=\"leases\",scope=\"resource\"")
                    && !line.ends_with(" 0")
            });
            if watched {
                return;
            }
            sleep(MS * 20).await;
        }
    })
    .await
    .expect("somebody watches a lease");
}

#[tokio::test]
async fn a_dead_holders_lease_is_taken_when_it_has_run_out() {
    let who = somebody("dead", ALL).await;
    let timing = timing(8000, 5000, 500);
    let mut dead = Candidate::new(&who, "dead", timing);
    dead.lead().await;
    dead.renew().await;
    let mut next = Candidate::new(&who, "dead", timing);
    let took = next.lead().await;
    println!("from the first look at a dead leader's lease to leading: {took:.1?}");
    assert!(took >= MS * 7900, "it had promised eight seconds: {took:?}");
    assert!(took < MS * 15_000, "{took:?}");
    assert!(!dead.gate.is_open());
    assert_eq!(spec("dead").await["leaseTransitions"], 1);
    // The dead one wakes up.
    let lost = timeout(LONG, dead.elector.hold()).await.unwrap();
    assert_eq!(lost, Lost::NotRenewed { within: MS * 5000 });
    assert!(next.gate.is_open());
}

#[tokio::test]
async fn a_candidate_that_may_not_watch_polls() {
    let who = somebody("polled", &["get", "update"]).await;
    let mut first = Candidate::new(&who, "polled", patient());
    first.lead().await;
    let mut second = Candidate::new(&who, "polled", patient());
    let waiting = tokio::spawn(async move { second.lead().await });
    first.hold(MS * 1000).await;
    let start = Instant::now();
    first.elector.release().await.unwrap();
    waiting.await.unwrap();
    println!(
        "from a release to the next leader, by polling each 0.5 to 1.1 s: {:.1?}",
        start.elapsed()
    );
    // Or after the lease's thirty seconds.
    assert!(start.elapsed() < MS * 15_000);
}

#[tokio::test]
async fn renewing_survives_other_writers_and_ends_when_another_leads() {
    let who = somebody("conflict", ALL).await;
    let mut candidate = Candidate::new(&who, "conflict", patient());
    let (health, us) = (candidate.elector.health(), candidate.elector.identity().to_owned());
    candidate.lead().await;
    candidate.renew().await;
    assert_eq!(health.slow_paths(), 0);

    change("conflict", json!({"metadata": {"annotations": {"somebody": "was here"}}})).await;
    candidate.renew().await;
    assert_eq!(health.slow_paths(), 1);
    let lease = leases().await.get("conflict").await.unwrap();
    assert!(lease.metadata.annotations.unwrap().contains_key("somebody"), "it is kept");

    // Cleared by hand: nobody leads, so we still may.
    change("conflict", json!({"spec": {"holderIdentity": ""}})).await;
    candidate.hold_until("our name", async || is_held("conflict", &us).await).await;

    leases().await.delete("conflict", &DeleteParams::default()).await.unwrap();
    candidate.hold_until("our name", async || is_held("conflict", &us).await).await;

    change("conflict", json!({"spec": {"holderIdentity": "usurper"}})).await;
    let lost = timeout(LONG, candidate.elector.hold()).await.unwrap();
    assert_eq!(lost, Lost::Taken { by: "usurper".to_owned() });
    assert!(!candidate.gate.is_open());
    assert!(health.check().is_ok(), "who does not lead is not stuck");
    // Nor does it take from the other what is not ours any more.
    candidate.elector.release().await.unwrap();
    assert_eq!(spec("conflict").await["holderIdentity"], "usurper");
}

#[tokio::test]
async fn a_renewal_that_was_cut_off_does_not_keep_the_lease_from_being_released() {
    let who = somebody("cut", ALL).await;
    let mut candidate = Candidate::new(&who, "cut", patient());
    candidate.lead().await;
    // As if our own write had arrived and its answer had not.
    change("cut", json!({"spec": {"renewTime": "2026-01-02T03:04:05.000000Z"}})).await;
    candidate.elector.release().await.unwrap();
    assert_eq!(spec("cut").await["holderIdentity"], "");
}

#[rstest]
#[case::refused("away-refused", Break::Refuse)]
#[case::silent("away-silent", Break::Stall)]
#[tokio::test]
async fn without_the_api_server_leadership_ends_before_another_can_lead(
    #[case] lease: &str,
    #[case] how: Break,
) {
    let who = somebody(lease, ALL).await;
    let (way, through) = Way::to(&who, how).await;
    let timing = timing(15_000, 10_000, 1000);
    let mut cut_off = Candidate::new(&through, lease, timing);
    cut_off.lead().await;
    cut_off.renew().await;
    let health = cut_off.elector.health();

    way.cut();
    let mut other = Candidate::new(&who, lease, timing);
    let gates = (cut_off.gate.clone(), other.gate.clone());
    let waiting = tokio::spawn(async move { (other.lead().await, other) });
    let renewed = health.last_renewed().unwrap();
    let lost = timeout(LONG, cut_off.elector.hold()).await.unwrap();
    assert_eq!(lost, Lost::NotRenewed { within: MS * 10_000 });
    // A renewal may have been on its way when the way was cut.
    let after = renewed.elapsed();
    assert!(after >= MS * 9900 && after < MS * 15_000, "{after:?}");
    assert!(!gates.0.is_open() && !gates.1.is_open(), "for a while nobody leads");

    let (_, mut other) = waiting.await.unwrap();
    // The candidate that was cut off finds its way back, as a candidate.
    way.mend();
    let again = tokio::spawn(async move { (cut_off.lead().await, cut_off) });
    other.hold(MS * 1000).await;
    assert!(!again.is_finished());
    other.elector.release().await.unwrap();
    again.await.unwrap();
}

/// Candidates come, lead, release or die, for some seconds and some terms; a look at all gates never finds two open.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn never_do_two_gates_stand_open() {
    let who = somebody("contended", ALL).await;
    let stop = Arc::new(AtomicBool::new(false));
    let terms = Arc::new(AtomicU32::new(0));
    let timing = timing(1000, 700, 100);
    let mut candidates = Vec::new();
    let (seen, mut gates) = tokio::sync::mpsc::unbounded_channel();
    for number in 0..4_u32 {
        let (who, stop, seen) = (who.clone(), Arc::clone(&stop), seen.clone());
        let all_terms = Arc::clone(&terms);
        candidates.push(tokio::spawn(async move {
            let mut terms = 0_u32;
            while !stop.load(Ordering::Relaxed) {
                let mut candidate = Candidate::new(&who, "contended", timing);
                seen.send(candidate.gate.clone()).unwrap();
                if timeout(MS * 4000, candidate.elector.acquire()).await.is_err() {
                    continue;
                }
                terms += 1;
                all_terms.fetch_add(1, Ordering::Relaxed);
                timeout(MS * (50 + 70 * number), candidate.elector.hold()).await.ok();
                if terms.is_multiple_of(3) {
                    // Falls silent without letting go; its gate closes by itself.
                    sleep(MS * 900).await;
                } else {
                    candidate.elector.release().await.ok();
                }
            }
        }));
    }
    drop(seen);

    let start = Instant::now();
    let (mut all, mut looks): (Vec<Gate>, u64) = (Vec::new(), 0);
    let goes_on = || {
        let (since, terms) = (start.elapsed(), terms.load(Ordering::Relaxed));
        since < Duration::from_secs(6) || (terms < FEW_TERMS && since < LONG)
    };
    while goes_on() {
        while let Ok(gate) = gates.try_recv() {
            all.push(gate);
        }
        for (place, one) in all.iter().enumerate() {
            for other in &all[place + 1..] {
                // The first is looked at twice: it may have closed between the looks.
                assert!(!(one.is_open() && other.is_open() && one.is_open()));
            }
        }
        looks += 1;
        tokio::task::yield_now().await;
    }
    stop.store(true, Ordering::Relaxed);
    for candidate in candidates {
        candidate.await.unwrap();
    }
    let terms = terms.load(Ordering::Relaxed);
    println!("{terms} terms, {looks} looks");
    assert!(terms >= FEW_TERMS, "{terms} terms only");
}

#[derive(Clone, Copy)]
enum Break {
    Refuse,
    Stall,
}

/// A way to the API server that can be cut.
struct Way(Arc<AtomicBool>);

impl Way {
    /// Makes a kubeconfig that leads this way.
    async fn to(kubeconfig: &Path, how: Break) -> (Self, PathBuf) {
        let server = control_plane().await.server_url();
        let target = server.strip_prefix("https://").unwrap().to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let here = format!("https://{}", listener.local_addr().unwrap());
        let text = std::fs::read_to_string(kubeconfig).unwrap();
        assert!(text.contains(server));
        let path = kubeconfig.with_extension("cut");
        std::fs::write(&path, text.replace(server, &here)).unwrap();

        let cut = Arc::new(AtomicBool::new(false));
        let is_cut = Arc::clone(&cut);
        tokio::spawn(async move {
            while let Ok((mut near, _)) = listener.accept().await {
                let (target, is_cut) = (target.clone(), Arc::clone(&is_cut));
                tokio::spawn(async move {
                    let until_cut = async {
                        while !is_cut.load(Ordering::Relaxed) {
                            sleep(MS * 5).await;
                        }
                    };
                    let forward = async {
                        let mut far = TcpStream::connect(target).await.unwrap();
                        copy_bidirectional(&mut near, &mut far).await.ok();
                    };
                    tokio::select! {
                        biased;
                        () = until_cut => {}
                        () = forward => return,
                    }
                    if matches!(how, Break::Stall) {
                        // Held open, and nothing comes.
                        sleep(LONG).await;
                    }
                });
            }
        });
        (Self(cut), path)
    }

    fn cut(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    fn mend(&self) {
        self.0.store(false, Ordering::Relaxed);
    }
}
