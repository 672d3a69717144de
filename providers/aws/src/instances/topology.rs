//! Labels that say where in the network a machine is.
//!
//! Machines for training and for tight clusters are placed by them, so such a node must not be
//! initialised before they are known; for others they are an extra that holds nobody up.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use ccm_core::cloud::{CloudError, Kind, Read};
use ccm_core::report::Chain;
use regex::Regex;
use tokio::time::{Instant, timeout};
use tracing::debug;

use super::EXTRA_LIMIT;
use super::halves::halving;
use crate::client::Client;
use crate::client::ec2::topology::{MOST_INSTANCES, Places};

/// The label of the outermost layer. A node that has it has all of them, and is not asked about.
pub(crate) const LAYER_1: &str = "topology.k8s.aws/network-node-layer-1";

/// Before the number of a layer, the outermost being 1.
const LAYER: &str = "topology.k8s.aws/network-node-layer-";

/// For how long what gave no answer is not asked about.
const UNSUPPORTED_FOR: Duration = Duration::from_hours(24);

/// The same where a right is lacking, which somebody may give at any time.
const DENIED_FOR: Duration = Duration::from_hours(1);

/// Things without an answer that are remembered. There are about a thousand instance types.
const REMEMBERED: usize = 4096;

/// A machine that lacks its labels.
#[derive(Clone, Debug)]
pub(super) struct Asked<'a> {
    pub(super) id: &'a str,
    pub(super) instance_type: &'a str,
    /// It runs already: only then is there an answer.
    pub(super) is_running: bool,
}

/// What follows for one machine.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Followed {
    /// It gets these labels.
    Labels(BTreeMap<String, String>),
    /// It goes without.
    Without,
    /// Nothing is to be said of it before this is over, unless its node takes pods already.
    Waits(CloudError),
}

/// Something that is known to give no answer.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Unsupported {
    Region,
    Credentials,
    Type(String),
    Instance(String),
}

impl Unsupported {
    /// For how long that is believed.
    fn lasts(&self) -> Duration {
        match self {
            Self::Credentials => DENIED_FOR,
            Self::Region | Self::Type(_) | Self::Instance(_) => UNSUPPORTED_FOR,
        }
    }
}

/// What the cloud answered to a question in which the machine was.
type Answer<'a> = Result<&'a Places, &'a CloudError>;

/// The decision of the table in the Go program, with what is to be remembered.
fn decide(
    asked: &Asked<'_>,
    answer: Answer<'_>,
    is_required: bool,
) -> (Followed, Option<Unsupported>) {
    let places = match answer {
        Ok(Places::NotOffered) => return (Followed::Without, Some(Unsupported::Region)),
        Ok(Places::NotAllowed) => return (Followed::Without, Some(Unsupported::Credentials)),
        Ok(Places::Known(places)) => places,
        Err(err) if is_required => return (Followed::Waits(waits(asked, err)), None),
        Err(_) => return (Followed::Without, None),
    };
    match places.get(asked.id) {
        // An entry without network nodes says nothing.
        Some(nodes) if !nodes.is_empty() => (Followed::Labels(labels(nodes)), None),
        _ if is_required => (Followed::Without, Some(Unsupported::Instance(asked.id.to_owned()))),
        _ => (Followed::Without, Some(Unsupported::Type(asked.instance_type.to_owned()))),
    }
}

/// What follows for a machine that does not run yet: it may be asked about before its node has to do
/// without.
fn before_it_runs(asked: &Asked<'_>, is_required: bool) -> Followed {
    if !is_required {
        return Followed::Without;
    }
    let err = CloudError::new(Kind::Unavailable, "it does not run yet");
    Followed::Waits(waits(asked, &err))
}

fn waits(asked: &Asked<'_>, err: &CloudError) -> CloudError {
    let Asked { id, instance_type, .. } = asked;
    // Not even that it is not found says anything about the node.
    let kind = match err.kind() {
        Kind::NotFound => Kind::Unavailable,
        kind => kind,
    };
    let message = format!(
        "instance {id} is of type {instance_type}, whose place in the network has to be known \
         first: {}",
        err.message()
    );
    CloudError::new(kind, message)
}

fn labels(nodes: &[String]) -> BTreeMap<String, String> {
    let label = |(number, node): (usize, &String)| (format!("{LAYER}{}", number + 1), node.clone());
    nodes.iter().enumerate().map(label).collect()
}

/// Asks where machines are, and remembers what gives no answer.
#[derive(Debug, Default)]
pub(super) struct Topology(Mutex<Memory>);

/// What gives no answer, and until when that is believed.
#[derive(Debug, Default)]
struct Memory(BTreeMap<Unsupported, Instant>);

