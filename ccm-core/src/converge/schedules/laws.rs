//! What must hold at each step, whatever the cloud, the cluster and the process do. The text of a
//! failure begins with the law's name.

use std::collections::{BTreeMap, BTreeSet};

use super::pieces::{Act, Form, Part, Piece, Verb};
use super::setup::{NO_LISTENER, NO_RULE, NOT_OFFERED};
use super::state::{Machine, Ms, State};
use crate::cloud::{Kind, NodeName, Uid};
use crate::converge::{PASS_LIMIT, Progress};

/// The name of a broken law and how it was broken.
pub(super) type Verdict = Result<(), String>;

/// For how long what was wanted may still be acted on: a pass goes by what it began with.
fn grace() -> Ms {
    u64::try_from(PASS_LIMIT.as_millis()).expect("minutes") + 15_000
}

/// The engine hands a unit what is wanted, or was when the pass began.
pub(super) fn what_is_worked_for_is_wanted(state: &State, part: &Part) -> Verdict {
    let now = state.now();
    for (uid, form) in &state.worlds[part] {
        if *form == Form::Keep {
            continue;
        }
        let Some(handed) = state.handed.get(uid) else {
            return Err(format!("what_is_worked_for_is_wanted: nobody wants {uid}"));
        };
        let ends = handed.iter().skip(1).map(|(at, _)| at + grace()).chain([Ms::MAX]);
        if !handed.iter().zip(ends).any(|((_, was), end)| was == form && now <= end) {
            return Err(format!("what_is_worked_for_is_wanted: {uid} as {form:?} in {part:?}"));
        }
    }
    Ok(())
}

/// Whether the node was gone or not there when the part was last looked at.
fn was_bad(state: &State, part: &Part, node: &NodeName) -> bool {
    !state.members.get(part).is_some_and(|members| members.contains(node))
}

/// A change takes effect. Only what belongs to an object that is handed over is touched, it is
/// touched as that object wants it, and what others have made never.
pub(super) fn an_effect_is_wanted(state: &State, act: &Act) -> Verdict {
    let Act(verb, piece) = act;
    if state.foreign.contains(piece) {
        return Err(format!("what_others_made_is_left_alone: {act}"));
    }
    let nobody = BTreeMap::new();
    let world = state.worlds.get(&piece.part()).unwrap_or(&nobody);
    let Some(owner) = piece.owner() else { return the_group_serves_all(state, act, world) };
    let forbidden = |law: &str| Err(format!("{law}: {act}, wanted: {:?}", world.get(owner)));
    match (verb, world.get(owner)) {
        (_, None) => return forbidden("nothing_is_touched_that_nobody_wants_touched"),
        (verb, Some(Form::Keep)) => {
            let follows = match piece {
                Piece::Target(_, node) => {
                    (*verb == Verb::Delete) == was_bad(state, &piece.part(), node)
                }
                _ => false,
            };
            if !follows {
                return forbidden("what_is_kept_is_left_alone");
            }
        }
        (Verb::Create | Verb::Repair, Some(Form::Absent)) => {
            return forbidden("nothing_is_made_for_what_goes");
        }
        (Verb::Delete, Some(Form::Absent)) => {
            let has_rules =
                state.pieces.keys().any(|it| matches!(it, Piece::Rule(of, _) if of == owner));
            if has_rules && !matches!(piece, Piece::Rule(..)) {
                return forbidden("what_goes_is_torn_down_in_reverse");
            }
        }
        (verb, Some(Form::Present(ports))) => {
            let is_wanted = match piece {
                Piece::Address(_, number) => *number == 0,
                Piece::Listener(_, port) | Piece::Rule(_, port) => ports.contains(port),
                Piece::Target(_, node) if *verb == Verb::Delete => {
                    !was_bad(state, &piece.part(), node)
                }
                Piece::Balancer(_) | Piece::Target(..) | Piece::Group | Piece::Member(_) => true,
            };
            if is_wanted == (*verb == Verb::Delete) {
                return forbidden("what_lives_gets_what_it_wants");
            }
        }
    }
    let has_finalizer = state.owner(owner).is_some_and(|service| service.has_finalizer);
    if *verb == Verb::Create && !has_finalizer {
        return forbidden("nothing_is_made_without_a_finalizer");
    }
    Ok(())
}

fn the_group_serves_all(state: &State, act: &Act, world: &BTreeMap<Uid, Form>) -> Verdict {
    let is_used = world.values().any(|form| *form != Form::Absent);
    let is_lawful = match act {
        Act(Verb::Delete, Piece::Group) => {
            let ours =
                |it: &&Piece| matches!(it, Piece::Balancer(_)) && !state.foreign.contains(it);
            !is_used && !state.pieces.keys().any(|it| ours(&it))
        }
        Act(Verb::Delete, Piece::Member(node)) => !is_used || was_bad(state, &Part::Group, node),
        _ => is_used,
    };
    if is_lawful { Ok(()) } else { Err(format!("the_group_serves_all: {act}")) }
}

