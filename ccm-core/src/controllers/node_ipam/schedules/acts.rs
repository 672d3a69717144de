//! What the world does: nodes come and go, and others have their hands in it.

use ipnet::IpNet;

use super::state::{Author, State, Stored};
use crate::cloud::NodeName;
use crate::cluster::node::{Condition, ConditionStatus};

impl State {
    /// Lets something happen.
    pub(super) fn act(&mut self) {
        match self.rng.below(100) {
            0..36 => self.comes(),
            36..41 => {
                self.figures.count("nodes come at once");
                for _ in 0..self.rng.between(3, 8) {
                    self.comes();
                }
            }
            41..61 => self.goes(),
            61..72 => self.finalizers_end(),
            72..78 => self.comes_with_ranges(),
            78..82 => self.others_give(),
            82..86 => self.others_say(),
            _ => self.heartbeat(),
        }
    }

    fn comes(&mut self) {
        if self.nodes.len() >= self.setup.places {
            return;
        }
        let name = self.name();
        let node = self.newborn(name);
        self.say(|| format!("{} comes as {}", node.name, node.uid));
        self.put(Stored { node, author: None });
    }

    /// Often that of one which has just gone.
    fn name(&mut self) -> NodeName {
        if self.rng.chance(50)
            && let Some(name) = self.free_names.pop()
        {
            self.figures.count("node made anew under its name");
            return name;
        }
        format!("n{}", self.uids + 1).as_str().into()
    }

    fn any(&mut self) -> Option<NodeName> {
        if self.nodes.is_empty() {
            return None;
        }
        let place = self.rng.below(self.nodes.len());
        self.nodes.keys().nth(place).cloned()
    }

    fn goes(&mut self) {
        let Some(name) = self.any() else { return };
        if !self.rng.chance(40) {
            return self.remove(&name);
        }
        // Something holds it up.
        self.figures.count("a node about to go");
        self.say(|| format!("{name} is about to go"));
        self.change(&name, |stored| stored.node.deleting = true);
    }

    pub(super) fn finalizers_end(&mut self) {
        let doomed = self.nodes.values().filter(|stored| stored.node.deleting);
        let doomed: Vec<_> = doomed.map(|stored| stored.node.name.clone()).collect();
        for name in doomed {
            self.remove(&name);
        }
    }

    /// Some range of each pool, whoever has it.
    fn any_ranges(&mut self) -> Vec<IpNet> {
        let pools = self.setup.pools.clone();
        let pick = |(pool, size): (IpNet, u8)| {
            let place = self.rng.below(8);
            let pieces = pool.subnets(size).expect("as long as the pool's prefix at least");
            pieces.take(place + 1).last().expect("one at least")
        };
        let mut ranges: Vec<_> = pools.into_iter().map(pick).collect();
        if self.rng.chance(20) {
            // Of another size than ours.
            let larger = ranges[0].supernet();
            ranges[0] = larger.map_or(ranges[0], |range| range.trunc());
        }
        if self.rng.chance(20) {
            ranges.truncate(1);
        }
        ranges
    }

    fn comes_with_ranges(&mut self) {
        if self.nodes.len() >= self.setup.places {
            return;
        }
        let name = self.name();
        let mut node = self.newborn(name);
        let ranges = self.any_ranges();
        self.figures.count("others make a node with ranges");
        self.say(|| format!("{} comes as {} with {ranges:?}", node.name, node.uid));
        self.count_overlap(&ranges);
        node.pod_cidrs = ranges.iter().map(|range| range.to_string().into_boxed_str()).collect();
        self.put(Stored { node, author: Some(Author::Others) });
    }

    fn count_overlap(&mut self, ranges: &[IpNet]) {
        let overlaps = self.nodes.values().any(|stored| {
            let theirs = stored.ranges();
            theirs
                .iter()
                .any(|one| ranges.iter().any(|other| super::super::taken::overlap(one, other)))
        });
        if overlaps {
            self.figures.count("ranges that overlap");
        }
    }

    fn others_give(&mut self) {
        let bare = self.nodes.values().find(|stored| stored.node.pod_cidrs.is_empty());
        let Some(name) = bare.map(|stored| stored.node.name.clone()) else { return };
        let ranges = self.any_ranges();
        self.figures.count("others give a node ranges");
        self.say(|| format!("others give {name} {ranges:?}"));
        self.count_overlap(&ranges);
        self.change(&name, |stored| {
            stored.node.pod_cidrs =
                ranges.iter().map(|range| range.to_string().into_boxed_str()).collect();
            stored.author = Some(Author::Others);
        });
    }

    fn others_say(&mut self) {
        let Some(name) = self.any() else { return };
        self.figures.count("others say that the network is there");
        self.say(|| format!("others say of {name} that its network is there"));
        let said = Condition { status: ConditionStatus::False, reason: "CalicoIsUp".into() };
        self.change(&name, |stored| stored.node.network_unavailable = Some(said));
    }

    /// Something that is of no interest changes.
    fn heartbeat(&mut self) {
        let Some(name) = self.any() else { return };
        self.change(&name, |_| {});
    }

    fn change(&mut self, name: &NodeName, change: impl FnOnce(&mut Stored)) {
        let Some(mut stored) = self.nodes.get(name).cloned() else { return };
        change(&mut stored);
        self.put(stored);
    }
}