impl Memory {
    fn knows(&self, what: &Unsupported, now: Instant) -> bool {
        self.0.get(what).is_some_and(|until| now < *until)
    }

    fn is_to_ask(&self, asked: &Asked<'_>, now: Instant) -> bool {
        let of_type = Unsupported::Type(asked.instance_type.to_owned());
        let of_instance = Unsupported::Instance(asked.id.to_owned());
        let of_all = [Unsupported::Region, Unsupported::Credentials];
        !of_all.iter().chain([&of_type, &of_instance]).any(|it| self.knows(it, now))
    }

    fn remember(&mut self, what: Unsupported, now: Instant) {
        if self.0.len() >= REMEMBERED {
            self.0.retain(|_, until| now < *until);
        }
        if self.0.len() >= REMEMBERED {
            // The one that would be forgotten next.
            let oldest = self.0.iter().min_by_key(|(_, until)| **until);
            if let Some(oldest) = oldest.map(|(oldest, _)| oldest.clone()) {
                self.0.remove(&oldest);
            }
        }
        let until = now + what.lasts();
        self.0.insert(what, until);
    }
}

impl Topology {
    /// What follows for these machines, by their IDs. Whoever is not asked about goes without.
    pub(super) async fn of(
        &self,
        client: &Client,
        cx: &Read,
        machines: &[Asked<'_>],
        required: &Regex,
    ) -> BTreeMap<String, Followed> {
        let now = Instant::now();
        let asked: Vec<_> = {
            let memory = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            machines.iter().filter(|asked| memory.is_to_ask(asked, now)).collect()
        };
        let mut followed = BTreeMap::new();
        let (asked, starting): (Vec<_>, Vec<_>) = asked.into_iter().partition(|it| it.is_running);
        for asked in starting {
            let follows = before_it_runs(asked, required.is_match(asked.instance_type));
            followed.insert(asked.id.to_owned(), follows);
        }
        for asked in asked.chunks(MOST_INSTANCES) {
            let mut ids: Vec<_> = asked.iter().map(|it| it.id.to_owned()).collect();
            ids.sort_unstable();
            ids.dedup();
            let question =
                halving(ids.clone(), |ids| async move { client.topology(cx, &ids).await });
            let parts = timeout(EXTRA_LIMIT, question).await.unwrap_or_else(|_| {
                let message = "DescribeInstanceTopology was not answered in time";
                vec![(ids, Err(CloudError::new(Kind::Unavailable, message)))]
            });
            for (ids, answer) in &parts {
                if let Err(err) = answer {
                    debug!(error = %Chain(err), count = ids.len(), "no topology of these instances");
                }
                for asked in asked.iter().filter(|it| ids.iter().any(|id| id == it.id)) {
                    let is_required = required.is_match(asked.instance_type);
                    let (follows, unsupported) = decide(asked, answer.as_ref(), is_required);
                    if let Some(unsupported) = unsupported {
                        let mut memory = self.0.lock().unwrap_or_else(PoisonError::into_inner);
                        memory.remember(unsupported, now);
                    }
                    followed.insert(asked.id.to_owned(), follows);
                }
            }
        }
        followed
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    const ASKED: Asked<'_> = Asked { id: "i-1", instance_type: "p5.48xlarge", is_running: true };

    /// An answer with these network nodes above `i-1`, if it has an entry.
    fn known(nodes: Option<&[&str]>) -> Places {
        let nodes = nodes.map(|nodes| nodes.iter().map(|&node| node.to_owned()).collect());
        Places::Known(nodes.map(|nodes| ("i-1".to_owned(), nodes)).into_iter().collect())
    }

    fn says(follows: &Followed) -> String {
        match follows {
            Followed::Labels(labels) => {
                let label = |(key, value): (&String, &String)| format!("{key}={value}");
                labels.iter().map(label).collect::<Vec<_>>().join(" ")
            }
            Followed::Without => "without".to_owned(),
            Followed::Waits(err) => format!("{}: {err}", err.kind().reason()),
        }
    }

    fn follows(answer: Answer<'_>, is_required: bool) -> (String, Option<Unsupported>) {
        let (follows, remembered) = decide(&ASKED, answer, is_required);
        (says(&follows), remembered)
    }

    #[rstest]
    #[case::of_a_type_that_needs_it(true)]
    #[case::of_another(false)]
    fn an_answer_gives_labels(#[case] is_required: bool) {
        let want = "topology.k8s.aws/network-node-layer-1=nn-1 \
                    topology.k8s.aws/network-node-layer-2=nn-2";
        let answer = known(Some(&["nn-1", "nn-2"]));
        assert_eq!(follows(Ok(&answer), is_required), (want.to_owned(), None));
    }

    #[rstest]
    #[case::no_entry(None)]
    #[case::an_empty_one(Some(&[] as &[_]))]
    fn no_answer_is_remembered(#[case] nodes: Option<&[&str]>) {
        let answer = known(nodes);
        let of_type = Unsupported::Type("p5.48xlarge".to_owned());
        let of_instance = Unsupported::Instance("i-1".to_owned());
        assert_eq!(follows(Ok(&answer), true), ("without".to_owned(), Some(of_instance)));
        assert_eq!(follows(Ok(&answer), false), ("without".to_owned(), Some(of_type)));
    }

    const WAITS: &str = "instance i-1 is of type p5.48xlarge, whose place in the network has to be \
                         known first: ";

    #[rstest]
    #[case::not_offered_here(Places::NotOffered, Unsupported::Region)]
    #[case::no_right(Places::NotAllowed, Unsupported::Credentials)]
    fn where_nobody_gets_an_answer(#[case] answer: Places, #[case] remembered: Unsupported) {
        for is_required in [true, false] {
            let want = ("without".to_owned(), Some(remembered.clone()));
            assert_eq!(follows(Ok(&answer), is_required), want);
        }
    }

    #[rstest]
    #[case::too_many(Kind::RateLimited { retry_after: None }, "RateLimited")]
    #[case::away(Kind::Unavailable, "CloudUnavailable")]
    #[case::gone_meanwhile(Kind::NotFound, "CloudUnavailable")]
    #[case::credentials_that_have_expired(Kind::PermissionDenied, "PermissionDenied")]
    fn failures(#[case] kind: Kind, #[case] reason: &str) {
        let err = CloudError::new(kind, "no");
        assert_eq!(follows(Err(&err), true), (format!("{reason}: {WAITS}no"), None));
        // Others go on in any case.
        assert_eq!(follows(Err(&err), false), ("without".to_owned(), None));
    }

    /// Who is not initialised yet would otherwise get pods before its labels.
    #[test]
    fn a_machine_that_does_not_run_yet_is_waited_for_where_it_matters() {
        let wanted = format!("CloudUnavailable: {WAITS}it does not run yet");
        assert_eq!(says(&before_it_runs(&ASKED, true)), wanted);
        assert_eq!(says(&before_it_runs(&ASKED, false)), "without");
    }

    #[tokio::test]
    async fn who_does_not_run_yet_is_not_asked_about() {
        let starting = [Asked { is_running: false, ..ASKED }];
        let required = Regex::new("^p5").unwrap();
        let topology = Topology::default();
        // Nobody is connected to anything here.
        let client = Client::default();
        let of = || async {
            let cx = ccm_conformance::leave(Duration::from_secs(1));
            let mut followed = topology.of(&client, &cx, &starting, &required).await;
            followed.remove("i-1").map(|follows| says(&follows))
        };
        assert_eq!(of().await, Some(format!("CloudUnavailable: {WAITS}it does not run yet")));
        topology.0.lock().unwrap().remember(Unsupported::Region, Instant::now());
        assert_eq!(of().await, None, "there will be no answer, so it goes without");
    }

    #[tokio::test]
    async fn what_gives_no_answer_is_not_asked_about_for_long() {
        let now = Instant::now();
        let other = Asked { id: "i-2", instance_type: "m5.large", is_running: true };
        for (what, is_others_too) in [
            (Unsupported::Region, true),
            (Unsupported::Credentials, true),
            (Unsupported::Type("p5.48xlarge".to_owned()), false),
            (Unsupported::Instance("i-1".to_owned()), false),
        ] {
            let mut memory = Memory::default();
            assert!(memory.is_to_ask(&ASKED, now));
            let lasts = what.lasts();
            memory.remember(what, now);
            assert!(!memory.is_to_ask(&ASKED, now));
            assert_eq!(!memory.is_to_ask(&other, now), is_others_too);
            assert!(memory.is_to_ask(&ASKED, now + lasts));
        }
    }

    #[tokio::test]
    async fn the_memory_has_an_end() {
        let now = Instant::now();
        let mut memory = Memory::default();
        for number in 0..REMEMBERED + 10 {
            let number = u32::try_from(number).unwrap();
            let then = now + Duration::from_secs(number.into());
            memory.remember(Unsupported::Instance(format!("i-{number}")), then);
        }
        assert_eq!(memory.0.len(), REMEMBERED);
        assert!(!memory.0.contains_key(&Unsupported::Instance("i-0".to_owned())));
    }
}
