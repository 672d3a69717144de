//! What the nodes' rules need to know of Classic Load Balancers.

use std::collections::{BTreeMap, BTreeSet};

use ccm_core::cloud::{CloudError, Kind, Read};
use futures::future::try_join_all;

use super::observe::ClassicRoom;
use crate::ground::Ground;
use crate::marks::Tags;

/// The security groups of every Classic Load Balancer, by its name, in the order in which AWS has
/// them.
pub(crate) async fn places(
    ground: &Ground,
    room: &ClassicRoom,
    cx: &Read,
) -> Result<BTreeMap<String, Vec<String>>, CloudError> {
    let all = room.list(&ground.client, cx).await?;
    Ok(all.iter().map(|(name, it)| (name.clone(), it.groups.clone())).collect())
}

/// The tags of load balancers of these names. Names may be those of others, or of none.
pub(crate) async fn tags(
    ground: &Ground,
    room: &ClassicRoom,
    cx: &Read,
    names: &BTreeSet<String>,
) -> Result<Vec<(String, Tags)>, CloudError> {
    let all = room.list(&ground.client, cx).await?;
    let there = names.iter().filter(|name| all.contains_key(*name));
    let tags = async |name: &String| match room.tags(&ground.client, cx, name).await {
        Ok(tags) => Ok(Some((name.clone(), tags))),
        // It went meanwhile.
        Err(err) if err.kind() == Kind::NotFound => Ok(None),
        Err(err) => Err(err),
    };
    let tags = try_join_all(there.map(tags)).await?;
    Ok(tags.into_iter().flatten().collect())
}

/// Every Classic Load Balancer: its sort, its name and its tags.
pub(crate) async fn tags_of_all(
    ground: &Ground,
    room: &ClassicRoom,
    cx: &Read,
) -> Result<Vec<(&'static str, String, Tags)>, CloudError> {
    let all = room.list(&ground.client, cx).await?;
    // They share calls.
    let tags = async |name: &String| match room.tags(&ground.client, cx, name).await {
        Ok(tags) => Ok(Some(("Classic Load Balancer", name.clone(), tags))),
        Err(err) if err.kind() == Kind::NotFound => Ok(None),
        Err(err) => Err(err),
    };
    let found = try_join_all(all.keys().map(tags)).await?;
    Ok(found.into_iter().flatten().collect())
}
