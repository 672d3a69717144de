//! What users, machines and others do meanwhile.

use std::collections::BTreeSet;

use super::pieces::{Fact, Form, Piece};
use super::process::Heard;
use super::setup::{NO_LISTENER, NO_RULE, NOT_OFFERED};
use super::state::{Machine, Service, State};
use crate::cloud::{NodeName, Uid};

/// Names that Services may have.
const NAMES: [&str; 5] = ["a", "b", "c", "d", "e"];

impl State {
    /// What there is in the beginning.
    pub(super) fn populate(&mut self) {
        for number in 0..self.setup.nodes {
            self.nodes.insert(NodeName::from(format!("n{number}")), Machine::Runs);
        }
        for name in &NAMES[..self.setup.services] {
            if self.rng.chance(60) {
                self.create(name);
            }
        }
        for piece in [Piece::Rule("stranger".into(), 80), Piece::Balancer("stranger".into())] {
            self.foreign_piece(piece);
        }
    }

    fn foreign_piece(&mut self, piece: Piece) {
        self.remember();
        self.foreign.insert(piece.clone());
        self.pieces.insert(piece, Fact { up: 0, is_wrong: false });
    }

    fn ports(&mut self) -> BTreeSet<u16> {
        let odd = self.rng.chance(12);
        let count = self.rng.between(1, 3);
        let good = [80, 81, 443];
        let mut ports: BTreeSet<_> = (0..count).map(|_| self.rng.pick(&good)).collect();
        if odd {
            ports.insert(self.rng.pick(&[NO_RULE, NO_LISTENER, NOT_OFFERED]));
            self.figures.count("a port that cannot be had");
        }
        ports
    }

    fn create(&mut self, name: &str) {
        self.uids += 1;
        if !self.names.insert(name.to_owned()) {
            self.figures.count("re-created under its name");
        }
        let service = Service {
            uid: Uid::from(format!("{name}-{}", self.uids)),
            ports: self.ports(),
            has_finalizer: false,
            is_deleting: false,
            is_balancer: true,
            is_unreadable: self.rng.chance(5),
            has_address: false,
        };
        self.say(|| format!("{name} is created: {service:?}"));
        self.figures.count("Service created");
        self.services.insert(name.to_owned(), service);
    }

    /// Something happens. Says what the controller hears of it.
    pub(super) fn act(&mut self) -> Option<Heard> {
        if let Some(heard) = self.slip(true) {
            return Some(heard);
        }
        if self.rng.chance(70) { Some(self.service_act()) } else { self.other_act() }
    }

    /// Changes a Service's ports, or back what was changed last.
    pub(super) fn slip(&mut self, is_back: bool) -> Option<Heard> {
        let (name, ports) = if is_back {
            self.taken_back.take()?
        } else {
            let is_there = |service: &Service| matches!(service.form(), Form::Present(_));
            let there = self.services.iter().filter(|(_, service)| is_there(service));
            let there: Vec<_> = there.map(|(name, _)| name.clone()).collect();
            let name = there.get(self.rng.below(there.len().max(1)))?.clone();
            (name, self.ports())
        };
        let service = self.services.get_mut(&name)?;
        let before = std::mem::replace(&mut service.ports, ports);
        let what = if is_back { "ports changed back" } else { "ports changed" };
        self.figures.count(what);
        self.say(|| format!("{name}: {what}"));
        if !is_back {
            self.taken_back = Some((name.clone(), before));
        }
        Some(Heard::Service(name))
    }

    fn service_act(&mut self) -> Heard {
        let name = NAMES[self.rng.below(self.setup.services)];
        let ports = self.ports();
        let dice = self.rng.below(100);
        let is_slip = self.rng.chance(30);
        let Some(service) = self.services.get_mut(name) else {
            self.create(name);
            return Heard::Service(name.to_owned());
        };
        let what = match dice {
            0..35 => {
                let before = std::mem::replace(&mut service.ports, ports);
                self.taken_back = is_slip.then(|| (name.to_owned(), before));
                "ports changed"
            }
            35..45 => {
                service.is_unreadable = true;
                "made unreadable"
            }
            45..60 => {
                service.is_unreadable = false;
                "made readable"
            }
            60..72 => {
                service.is_balancer = !service.is_balancer;
                "type changed"
            }
            _ => {
                service.is_deleting = true;
                "Service deleted"
            }
        };
        self.figures.count(what);
        self.say(|| format!("{name}: {what}"));
        Heard::Service(name.to_owned())
    }

    fn other_act(&mut self) -> Option<Heard> {
        if self.rng.chance(50) {
            return Some(self.node_act());
        }
        let stranger = Uid::from("stranger");
        let pieces = [Piece::Rule(stranger.clone(), 443), Piece::Target(stranger, "n0".into())];
        if self.rng.chance(15) {
            let piece = pieces[self.rng.below(2)].clone();
            self.figures.count("others make a piece of their own");
            self.foreign_piece(piece);
            return None;
        }
        if !self.setup.tampers {
            return None;
        }
        let ours: Vec<_> =
            self.pieces.keys().filter(|piece| !self.foreign.contains(piece)).cloned().collect();
        if ours.is_empty() {
            return None;
        }
        let piece = ours[self.rng.below(ours.len())].clone();
        self.remember();
        if self.rng.chance(50) {
            self.figures.count("others delete a piece of ours");
            self.say(|| format!("others delete {piece}"));
            self.pieces.remove(&piece);
            self.harmed.insert(piece);
        } else {
            self.figures.count("others change a piece of ours");
            self.say(|| format!("others change {piece}"));
            self.pieces.get_mut(&piece).expect("there").is_wrong = true;
        }
        None
    }

    fn node_act(&mut self) -> Heard {
        let node = NodeName::from(format!("n{}", self.rng.below(self.setup.nodes + 1)));
        let (what, machine) = match self.rng.below(5) {
            0 => ("node leaves", None),
            1 => ("machine unknown", Some(Machine::Unknown)),
            2 => ("machine gone", Some(Machine::Gone)),
            _ => ("node there", Some(Machine::Runs)),
        };
        self.figures.count(what);
        self.say(|| format!("{node}: {what}"));
        match machine {
            Some(machine) => {
                self.nodes.insert(node, machine);
            }
            None => {
                self.nodes.remove(&node);
            }
        }
        Heard::Nodes
    }
}
