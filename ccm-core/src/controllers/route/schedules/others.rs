//! What others do in the cloud behind our back.

use ipnet::IpNet;

use super::acts::range;
use super::routes::{Mark, Route};
use super::setup::is_inside;
use super::state::State;
use crate::cloud::ProviderId;

impl State {
    pub(super) fn others_act(&mut self) {
        let dice = self.rng.below(100);
        if dice < 30 {
            return self.others_make_a_route();
        }
        let is_theirs = dice < 55;
        let of_them = |route: &Route| {
            if is_theirs {
                route.owner().is_none()
            } else {
                route.owner().is_some() && is_inside(route.to)
            }
        };
        let ids: Vec<_> =
            self.routes.iter().filter(|(_, it)| of_them(it)).map(|(id, _)| *id).collect();
        if ids.is_empty() {
            return;
        }
        let id = ids[self.rng.below(ids.len())];
        let route = self.routes[&id].clone();
        self.before_a_change();
        self.harmed.insert(route.to);
        if is_theirs || dice < 80 {
            let what = if is_theirs {
                "others take a route of theirs away"
            } else {
                "others delete a route of ours"
            };
            self.note(what, || route.to_string());
            self.routes.remove(&id);
        } else {
            self.note("others change a route of ours", || route.to_string());
            let via = ProviderId::try_from("toy://somewhere").expect("not empty");
            let etag = self.etag;
            self.routes.insert(id, Route { via, etag, ..route });
        }
        self.see_who_is_right();
    }

    /// In the way or not, in the cluster's ranges or not, with another cluster's mark or none.
    pub(super) fn others_make_a_route(&mut self) {
        let number = u32::try_from(self.rng.below(14)).expect("a few");
        let to = match self.rng.below(4) {
            0 => "10.1.0.0/24".to_owned(),
            1 => "172.16.0.0/12".to_owned(),
            2 => "10.0.0.0/16".to_owned(),
            _ => range(number),
        };
        let mark =
            if self.rng.chance(50) { Mark::Theirs("stranger".into()) } else { Mark::Nobodys };
        self.add_route(&to, mark);
    }

    /// From a time when the cluster had other ranges.
    pub(super) fn a_route_of_ours_outside(&mut self) {
        self.add_route("10.9.0.0/24", Mark::Ours("n0-1".into()));
        self.add_route("10.9.1.0/24", Mark::Ours("long-gone".into()));
    }

    fn add_route(&mut self, to: &str, mark: Mark) {
        let to: IpNet = to.parse().expect("a range");
        if self.routes_to(to).next().is_some() {
            return;
        }
        self.before_a_change();
        self.harmed.insert(to);
        self.ids += 1;
        let via = ProviderId::try_from("toy://stranger").expect("not empty");
        let route = Route { to, via, mark, etag: self.etag, is_late: false };
        self.note("others make a route", || route.to_string());
        self.routes.insert(self.ids, route);
    }
}