/// An object whose finalizer goes has nothing in the cloud.
pub(super) fn nothing_leaks(state: &State, uid: &Uid) -> Verdict {
    match state.pieces.keys().find(|piece| piece.is_of(uid)) {
        None => Ok(()),
        Some(piece) => Err(format!("nothing_leaks: {piece} is left")),
    }
}

/// What there has to be of an object, of the nodes whose machines run.
fn wanted(state: &State, uid: &Uid, ports: &BTreeSet<u16>) -> BTreeSet<Piece> {
    let mut pieces = BTreeSet::from([Piece::Address(uid.clone(), 0), Piece::Balancer(uid.clone())]);
    for port in ports {
        pieces.extend([Piece::Listener(uid.clone(), *port), Piece::Rule(uid.clone(), *port)]);
    }
    pieces.extend(targets(state, uid));
    pieces
}

fn running(state: &State) -> impl Iterator<Item = &NodeName> {
    let running = state.nodes.iter().filter(|(_, machine)| **machine == Machine::Runs);
    running.map(|(node, _)| node)
}

fn targets(state: &State, uid: &Uid) -> impl Iterator<Item = Piece> {
    running(state).map(|node| Piece::Target(uid.clone(), node.clone()))
}

/// Who cannot be read or cannot be had keeps what it has, and its targets come and go with the nodes all
/// the same, also while no process runs. What others do to it is not looked at.
fn its_targets_follow_the_nodes(state: &State, uid: &Uid) -> Verdict {
    if state.setup.tampers || !state.pieces.contains_key(&Piece::Balancer(uid.clone())) {
        return Ok(());
    }
    let is_target = |piece: &&Piece| matches!(piece, Piece::Target(..)) && piece.is_of(uid);
    let has = state.pieces.keys().filter(is_target).filter(|it| !is_open(state, it));
    let (has, wanted): (BTreeSet<_>, _) = (has.cloned().collect(), targets(state, uid).collect());
    let odd = has.symmetric_difference(&wanted).next();
    odd.map_or(Ok(()), |piece| Err(format!("its_targets_follow_the_nodes: {piece}")))
}

/// Pieces that may be there or not: of nodes of which nothing is known.
fn is_open(state: &State, piece: &Piece) -> bool {
    let (Piece::Target(_, node) | Piece::Member(node)) = piece else { return false };
    state.nodes.get(node) == Some(&Machine::Unknown)
}

/// Long after the last act everything is as it is wanted, or says why not.
pub(super) fn everything_is_as_wanted(
    state: &State,
    progress: &BTreeMap<Uid, Progress>,
) -> Verdict {
    let mut is_group_needed = Some(false);
    let fail = |what: String| Err(format!("everything_is_as_wanted: {what}"));
    for (name, service) in &state.services {
        let uid = &service.uid;
        match service.form() {
            Form::Absent if service.has_finalizer => return fail(format!("{name} is not gone")),
            Form::Absent => {}
            // Nothing was made of it.
            Form::Keep if !service.has_finalizer => {}
            Form::Keep => {
                its_targets_follow_the_nodes(state, uid)?;
                is_group_needed = is_group_needed.filter(|needed| *needed);
            }
            Form::Present(ports) => {
                let Some(progress) = progress.get(uid) else {
                    return fail(format!("nobody works for {name}"));
                };
                is_group_needed = Some(true);
                its_trouble_is_real(state, uid, &ports, progress)?;
                if progress.trouble.is_some() {
                    its_targets_follow_the_nodes(state, uid)?;
                    continue;
                }
                let wanted = wanted(state, uid, &ports);
                let theirs = state.pieces.keys().filter(|it| it.is_of(uid) && !is_open(state, it));
                let has: BTreeSet<_> = theirs.cloned().collect();
                if let Some(piece) = has.symmetric_difference(&wanted).next() {
                    return fail(format!("{name} ({uid}) and {piece}: {progress:?}"));
                }
                let wrong = has.iter().find(|piece| state.pieces[*piece].is_wrong);
                if let Some(piece) = wrong {
                    return fail(format!("{piece} is not as it should be"));
                }
            }
        }
    }
    if let Some(lost) = state.foreign.iter().find(|piece| !state.pieces.contains_key(piece)) {
        return fail(format!("{lost}, which is not ours, is gone"));
    }
    let orphan = state.pieces.keys().filter(|piece| !state.foreign.contains(piece)).find(|piece| {
        piece.owner().is_some_and(|of| !state.owner(of).is_some_and(|it| it.has_finalizer))
    });
    if let Some(orphan) = orphan {
        return fail(format!("{orphan} is nobody's"));
    }
    match is_group_needed {
        Some(false) => {
            let group = state.pieces.keys().find(|piece| piece.part() == Part::Group);
            group.map_or(Ok(()), |piece| fail(format!("{piece} is left")))
        }
        // Only those use it that cannot be read: it need not be there, and is not looked at for what
        // others have done.
        None if state.setup.tampers || !state.pieces.contains_key(&Piece::Group) => Ok(()),
        None | Some(true) => {
            let members = running(state).map(|node| Piece::Member(node.clone()));
            let wanted: BTreeSet<_> = members.chain([Piece::Group]).collect();
            let group = state.pieces.keys().filter(|it| it.part() == Part::Group);
            let has: BTreeSet<_> = group.filter(|it| !is_open(state, it)).cloned().collect();
            let odd = has.symmetric_difference(&wanted).next();
            odd.map_or(Ok(()), |piece| fail(format!("the group and {piece}")))
        }
    }
}

