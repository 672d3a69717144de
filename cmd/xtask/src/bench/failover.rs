//! `cargo xtask bench failover`: two replicas, and how long nobody works when the leader goes, is
//! killed, freezes, or cannot reach the API server.
//!
//! The lease's times are the defaults. Each replica has a service account of its own, so the audit
//! log says who wrote what; that a leader that was frozen past its lease writes nothing is the one
//! thing that makes a benchmark fail.

use std::time::Duration;

use ccm_core::cluster::lease::Timing;
use ccm_envtest::audit::{self, Event, Stage};
use ccm_envtest::kubelet::Kubelet;
use rustix::process::Signal;
use serde::Serialize;
use simcloud::api::CreateInstance;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::replica::{End, Replica};
use super::report::{Output, Table, median, rounded, say, worst};
use super::rig::{Account, Binaries, Rig};
use super::watched::{Holder, initialised};
use crate::Error;

/// Measure how soon a second replica takes over.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Args {
    /// Rounds to take the median of, of two minutes each: the leader is asked to end, killed, frozen
    /// for longer than its lease, and cut off from the API server for a minute.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    #[command(flatten)]
    output: Output,
}

/// How long the API server is away.
const OUTAGE: Duration = Duration::from_mins(1);

/// How much longer than its lease a leader is frozen.
const OVERSLEPT: Duration = Duration::from_secs(5);

/// How long anything may take that has to wait for a lease to run out at most.
const PATIENCE: Duration = Duration::from_mins(1);

/// Pause between two looks at the audit log.
const POLL: Duration = Duration::from_millis(200);

pub(super) async fn run(args: Args, binaries: &Binaries) -> Result<(), Error> {
    let retry_period = Timing::default().retry_period();
    let mut pair = Pair::start(binaries).await?;
    let mut measured = Measured::default();
    for round in 0..args.rounds {
        say(format_args!("round {} of {}", round + 1, args.rounds))?;
        // The lease is renewed once in this time, and how long it outlives its holder depends on
        // when that was: rounds strike at moments that are spread over it.
        let moment = retry_period * round / args.rounds;
        sleep(moment).await;
        pair.terminate(&mut measured).await?;
        sleep(moment).await;
        pair.kill(&mut measured).await?;
        sleep(moment).await;
        pair.freeze(&mut measured).await?;
        sleep(moment).await;
        pair.cut_off(&mut measured).await?;
    }
    pair.stop().await?;
    let table = measured.table();
    say(format_args!("\n{table}"))?;
    args.output.write(&measured.0, &table)
}

/// Figures by their names, with a value from each round.
#[derive(Debug, Default)]
struct Measured(Vec<Row>);

#[derive(Debug, Serialize)]
struct Row {
    what: &'static str,
    unit: &'static str,
    values: Vec<f64>,
}

impl Measured {
    fn seconds(&mut self, what: &'static str, time: Duration) -> Result<(), Error> {
        self.add(what, "s", time.as_secs_f64())
    }

    fn count(&mut self, what: &'static str, number: usize) -> Result<(), Error> {
        self.add(what, "", f64::from(u32::try_from(number)?))
    }

    /// Says it too: rounds take minutes.
    fn add(&mut self, what: &'static str, unit: &'static str, value: f64) -> Result<(), Error> {
        say(format_args!("  {what:<62} {:>8} {unit}", rounded(value)))?;
        match self.0.iter_mut().find(|row| row.what == what) {
            Some(row) => row.values.push(value),
            None => self.0.push(Row { what, unit, values: vec![value] }),
        }
        Ok(())
    }

    fn table(&self) -> Table {
        let mut table = Table::new(&["", "median", "worst"]);
        for Row { what, unit, values } in &self.0 {
            let cell = |value| format!("{} {unit}", rounded(value)).trim().to_owned();
            let values = || values.iter().copied();
            table.row(vec![(*what).to_owned(), cell(median(values())), cell(worst(values()))]);
        }
        table
    }
}

/// A leader and a standby.
struct Pair {
    // Dropped in this order: programs before what they talk to.
    replicas: [Replica; 2],
    rig: Rig,
    /// Which of them leads.
    leader: usize,
    /// Nodes so far.
    nodes: usize,
}

