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
use crate::client::ec2::topology::MOST_INSTANCES;

/// The label of the outermost layer. A node that has it has all of them, and is not asked about.
pub(crate) const LAYER_1: &str = "topology.k8s.aws/network-node-layer-1";

/// Before the number of a layer, the outermost being 1.
const LAYER: &str = "topology.k8s.aws/network-node-layer-";

/// For how long what gave no answer is not asked about.
const UNSUPPORTED_FOR: Duration = Duration::from_hours(24);

/// Things without an answer that are remembered. There are about a thousand instance types.
const REMEMBERED: usize = 4096;

/// A running machine that lacks its labels.
#[derive(Clone, Debug)]
pub(super) struct Asked<'a> {
    pub(super) id: &'a str,
    pub(super) instance_type: &'a str,
}

/// What follows for one machine.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Followed {
    /// It gets these labels.
    Labels(BTreeMap<String, String>),
    /// It goes without.
    Without,
    /// Nothing is to be said of it before this is over.
    Waits(CloudError),
}

/// Something that is known to give no answer.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Unsupported {
    /// The region, or the credentials.
    Region,
    Type(String),
    Instance(String),
}

/// What the cloud answered about one machine. An entry without network nodes says nothing.
type Answer<'a> = Result<Option<&'a [String]>, &'a CloudError>;

/// The decision of the table in the Go program, with what is to be remembered.
fn decide(
    asked: &Asked<'_>,
    answer: Answer<'_>,
    is_required: bool,
) -> (Followed, Option<Unsupported>) {
    match answer {
        Ok(Some(nodes)) if !nodes.is_empty() => (Followed::Labels(labels(nodes)), None),
        Ok(_) if is_required => {
            (Followed::Without, Some(Unsupported::Instance(asked.id.to_owned())))
        }
        Ok(_) => (Followed::Without, Some(Unsupported::Type(asked.instance_type.to_owned()))),
        Err(err) => match err.kind() {
            Kind::Unsupported | Kind::PermissionDenied => {
                (Followed::Without, Some(Unsupported::Region))
            }
            _ if is_required => (Followed::Waits(waits(asked, err)), None),
            _ => (Followed::Without, None),
        },
    }
}

fn waits(asked: &Asked<'_>, err: &CloudError) -> CloudError {
    let Asked { id, instance_type } = asked;
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
        ![Unsupported::Region, of_type, of_instance].iter().any(|it| self.knows(it, now))
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
        self.0.insert(what, now + UNSUPPORTED_FOR);
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
                    let answer = answer.as_ref().map(|all| all.get(asked.id).map(Vec::as_slice));
                    let is_required = required.is_match(asked.instance_type);
                    let (follows, unsupported) = decide(asked, answer, is_required);
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

    const ASKED: Asked<'_> = Asked { id: "i-1", instance_type: "p5.48xlarge" };

    fn nodes() -> Vec<String> {
        ["nn-1", "nn-2"].map(str::to_owned).to_vec()
    }

    fn follows(answer: Answer<'_>, is_required: bool) -> (String, Option<Unsupported>) {
        let (follows, remembered) = decide(&ASKED, answer, is_required);
        let says = match follows {
            Followed::Labels(labels) => {
                let label = |(key, value): (&String, &String)| format!("{key}={value}");
                labels.iter().map(label).collect::<Vec<_>>().join(" ")
            }
            Followed::Without => "without".to_owned(),
            Followed::Waits(err) => format!("{}: {err}", err.kind().reason()),
        };
        (says, remembered)
    }

    #[rstest]
    #[case::of_a_type_that_needs_it(true)]
    #[case::of_another(false)]
    fn an_answer_gives_labels(#[case] is_required: bool) {
        let want = "topology.k8s.aws/network-node-layer-1=nn-1 \
                    topology.k8s.aws/network-node-layer-2=nn-2";
        assert_eq!(follows(Ok(Some(&nodes())), is_required), (want.to_owned(), None));
    }

    #[rstest]
    #[case::no_entry(None)]
    #[case::an_empty_one(Some(&[] as &[_]))]
    fn no_answer_is_remembered(#[case] answer: Option<&[String]>) {
        let of_type = Unsupported::Type("p5.48xlarge".to_owned());
        let of_instance = Unsupported::Instance("i-1".to_owned());
        assert_eq!(follows(Ok(answer), true), ("without".to_owned(), Some(of_instance)));
        assert_eq!(follows(Ok(answer), false), ("without".to_owned(), Some(of_type)));
    }

    const WAITS: &str = "instance i-1 is of type p5.48xlarge, whose place in the network has to be \
                         known first: no";

    #[rstest]
    #[case::not_offered_here(Kind::Unsupported, "without", Some(Unsupported::Region))]
    #[case::no_right(Kind::PermissionDenied, "without", Some(Unsupported::Region))]
    #[case::too_many(
        Kind::RateLimited { retry_after: None }, &format!("RateLimited: {WAITS}"), None,
    )]
    #[case::away(Kind::Unavailable, &format!("CloudUnavailable: {WAITS}"), None)]
    #[case::gone_meanwhile(Kind::NotFound, &format!("CloudUnavailable: {WAITS}"), None)]
    fn failures(#[case] kind: Kind, #[case] want: &str, #[case] remembered: Option<Unsupported>) {
        let err = CloudError::new(kind, "no");
        let got = follows(Err(&err), true);
        assert_eq!(got, (want.to_owned(), remembered.clone()));
        // Others go on in any case.
        assert_eq!(follows(Err(&err), false), ("without".to_owned(), remembered));
    }

    #[tokio::test]
    async fn what_gives_no_answer_is_not_asked_for_a_day() {
        let now = Instant::now();
        let other = Asked { id: "i-2", instance_type: "m5.large" };
        for (what, is_others_too) in [
            (Unsupported::Region, true),
            (Unsupported::Type("p5.48xlarge".to_owned()), false),
            (Unsupported::Instance("i-1".to_owned()), false),
        ] {
            let mut memory = Memory::default();
            assert!(memory.is_to_ask(&ASKED, now));
            memory.remember(what, now);
            assert!(!memory.is_to_ask(&ASKED, now));
            assert_eq!(!memory.is_to_ask(&other, now), is_others_too);
            assert!(memory.is_to_ask(&ASKED, now + UNSUPPORTED_FOR));
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