/// What the engine calls done is there, but for what others took away, where lists are up to date.
pub(super) fn done_is_true(state: &State, uid: &Uid, ports: &BTreeSet<u16>) -> Verdict {
    if state.setup.lag > 0 {
        return Ok(());
    }
    let of_ports = ports
        .iter()
        .flat_map(|port| [Piece::Listener(uid.clone(), *port), Piece::Rule(uid.clone(), *port)]);
    let mut pieces = of_ports.chain([Piece::Balancer(uid.clone())]);
    let is_missing =
        |piece: &Piece| !state.pieces.contains_key(piece) && !state.harmed.contains(piece);
    match pieces.find(is_missing) {
        None => Ok(()),
        Some(piece) => Err(format!("done_is_true: {piece} is not there")),
    }
}

/// Soon after the last fault everybody has got on, or says why not: nobody waits for the drift check.
pub(super) fn everybody_got_on(state: &State, progress: &BTreeMap<Uid, Progress>) -> Verdict {
    for (name, service) in &state.services {
        match (service.form(), progress.get(&service.uid)) {
            (Form::Absent, _) if service.has_finalizer => {
                return Err(format!("everybody_got_on: {name} is not gone"));
            }
            (Form::Present(_), None) => {
                return Err(format!("everybody_got_on: nobody works for {name}"));
            }
            // What others took away since shows at the next drift check.
            (Form::Present(_), Some(progress))
                if progress.is_done && progress.trouble.is_none() => {}
            (Form::Present(ports), Some(progress)) => {
                its_trouble_is_real(state, &service.uid, &ports, progress)?;
            }
            (Form::Absent | Form::Keep, _) => {}
        }
    }
    Ok(())
}

/// Soon after the last fault the cloud is as it is wanted, where nobody else has harmed it: what the
/// engine itself has left wrong, however old the lists were, is not left to the drift check.
pub(super) fn nothing_waits_for_the_drift_check(
    state: &State,
    progress: &BTreeMap<Uid, Progress>,
) -> Verdict {
    if state.setup.tampers {
        return Ok(());
    }
    everything_is_as_wanted(state, progress)
        .map_err(|how| format!("nothing_waits_for_the_drift_check: {how}"))
}

/// Whoever is in trouble is so for a reason that there is, and whoever has a reason says so.
fn its_trouble_is_real(
    state: &State,
    uid: &Uid,
    ports: &BTreeSet<u16>,
    progress: &Progress,
) -> Verdict {
    let balancers = state.pieces.keys().filter(|it| matches!(it, Piece::Balancer(_)));
    let ours = balancers.filter(|it| !state.foreign.contains(it)).count();
    let is_over = state.setup.quota.is_some_and(|quota| ours >= quota)
        && !state.pieces.contains_key(&Piece::Balancer(uid.clone()));
    let reasons: Vec<Kind> = [
        ports.contains(&NO_RULE).then_some(Kind::InvalidConfiguration),
        ports.contains(&NOT_OFFERED).then_some(Kind::InvalidConfiguration),
        ports.contains(&NO_LISTENER).then_some(Kind::PermissionDenied),
        is_over.then_some(Kind::QuotaExceeded),
    ]
    .into_iter()
    .flatten()
    .collect();
    match &progress.trouble {
        Some(trouble) if reasons.contains(&trouble.error.kind()) => Ok(()),
        None if reasons.is_empty() && progress.is_done => Ok(()),
        trouble => Err(format!(
            "trouble_is_told_and_real: {uid} with {ports:?} is done: {}, in trouble: {trouble:?}",
            progress.is_done
        )),
    }
}