/// What came of losing the leader.
struct Takeover {
    begun: Instant,
    /// Who led before.
    old: usize,
    /// Until another held the lease.
    held: Duration,
    /// Until a node that had joined when the leader was lost was initialised.
    worked: Duration,
}

impl Pair {
    async fn start(binaries: &Binaries) -> Result<Self, Error> {
        let rig = Rig::start(binaries).await?;
        let replica = |account| Replica::start(binaries, &rig, account);
        let replicas = [replica(Account::First)?, replica(Account::Second)?];
        let mut pair = Self { replicas, rig, leader: 0, nodes: 0 };
        pair.settle(0).await?;
        // Whoever leads from here on has worked.
        let node = pair.boot().await?;
        let worked = timeout(PATIENCE, join(&pair.rig, &node)).await;
        worked.map_err(|_| pair.late("the first node"))??;
        Ok(pair)
    }

    async fn terminate(&mut self, measured: &mut Measured) -> Result<(), Error> {
        let takeover = self.strike(Signal::TERM).await?;
        measured.seconds("SIGTERM: another holds the lease", takeover.held)?;
        measured.seconds("SIGTERM: a node that joins then is initialised", takeover.worked)?;
        if !self.end_of(takeover.old).await?.is_success {
            return Err(format!("it did not end well\n{}", self.tail(takeover.old)).into());
        }
        self.settle(self.logged()?).await
    }

    async fn kill(&mut self, measured: &mut Measured) -> Result<(), Error> {
        let takeover = self.strike(Signal::KILL).await?;
        measured.seconds("kill -9: another holds the lease", takeover.held)?;
        measured.seconds("kill -9: a node that joins then is initialised", takeover.worked)?;
        self.end_of(takeover.old).await?;
        self.settle(self.logged()?).await
    }

    /// The leader wakes when another leads: it still has a node to work on, and must not.
    async fn freeze(&mut self, measured: &mut Measured) -> Result<(), Error> {
        let Takeover { begun, old, held, worked } = self.strike(Signal::STOP).await?;
        measured.seconds("SIGSTOP: another holds the lease", held)?;
        measured.seconds("SIGSTOP: a node that joins then is initialised", worked)?;
        sleep_until(begun + Timing::default().lease_duration() + OVERSLEPT).await;
        let before = self.mutations_of(old).await?;

        let woken = Instant::now();
        self.replicas[old].signal(Signal::CONT).await?;
        let end = self.end_of(old).await?;
        measured.seconds("SIGCONT: the frozen one has exited", end.at - woken)?;
        let after = self.mutations_of(old).await?.split_off(before.len());
        measured.count("SIGCONT: mutations of the frozen one", after.len())?;
        if !after.is_empty() {
            let lines = after.join("\n  ");
            return Err(format!("the frozen leader wrote when another led:\n  {lines}").into());
        }
        if end.is_success {
            let tail = self.tail(old);
            return Err(format!("the frozen leader ended as if all were well\n{tail}").into());
        }
        self.settle(self.logged()?).await
    }

    /// Whoever ends while the API server is away is started again, as a kubelet or systemd would.
    async fn cut_off(&mut self, measured: &mut Measured) -> Result<(), Error> {
        let node = self.boot().await?;
        let mut ends = [Vec::new(), Vec::new()];
        let [first, second] = &mut self.replicas;
        let [ends_of_first, ends_of_second] = &mut ends;
        let outage = tokio::select! {
            outage = outage(&mut self.rig, &node) => outage?,
            failed = first.keep_up(ends_of_first) => match failed? {},
            failed = second.keep_up(ends_of_second) => match failed? {},
        };
        let end = ends[self.leader].first().ok_or("the leader led on without the API server")?;
        measured.seconds("API server away: the leader has exited", end.at - outage.begun)?;
        measured.count("API server away: restarts", ends.iter().map(Vec::len).sum())?;
        let worked = outage.worked.ok_or_else(|| self.late("the first node after an outage"))?;
        measured.seconds("API server back: a node that joins then is initialised", worked)?;
        self.settle(outage.logged).await
    }

