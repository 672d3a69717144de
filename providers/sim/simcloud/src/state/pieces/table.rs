//! All pieces of a kind: what is the same for every kind.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Cx, ListAsk, Listed, Moment, Refusal, has_tags};
use crate::api::{PieceKind, PieceState, Quota, Timestamp};
use crate::state::ids;
use crate::state::row::Row;

/// What makes a kind of piece different from the others.
pub(super) trait Body: Clone + PartialEq + fmt::Debug {
    const KIND: PieceKind;
    /// The piece on the wire.
    type Shown;

    /// The piece as it looks at a time.
    fn show(piece: &Piece<Self>, number: u64, time: Timestamp) -> Self::Shown;
}

/// A piece at a time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Piece<B> {
    pub(super) name: String,
    pub(super) tags: BTreeMap<String, String>,
    pub(super) created_at: Timestamp,
    /// When it is no longer provisioning.
    pub(super) ready_at: Timestamp,
    /// Why it has failed, from `ready_at` on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) failure: Option<String>,
    #[serde(default)]
    pub(super) deleting: bool,
    pub(super) body: B,
}

/// A request that may be repeated.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Asked {
    token: String,
    /// The whole request, to tell a repetition from another one.
    request: String,
}

/// A piece over time, with the request that made it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry<B> {
    row: Row<Piece<B>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    asked: Option<Asked>,
}

/// A piece to be made.
#[derive(Debug)]
pub(super) struct New<B> {
    pub(super) name: String,
    pub(super) tags: BTreeMap<String, String>,
    pub(super) asked: Option<Asked>,
    pub(super) body: B,
}

#[derive(Clone, Debug)]
pub(super) struct Table<B> {
    /// Number of the newest piece. Numbers are never given again.
    newest: u64,
    entries: BTreeMap<u64, Entry<B>>,
    by_name: HashMap<String, BTreeSet<u64>>,
    /// Pieces that will vanish, and when.
    vanishing: BTreeSet<(Timestamp, u64)>,
}

/// What outlives the process.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Snapshot<B> {
    newest: u64,
    entries: BTreeMap<u64, Entry<B>>,
}

impl<B> Default for Table<B> {
    fn default() -> Self {
        Self {
            newest: 0,
            entries: BTreeMap::new(),
            by_name: HashMap::new(),
            vanishing: BTreeSet::new(),
        }
    }
}

impl<B> Default for Snapshot<B> {
    fn default() -> Self {
        Self { newest: 0, entries: BTreeMap::new() }
    }
}

impl Asked {
    /// The request, when it came with a token.
    pub(super) fn new<R: Serialize>(token: Option<&String>, request: &R) -> Option<Self> {
        let request = || serde_json::to_string(request).expect("requests are made of plain fields");
        token.map(|token| Self { token: token.clone(), request: request() })
    }

    /// Whether an earlier request was the same; an error when only the token is.
    pub(super) fn repeats(&self, earlier: Option<&Self>) -> Result<bool, Refusal> {
        match earlier.filter(|earlier| earlier.token == self.token) {
            None => Ok(false),
            Some(earlier) if earlier.request == self.request => Ok(true),
            Some(_) => {
                let why = "client_token: it came with another request before";
                Err(Refusal::Conflict(why.to_owned()))
            }
        }
    }
}

impl<B> Piece<B> {
    /// Where it is in its life.
    pub(super) fn state(&self, time: Timestamp) -> PieceState {
        if self.deleting {
            PieceState::Deleting
        } else if time < self.ready_at {
            PieceState::Provisioning
        } else if self.failure.is_some() {
            PieceState::Failed
        } else {
            PieceState::Active
        }
    }
}

const fn prefix(kind: PieceKind) -> &'static str {
    match kind {
        PieceKind::Address => "addr",
        PieceKind::TargetGroup => "tg",
        PieceKind::LoadBalancer => "lb",
        PieceKind::Listener => "lsn",
        PieceKind::Firewall => "fw",
        PieceKind::Route => "rt",
        PieceKind::Volume => "vol",
    }
}

/// The ID of a piece.
pub(super) fn id_of(kind: PieceKind, number: u64) -> String {
    ids::id_of(prefix(kind), number)
}

