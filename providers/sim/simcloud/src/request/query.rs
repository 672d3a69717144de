//! Query strings and page tokens.

use std::collections::BTreeMap;

use ipnet::IpNet;

use crate::api::{
    Etag, ListInstances, ListPieces, ListRules, ListTargets, LoadBalancerId, PieceKind,
};
use crate::state::Refusal;

type Pairs = Vec<(String, String)>;

/// Everything that a query string may hold.
#[derive(Debug, Default)]
struct Query {
    page_token: Option<String>,
    page_size: Option<usize>,
    tags: BTreeMap<String, String>,
    name: Option<String>,
    load_balancer: Option<String>,
    owner: Option<String>,
    table: Option<String>,
    destination: Option<IpNet>,
    etag: Option<String>,
}

/// Reads the query string of a list of instances.
pub(crate) fn parse_instances(pairs: Pairs) -> Result<ListInstances, Refusal> {
    let query = parse(pairs, &["page_token", "page_size", "tag"])?;
    let Query { page_token, page_size, tags, .. } = query;
    Ok(ListInstances { page_token, page_size, tags })
}

/// Reads the query string of a list of pieces.
pub(crate) fn parse_pieces(kind: PieceKind, pairs: Pairs) -> Result<ListPieces, Refusal> {
    let mut known = vec!["page_token", "page_size", "name", "tag"];
    match kind {
        PieceKind::Listener => known.push("load_balancer"),
        PieceKind::Route => known.extend(["table", "destination"]),
        PieceKind::Address
        | PieceKind::TargetGroup
        | PieceKind::LoadBalancer
        | PieceKind::Firewall
        | PieceKind::Volume => {}
    }
    let query = parse(pairs, &known)?;
    let Query { page_token, page_size, tags, name, load_balancer, table, destination, .. } = query;
    let load_balancer = load_balancer.map(LoadBalancerId::new);
    Ok(ListPieces { page_token, page_size, name, tags, load_balancer, table, destination })
}

/// Reads the query string of a deletion: the form that is to be deleted, which only routes have.
pub(crate) fn parse_deletion(kind: PieceKind, pairs: Pairs) -> Result<Option<Etag>, Refusal> {
    match kind {
        PieceKind::Route => Ok(parse(pairs, &["etag"])?.etag.map(Etag::new)),
        PieceKind::Address
        | PieceKind::TargetGroup
        | PieceKind::LoadBalancer
        | PieceKind::Listener
        | PieceKind::Firewall
        | PieceKind::Volume => Ok(None),
    }
}

/// Reads the query string of a list of targets.
pub(crate) fn parse_targets(pairs: Pairs) -> Result<ListTargets, Refusal> {
    let Query { page_token, page_size, .. } = parse(pairs, &["page_token", "page_size"])?;
    Ok(ListTargets { page_token, page_size })
}

/// Reads the query string of a list of rules.
pub(crate) fn parse_rules(pairs: Pairs) -> Result<ListRules, Refusal> {
    let query = parse(pairs, &["page_token", "page_size", "owner"])?;
    let Query { page_token, page_size, owner, .. } = query;
    Ok(ListRules { page_token, page_size, owner })
}

/// Reads the query string of a snapshot.
pub(crate) fn parse_tags(pairs: Pairs) -> Result<BTreeMap<String, String>, Refusal> {
    Ok(parse(pairs, &["tag"])?.tags)
}

fn parse(pairs: Pairs, known: &[&str]) -> Result<Query, Refusal> {
    let mut query = Query::default();
    for (key, value) in pairs {
        if !known.contains(&key.as_str()) {
            return Err(Refusal::invalid(key, format!("is unknown; there are {}", and(known))));
        }
        match key.as_str() {
            "page_token" => query.page_token = Some(value),
            "page_size" => {
                let why = |_| Refusal::invalid(&*key, format!("must be a number, not {value:?}"));
                query.page_size = Some(value.parse().map_err(why)?);
            }
            "name" => query.name = Some(value),
            "load_balancer" => query.load_balancer = Some(value),
            "owner" => query.owner = Some(value),
            "table" => query.table = Some(value),
            "etag" => query.etag = Some(value),
            "destination" => {
                let why = |_| Refusal::invalid(&*key, format!("must be a range, not {value:?}"));
                query.destination = Some(value.parse().map_err(why)?);
            }
            _ => {
                let Some((key, value)) = value.split_once('=') else {
                    let why = format!("must be key=value, not {value:?}");
                    return Err(Refusal::invalid(key, why));
                };
                query.tags.insert(key.to_owned(), value.to_owned());
            }
        }
    }
    Ok(query)
}

fn and(words: &[&str]) -> String {
    match words {
        [all @ .., last] if !all.is_empty() => format!("{} and {last}", all.join(", ")),
        words => words.concat(),
    }
}

/// The number after which a page starts, and how much there may be on it.
pub(super) fn page(
    token: Option<&str>,
    size: Option<usize>,
    limit: usize,
) -> Result<(u64, usize), Refusal> {
    let after = match token.map(number_of_token) {
        None => 0,
        Some(Some(after)) => after,
        Some(None) => {
            return Err(Refusal::invalid("page_token", "is not one that the list has given"));
        }
    };
    if size == Some(0) {
        return Err(Refusal::invalid("page_size", "must be at least 1"));
    }
    Ok((after, size.unwrap_or(limit).min(limit)))
}

pub(super) fn token_of(number: u64) -> String {
    format!("p{number:x}")
}

fn number_of_token(token: &str) -> Option<u64> {
    u64::from_str_radix(token.strip_prefix('p')?, 16).ok()
}