    /// Sends the leader a signal, and has a node join at that moment.
    async fn strike(&mut self, signal: Signal) -> Result<Takeover, Error> {
        let node = self.boot().await?;
        let holder = Holder::watch(self.rig.plane.admin_client()).await?;
        if holder.now().is_empty() {
            return Err("nobody holds the lease".into());
        }
        let old = self.leader;
        let begun = Instant::now();
        self.replicas[old].signal(signal).await?;
        let held = async {
            holder.changes().await?;
            Ok::<_, Error>(begun.elapsed())
        };
        let worked = async {
            join(&self.rig, &node).await?;
            Ok::<_, Error>(begun.elapsed())
        };
        let both = timeout(PATIENCE, async { tokio::try_join!(held, worked) }).await;
        let (held, worked) = both.map_err(|_| self.late("a new leader and its first node"))??;
        self.leader = 1 - old;
        Ok(Takeover { begun, old, held, worked })
    }

    /// An instance for a node that will join.
    async fn boot(&mut self) -> Result<String, Error> {
        let name = format!("node-{:03}", self.nodes);
        self.nodes += 1;
        self.rig.console.create_instance(&CreateInstance::named(name.as_str())).await?;
        Ok(name)
    }

    async fn end_of(&mut self, replica: usize) -> Result<End, Error> {
        let end = timeout(PATIENCE, self.replicas[replica].end()).await;
        end.map_err(|_| self.late("the end of who led before"))
    }

    /// Starts whoever has ended, and waits until one leads and the other watches the lease.
    /// Only what was logged after the first so many events counts.
    async fn settle(&mut self, logged: usize) -> Result<(), Error> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            for replica in &mut self.replicas {
                replica.restart_if_ended().await?;
            }
            let events = audit::read(&self.rig.plane.audit_log())?;
            let users = self.replicas.each_ref().map(Replica::user);
            if let Some(leader) = leader(events.get(logged..).unwrap_or_default(), users) {
                self.leader = leader;
                return Ok(());
            }
            if Instant::now() > deadline {
                return Err(self.late("a leader and a standby"));
            }
            sleep(POLL).await;
        }
    }

    /// How many events the audit log has.
    fn logged(&self) -> Result<usize, Error> {
        Ok(audit::read(&self.rig.plane.audit_log())?.len())
    }

    async fn mutations_of(&self, replica: usize) -> Result<Vec<String>, Error> {
        let events = self.rig.plane.audit_events().await?;
        Ok(mutations(&events, self.replicas[replica].user()))
    }

    fn tail(&self, replica: usize) -> String {
        self.replicas[replica].tail()
    }

    fn late(&self, what: &str) -> Error {
        let tails = [0, 1].map(|replica| self.tail(replica)).join("\n");
        format!("waited {} s for {what}\n{tails}", PATIENCE.as_secs()).into()
    }

    async fn stop(self) -> Result<(), Error> {
        for replica in self.replicas {
            replica.stop().await?;
        }
        self.rig.stop().await
    }
}

/// What came of a time without the API server.
struct Outage {
    begun: Instant,
    /// Events in the audit log before the API server came back.
    logged: usize,
    /// From the API server's return until a node that joined then was initialised. `None`: too long.
    worked: Option<Duration>,
}

/// It begins when the API server is asked to end, and ends when it says again that it is ready.
async fn outage(rig: &mut Rig, node: &str) -> Result<Outage, Error> {
    let begun = Instant::now();
    rig.plane.stop_apiserver().await?;
    sleep_until(begun + OUTAGE).await;
    let logged = audit::read(&rig.plane.audit_log())?.len();
    rig.plane.start_apiserver().await?;
    let back = Instant::now();
    let worked = match timeout(PATIENCE, join(rig, node)).await {
        Ok(joined) => joined.map(|()| Some(back.elapsed()))?,
        Err(_) => None,
    };
    Ok(Outage { begun, logged, worked })
}

/// Registers a node and waits until it is initialised.
async fn join(rig: &Rig, node: &str) -> Result<(), Error> {
    let client = rig.plane.admin_client();
    Kubelet::new(node).register(&client).await?;
    initialised(client, node).await
}

