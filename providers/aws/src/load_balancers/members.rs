//! Which instances take traffic. Pure, and linear in the nodes: both sides are sorted once.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use ccm_core::cloud::{Labels, Member, Observation, RunState};

use super::annotations::Pairs;
use crate::id::{self, MachineId};
use crate::instances::InstanceDetail;

/// The labels that users select nodes by are their own.
pub(crate) const NODE_LABELS: Labels = Labels::All;

/// Keeps the last answer: every Service asks about the same nodes, at each step.
#[derive(Debug, Default)]
pub(crate) struct Roll(Mutex<Option<Answer>>);

/// The nodes that were asked about, and who of them is a member.
type Answer = (Arc<[Member]>, Arc<Members>);

impl Roll {
    /// The members among these nodes, with these labels.
    pub(crate) fn of(&self, nodes: &Arc<[Member]>, labels: &Pairs) -> Arc<Members> {
        if !labels.0.is_empty() {
            return Arc::new(Members::of(nodes, labels));
        }
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match &*last {
            Some((asked, members)) if Arc::ptr_eq(asked, nodes) => Arc::clone(members),
            Some(_) | None => {
                let members = Arc::new(Members::of(nodes, labels));
                *last = Some((Arc::clone(nodes), Arc::clone(&members)));
                members
            }
        }
    }
}

/// The instances that are to be targets, and those that stay what they are.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Members {
    /// To be added where they are not there.
    pub(crate) wanted: BTreeSet<String>,
    /// Targets stay, others are not added: nothing is known of them, or they do not run.
    pub(crate) left_alone: BTreeSet<String>,
    /// The security groups of instances that are or may be targets: each combination once, of which
    /// a cluster has a few, however many its nodes.
    pub(crate) security_groups: BTreeSet<BTreeSet<String>>,
    /// Whether nothing is known of some node.
    pub(crate) has_doubts: bool,
    /// Whether not even the instance of such a node is known: any target may be it.
    pub(crate) has_strangers: bool,
}

impl Members {
    /// Sorts the nodes out.
    ///
    /// Instances that bear another cluster's tag or none are no targets, and nodes on Fargate cannot be. A
    /// stopped instance stays a target: its health check keeps traffic away, and AWS takes no new
    /// one that does not run.
    pub(crate) fn of(nodes: &[Member], labels: &Pairs) -> Self {
        let mut members = Self::default();
        for Member { node, instance } in nodes {
            let has = |(key, value): (&String, &String)| {
                node.labels.get(key).is_some_and(|it| value.is_empty() || it == value)
            };
            if !labels.0.iter().all(has) {
                continue;
            }
            match &**instance {
                Observation::Present(found) => {
                    let Some(detail) = found.detail.get::<InstanceDetail>() else { continue };
                    if detail.is_fargate || !detail.has_cluster_tag {
                        continue;
                    }
                    if !members.security_groups.contains(&detail.security_groups) {
                        members.security_groups.insert(detail.security_groups.clone());
                    }
                    let ids = match found.state {
                        RunState::Running => &mut members.wanted,
                        RunState::Starting | RunState::Stopping | RunState::Stopped => {
                            &mut members.left_alone
                        }
                    };
                    ids.insert(detail.id.clone());
                }
                Observation::Unknown(_) => {
                    members.has_doubts = true;
                    match node.provider_id.as_ref().map(id::parse) {
                        Some(Ok(MachineId::Instance(id))) => _ = members.left_alone.insert(id),
                        // It is no target, whatever becomes of it.
                        Some(Ok(MachineId::Fargate(_))) => {}
                        Some(Err(_)) | None => members.has_strangers = true,
                    }
                }
                Observation::Gone(_) => {}
            }
        }
        members
    }

    /// What has to be added to and removed from these targets.
    pub(crate) fn difference(
        &self,
        have: &BTreeSet<String>,
    ) -> (BTreeSet<String>, BTreeSet<String>) {
        let add = self.wanted.difference(have).cloned().collect();
        let goes = |it: &&String| {
            !self.has_strangers && !self.wanted.contains(*it) && !self.left_alone.contains(*it)
        };
        (add, have.iter().filter(goes).cloned().collect())
    }
}

#[cfg(test)]
mod tests {
    use ccm_core::cloud::ProviderId;

    use super::*;
    use crate::load_balancers::samples::{doubtful, instance_id, member};

    /// What becomes of two targets, the second of which is of no node that is known to have it.
    fn removed(nodes: &[Member]) -> BTreeSet<String> {
        let have = BTreeSet::from([instance_id(1), instance_id(2)]);
        Members::of(nodes, &Pairs::default()).difference(&have).1
    }

    #[test]
    fn who_is_not_known_stays() {
        let gone = BTreeSet::from([instance_id(2)]);
        assert_eq!(removed(&[member(1, &[])]), gone);
        assert_eq!(removed(&[member(1, &[]), doubtful(3)]), gone, "it is another one");
        assert!(removed(&[member(1, &[]), doubtful(2)]).is_empty());
        let of = |provider_id: Option<&str>| {
            let mut doubtful = doubtful(2);
            doubtful.node.provider_id = provider_id.map(|id| ProviderId::try_from(id).unwrap());
            removed(&[member(1, &[]), doubtful])
        };
        for stranger in [None, Some("aws:///eu-west-1a/x")] {
            assert!(of(stranger).is_empty(), "{stranger:?} may be that one");
        }
        let (id, other) = (instance_id(2), instance_id(3));
        assert!(of(Some(&id)).is_empty());
        assert!(of(Some(&format!("aws:///eu-west-1a/{id}/"))).is_empty(), "kubelets may say so");
        assert_eq!(of(Some(&format!("aws:///eu-west-1a/{other}/"))), gone);
        assert_eq!(of(Some("aws:///eu-west-1a/x/fargate-10.0.0.9")), gone);
    }
}
