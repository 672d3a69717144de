//! By what our pieces are known: tags, names, and the tokens that make a repetition harmless.

use std::collections::BTreeMap;

use ccm_core::cloud::{ObjectId, Uid};
use serde::Serialize;
use simcloud::api::{CLUSTER_TAG, OWNER_TAG, PieceKind};

/// Tags of a piece.
pub(crate) type Tags = BTreeMap<String, String>;

/// The name of each cluster's firewall.
pub(crate) const FIREWALL_NAME: &str = "load-balancers";

/// The longest name that Go's default gives a load balancer.
const MOST_NAME: usize = 32;

/// Whose a piece is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mark {
    /// It bears this cluster's mark and the object's.
    Ours,
    /// It bears nobody's.
    None,
    /// It bears another cluster's mark, or another object's.
    Others,
}

/// The marks of this cluster.
#[derive(Clone, Debug)]
pub(crate) struct Marks {
    cluster: String,
}

impl Marks {
    /// Those of the cluster of this ID or name.
    pub(crate) fn new(cluster: &str) -> Self {
        Self { cluster: cluster.to_owned() }
    }

    /// The tag on all of this cluster's pieces.
    pub(crate) fn cluster(&self) -> Tags {
        [(CLUSTER_TAG.to_owned(), self.cluster.clone())].into()
    }

    /// The tags on all pieces of one object.
    pub(crate) fn of(&self, owner: &Uid) -> Tags {
        let mut tags = self.cluster();
        tags.insert(OWNER_TAG.to_owned(), owner.as_str().to_owned());
        tags
    }

    /// Whether a piece with these tags is this cluster's.
    pub(crate) fn is_of_cluster(&self, tags: &Tags) -> bool {
        tags.get(CLUSTER_TAG) == Some(&self.cluster)
    }

    /// Whose a piece with these tags is, as this object sees it.
    pub(crate) fn read(&self, tags: &Tags, owner: &Uid) -> Mark {
        let is_same = |key, ours: &str| tags.get(key).map(|value| value == ours);
        match (is_same(CLUSTER_TAG, &self.cluster), is_same(OWNER_TAG, owner.as_str())) {
            (Some(false), _) | (_, Some(false)) => Mark::Others,
            (Some(true), Some(true)) => Mark::Ours,
            (_, None) | (None, Some(true)) => Mark::None,
        }
    }
}

/// Whether a tag is one of our marks, which nobody else may set.
pub(crate) fn is_mark(key: &str) -> bool {
    [CLUSTER_TAG, OWNER_TAG].contains(&key)
}

/// The name of an object's load balancer: what Go's `DefaultLoadBalancerName` gives, so that what
/// a Go program left is found. Unique, because the UID is.
/// <https://github.com/kubernetes/cloud-provider/blob/master/cloud.go>
pub(crate) fn load_balancer_name(owner: &Uid) -> String {
    let mut name = format!("a{}", owner.as_str().replace('-', ""));
    if let Some((end, _)) = name.char_indices().nth(MOST_NAME) {
        name.truncate(end);
    }
    name
}

/// The name of an object's other pieces, for people.
pub(crate) fn piece_name(id: &ObjectId) -> String {
    id.to_string()
}

/// A token by which the cloud knows a repetition of this creation.
///
/// It follows from the owner, the kind, and all that is asked for, so it is the same after a crash.
/// The cloud frees a token when what it made is gone, so that the same can be made again; and the
/// plan does not make anything anew while an earlier one of its kind is on its way out, whose token
/// would give the dying piece.
pub(crate) fn token(owner: &str, kind: &str, wanted: &impl Serialize) -> String {
    let asked = serde_json::to_vec(wanted).expect("plain fields can be written as JSON");
    format!("{owner}/{kind}/{:016x}", fnv1a(&asked))
}

/// The token of a piece.
pub(crate) fn piece_token(owner: &Uid, kind: PieceKind, wanted: &impl Serialize) -> String {
    token(owner.as_str(), kind.as_str(), wanted)
}

/// FNV-1a: a hash that is the same in every build, which the library's need not be.
/// <http://www.isthe.com/chongo/tech/comp/fnv/>
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_is_gos_default() {
        let uid = Uid::from("0a1b2c3d-4e5f-6789-abcd-ef0123456789");
        assert_eq!(load_balancer_name(&uid), "a0a1b2c3d4e5f6789abcdef012345678");
        assert_eq!(load_balancer_name(&Uid::from("u-1")), "au1");
    }

    #[test]
    fn a_mark_is_ours_only_when_all_of_it_is() {
        let (marks, uid) = (Marks::new("blue"), Uid::from("u-1"));
        assert_eq!(marks.read(&marks.of(&uid), &uid), Mark::Ours);
        assert_eq!(marks.read(&marks.of(&Uid::from("u-2")), &uid), Mark::Others);
        assert_eq!(marks.read(&Marks::new("red").of(&uid), &uid), Mark::Others);
        assert_eq!(marks.read(&Tags::new(), &uid), Mark::None);
        assert_eq!(marks.read(&marks.cluster(), &uid), Mark::None);
    }

    #[test]
    fn a_token_follows_from_what_is_asked_for() {
        let uid = Uid::from("u-1");
        let token = |asked: &str| piece_token(&uid, PieceKind::Address, &asked);
        assert_eq!(token("x"), token("x"));
        assert_ne!(token("x"), token("y"));
        assert_eq!(fnv1a(b"foobar"), 0x8594_4171_f739_67e8, "the published test vector");
    }
}