impl<B: Body> Table<B> {
    /// The table as it was. A snapshot that contradicts itself is refused with the reason.
    pub(super) fn restore(snapshot: Snapshot<B>) -> Result<Self, String> {
        let mut table = Self { newest: snapshot.newest, ..Self::default() };
        for (number, entry) in snapshot.entries {
            let what = B::KIND.words();
            let Some(first) = entry.row.versions().next() else {
                return Err(format!("{what} {number} has no versions"));
            };
            if number == 0 || number > table.newest {
                return Err(format!("{what} {number} is newer than the newest"));
            }
            table.by_name.entry(first.name.clone()).or_default().insert(number);
            table.vanishing.extend(entry.row.vanishes_at.map(|at| (at, number)));
            table.entries.insert(number, entry);
        }
        Ok(table)
    }

    pub(super) fn snapshot(&self) -> Snapshot<B> {
        Snapshot { newest: self.newest, entries: self.entries.clone() }
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Forgets what vanished so long ago that no reader sees it any more.
    pub(super) fn sweep(&mut self, moment: Moment) {
        while let Some(&(at, number)) = self.vanishing.first()
            && at <= moment.seen()
        {
            self.vanishing.pop_first();
            let Some(entry) = self.entries.remove(&number) else { continue };
            let name = &entry.row.current(moment.now).name;
            if let Some(numbers) = self.by_name.get_mut(name) {
                numbers.remove(&number);
                if numbers.is_empty() {
                    self.by_name.remove(name);
                }
            }
        }
    }

    /// The number behind an ID; none for what we never gave out.
    pub(super) fn number_of(id: &str) -> Option<u64> {
        ids::number_of(prefix(B::KIND), id)
    }

    /// All that are there now, whatever readers see.
    pub(super) fn present(&self, now: Timestamp) -> impl Iterator<Item = (u64, &Piece<B>)> {
        let there = move |(number, entry): (&u64, _)| {
            let entry: &Entry<B> = entry;
            Some((*number, &**entry.row.at(now)?))
        };
        self.entries.iter().filter_map(there)
    }

    /// The one that is there now, whatever readers see.
    pub(super) fn existing(&self, cx: &Cx<'_>, id: &str) -> Result<(u64, &Piece<B>), Refusal> {
        self.find(id, cx.now())
    }

    /// The one that may be changed now.
    pub(super) fn changeable(&self, cx: &Cx<'_>, id: &str) -> Result<(u64, &Piece<B>), Refusal> {
        let (number, piece) = self.existing(cx, id)?;
        match piece.state(cx.now()) {
            PieceState::Provisioning | PieceState::Active => Ok((number, piece)),
            state @ (PieceState::Failed | PieceState::Deleting) => {
                let what = B::KIND.words();
                Err(Refusal::Conflict(format!("{what} {id} is {state} and cannot be changed")))
            }
        }
    }

    /// The one that another piece is to refer to from now on, in this field.
    pub(super) fn referred(
        &self,
        cx: &Cx<'_>,
        field: &str,
        id: &str,
    ) -> Result<(u64, &Piece<B>), Refusal> {
        let what = B::KIND.words();
        let conflict = |why: String| Refusal::Conflict(format!("{field}: {why}"));
        let (number, piece) =
            self.existing(cx, id).map_err(|_| conflict(format!("there is no {what} {id}")))?;
        match piece.state(cx.now()) {
            PieceState::Provisioning | PieceState::Active => Ok((number, piece)),
            state @ (PieceState::Failed | PieceState::Deleting) => {
                Err(conflict(format!("{what} {id} is {state}")))
            }
        }
    }

    /// The one that readers see.
    pub(super) fn seen(&self, cx: &Cx<'_>, id: &str) -> Result<(u64, &Piece<B>), Refusal> {
        self.find(id, cx.moment.seen())
    }

    fn find(&self, id: &str, time: Timestamp) -> Result<(u64, &Piece<B>), Refusal> {
        let found = Self::number_of(id)
            .and_then(|number| Some((number, &**self.entries.get(&number)?.row.at(time)?)));
        found.ok_or_else(|| Refusal::not_found(B::KIND.words(), id))
    }

    /// The piece of this number that is there at a time.
    pub(super) fn by_number(&self, time: Timestamp, number: u64) -> Option<&Piece<B>> {
        Some(self.entries.get(&number)?.row.at(time)?)
    }

    /// The piece of this number, be it just gone.
    pub(super) fn shown(&self, cx: &Cx<'_>, number: u64) -> B::Shown {
        let piece = self.entries[&number].row.current(cx.now());
        B::show(piece, number, cx.now())
    }

    /// What a reader gets to see.
    pub(super) fn get(&self, cx: &Cx<'_>, id: &str) -> Result<B::Shown, Refusal> {
        let (number, piece) = self.seen(cx, id)?;
        Ok(B::show(piece, number, cx.moment.seen()))
    }

    /// A page of those that fit, in the order of their making.
    pub(super) fn list(
        &self,
        cx: &Cx<'_>,
        ask: &ListAsk<'_>,
        fits: impl Fn(&B) -> bool,
    ) -> Listed<B::Shown> {
        let time = cx.moment.seen();
        let from = ask.after.saturating_add(1)..;
        let numbers: Box<dyn Iterator<Item = u64> + '_> = match ask.name {
            Some(name) => Box::new(
                self.by_name
                    .get(name)
                    .into_iter()
                    .flat_map(move |all| all.range(from.clone()))
                    .copied(),
            ),
            None => Box::new(self.entries.range(from).map(|(number, _)| *number)),
        };
        let mut found = numbers
            .filter_map(|number| Some((number, self.entries[&number].row.at(time)?)))
            .filter(|(_, piece)| has_tags(&piece.tags, ask.tags) && fits(&piece.body));
        let page: Vec<_> = found.by_ref().take(ask.size).collect();
        let next = found.next().and_then(|_| page.last().map(|(number, _)| *number));
        let items = page.into_iter().map(|(number, piece)| B::show(piece, number, time)).collect();
        Listed { items, next }
    }