/// Which of two leads, once it has written the lease and the other watches it.
fn leader(events: &[Event], users: [&str; 2]) -> Option<usize> {
    let about_lease = || events.iter().filter(|event| event.resource == "leases");
    let wrote = |event: &&Event| {
        event.stage == Stage::ResponseComplete
            && matches!(&*event.verb, "create" | "update")
            && matches!(event.code, 200 | 201)
    };
    let last = about_lease().rfind(wrote)?;
    let leader = users.iter().position(|&user| user == last.user)?;
    let standby = users[1 - leader];
    let watches = |event: &Event| {
        // Logged when it begins, and again when it ends.
        event.user == standby && event.verb == "watch" && event.stage == Stage::ResponseStarted
    };
    about_lease().any(watches).then_some(leader)
}

/// Requests of one user that changed something, or tried to, in order.
fn mutations(events: &[Event], user: &str) -> Vec<String> {
    let mutates = |event: &&Event| {
        event.user == user
            && event.stage == Stage::ResponseComplete
            && !matches!(&*event.verb, "get" | "list" | "watch")
    };
    let line = |event: &Event| format!("{} {} {}", event.verb, event.uri, event.code);
    events.iter().filter(mutates).map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    type Line = (&'static str, &'static str, &'static str, &'static str, u16);

    const DONE: &str = "ResponseComplete";
    const BEGUN: &str = "ResponseStarted";

    /// As the API server would have logged it: stage, user, verb, resource, code.
    fn events(test: &str, lines: &[Line]) -> Vec<Event> {
        let line = |&(stage, user, verb, resource, code): &Line| {
            let event = serde_json::json!({
                "auditID": "1",
                "stage": stage,
                "user": {"username": user},
                "verb": verb,
                "requestURI": format!("/{resource}"),
                "objectRef": {"resource": resource},
                "responseStatus": {"code": code},
            });
            format!("{event}\n")
        };
        let name = format!("ccm-xtask-{test}-{}.log", std::process::id());
        let file = std::env::temp_dir().join(name);
        std::fs::write(&file, lines.iter().map(line).collect::<String>()).unwrap();
        let events = audit::read(&file).unwrap();
        std::fs::remove_file(&file).unwrap();
        events
    }

    #[test]
    fn a_pair_has_settled_when_one_leads_and_the_other_watches() {
        let watch = |user| (BEGUN, user, "watch", "leases", 200);
        let write = |user, code| (DONE, user, "update", "leases", code);
        let settled = |lines: &[Line]| leader(&events("settled", lines), ["a", "b"]);

        assert_eq!(settled(&[]), None);
        assert_eq!(settled(&[write("a", 200)]), None, "nobody watches");
        assert_eq!(settled(&[watch("b")]), None, "nobody leads");
        assert_eq!(settled(&[watch("b"), write("a", 200)]), Some(0));
        assert_eq!(settled(&[watch("b"), write("b", 200)]), None, "who watched leads");
        assert_eq!(settled(&[watch("b"), write("b", 200), watch("a")]), Some(1));
        assert_eq!(settled(&[watch("b"), write("a", 200), write("b", 409)]), Some(0));
    }

    #[test]
    fn whatever_is_not_a_look_is_a_mutation() {
        let events = events(
            "mutations",
            &[
                (DONE, "a", "get", "leases", 200),
                (DONE, "a", "list", "nodes", 200),
                (BEGUN, "a", "watch", "nodes", 200),
                (DONE, "b", "patch", "nodes", 200),
                (DONE, "a", "patch", "nodes", 200),
                (DONE, "a", "update", "leases", 409),
            ],
        );
        assert_eq!(mutations(&events, "a"), ["patch /nodes 200", "update /leases 409"]);
    }

    #[test]
    fn the_table_has_a_row_for_each_figure() {
        let row = |what, unit, values: &[f64]| Row { what, unit, values: values.to_vec() };
        let measured =
            Measured(vec![row("held", "s", &[0.5, 14.8, 13.5]), row("mutations", "", &[0.0; 3])]);
        let text = measured.table().to_string();
        assert!(text.contains("| held      | 13.5 s | 14.8 s |"), "{text}");
        assert!(text.contains("| mutations |      0 |      0 |"), "{text}");
    }
}