    /// What an earlier request with the same token has made.
    pub(super) fn repeated(
        &self,
        cx: &Cx<'_>,
        asked: Option<&Asked>,
    ) -> Result<Option<u64>, Refusal> {
        let Some(asked) = asked else { return Ok(None) };
        let there = self.entries.iter().filter(|(_, entry)| entry.row.at(cx.now()).is_some());
        for (number, entry) in there {
            if asked.repeats(entry.asked.as_ref())? {
                return Ok(Some(*number));
            }
        }
        Ok(None)
    }

    /// Makes one, if the quota lets it.
    pub(super) fn insert(&mut self, cx: &Cx<'_>, new: New<B>) -> Result<u64, Refusal> {
        self.check_quota(cx)?;
        self.newest += 1;
        let number = self.newest;
        let piece = Piece {
            name: new.name,
            tags: new.tags,
            created_at: cx.now(),
            ready_at: cx.ready_at(B::KIND),
            failure: cx.fails.then(|| "it could not be provisioned".to_owned()),
            deleting: false,
            body: new.body,
        };
        self.by_name.entry(piece.name.clone()).or_default().insert(number);
        let mut row = Row::new();
        row.write(cx.moment, [(cx.now(), piece)]);
        self.entries.insert(number, Entry { row, asked: new.asked });
        Ok(number)
    }

    /// Refuses when there is no room for one more.
    pub(super) fn check_quota(&self, cx: &Cx<'_>) -> Result<(), Refusal> {
        Quota::of(B::KIND)
            .map_or(Ok(()), |quota| cx.check_quota(quota, self.present(cx.now()).count() + 1))
    }

    /// Changes one; says whether that made a difference.
    pub(super) fn change(
        &mut self,
        cx: &Cx<'_>,
        number: u64,
        change: impl FnOnce(&mut Piece<B>),
    ) -> bool {
        let Some(entry) = self.entries.get_mut(&number) else { return false };
        let before = entry.row.current(cx.now());
        let mut piece = Piece::clone(before);
        change(&mut piece);
        let differs = piece != **before;
        if differs {
            entry.row.write(cx.moment, [(cx.now(), piece)]);
        }
        differs
    }

    /// Begins to delete one; says whether that had not begun before.
    pub(super) fn delete(&mut self, cx: &Cx<'_>, number: u64) -> bool {
        let begins = self.change(cx, number, |piece| piece.deleting = true);
        if begins {
            self.vanish(number, cx.gone_at(B::KIND));
        }
        begins
    }

    /// Lets one vanish, be it that it was to vanish at another time.
    pub(super) fn vanish(&mut self, number: u64, at: Timestamp) {
        let Some(entry) = self.entries.get_mut(&number) else { return };
        if let Some(before) = entry.row.vanishes_at.replace(at) {
            self.vanishing.remove(&(before, number));
        }
        self.vanishing.insert((at, number));
    }

    /// Whether it has this name or this value of a tag.
    pub(super) fn is_known_as(&self, cx: &Cx<'_>, id: &str, word: &str) -> bool {
        self.existing(cx, id).is_ok_and(|(_, piece)| {
            piece.name == word || piece.tags.values().any(|value| value == word)
        })
    }
}
