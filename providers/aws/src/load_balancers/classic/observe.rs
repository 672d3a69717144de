//! What AWS has of Classic Load Balancers.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::sync::Arc;

use ccm_core::cloud::{CloudError, Gather, Kind as Failure, ObjectId, Read};

use crate::client::Client;
use crate::client::elb::{Attributes, LoadBalancer, TAGS_AT_ONCE};
use crate::denied::Denied;
use crate::ground::Ground;
use crate::load_balancers::annotations::Kind;
use crate::load_balancers::names;
use crate::load_balancers::refusals::{Refusals, Refused};
use crate::load_balancers::wish::Wish;
use crate::marks::{MANAGED_KEY, Tags};

/// Load balancers by name.
pub(crate) type ByName = BTreeMap<String, LoadBalancer>;

/// Lets looks that come at the same moment share their calls. Keeps nothing of what AWS has.
#[derive(Debug)]
pub(crate) struct ClassicRoom {
    lists: Gather<(), ByName>,
    tags: Gather<String, BTreeMap<String, Tags>>,
    /// By the names of load balancers.
    pub(super) refusals: Refusals,
    /// The right to give a listener another certificate.
    pub(super) certificates: Denied,
}

impl Default for ClassicRoom {
    fn default() -> Self {
        let many = NonZeroUsize::new(TAGS_AT_ONCE).unwrap_or(NonZeroUsize::MIN);
        let (lists, tags) = (Gather::new(NonZeroUsize::MIN), Gather::new(many));
        let certificates = Denied::or(
            "listeners of Classic Load Balancers are deleted and made again for another certificate",
        );
        Self { lists, tags, refusals: Refusals::default(), certificates }
    }
}

impl ClassicRoom {
    /// All of the region. They are listed once for all who look at the same moment.
    pub(crate) async fn list(&self, client: &Client, cx: &Read) -> Result<Arc<ByName>, CloudError> {
        self.lists.ask(cx, vec![()], |_| client.classic_load_balancers(cx)).await
    }

    /// The tags of one. [`NotFound`](Failure::NotFound) where it is not there.
    pub(crate) async fn tags(
        &self,
        client: &Client,
        cx: &Read,
        name: &str,
    ) -> Result<Tags, CloudError> {
        let name = name.to_owned();
        let all = self.tags.ask(cx, vec![name.clone()], |names| client.classic_tags(cx, names));
        let found = match all.await {
            Ok(all) => all.get(&name).cloned(),
            // Maybe another of those that were asked about together.
            Err(err) if err.kind() == Failure::NotFound => {
                client.classic_tags(cx, vec![name.clone()]).await?.remove(&name)
            }
            Err(err) => return Err(err),
        };
        Ok(found.unwrap_or_default())
    }
}

/// What AWS has of Classic Load Balancers for one Service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) balancer: Option<Box<Balancer>>,
}

/// The load balancer of a Service's name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Balancer {
    pub(crate) it: LoadBalancer,
    pub(crate) tags: Tags,
    /// `None` where nobody asks for them.
    pub(crate) attributes: Option<Attributes>,
    /// Instances that AWS did not take, and which are not tried for now.
    pub(crate) refused: Refused,
    /// Whether it bears another cluster's tag, and not ours: it is left alone.
    pub(crate) is_anothers: bool,
    /// Whether the right to give a listener another certificate is lacking.
    pub(crate) keeps_certificates: bool,
}

impl Found {
    /// The Service's own.
    pub(crate) fn own(&self) -> Option<&Balancer> {
        self.balancer.as_deref().filter(|it| !it.is_anothers)
    }

    /// The security groups that it has.
    pub(crate) fn groups(&self) -> Option<Vec<String>> {
        self.own().map(|it| it.it.groups.clone())
    }

    /// Whether nothing of the Service is there. What bears another cluster's tag is nothing of ours.
    pub(crate) fn is_empty(&self) -> bool {
        self.own().is_none()
    }

    /// Whether it is there and bears [`MANAGED_KEY`]. `None`: it is not there.
    pub(crate) fn is_managed(&self) -> Option<bool> {
        self.own().map(|it| it.tags.contains_key(MANAGED_KEY))
    }

    /// Its address, once it has one.
    pub(crate) fn hostname(&self) -> Option<&str> {
        self.own().map(|it| it.it.dns_name.as_str()).filter(|name| !name.is_empty())
    }
}

/// Looks. Attributes only where a Classic Load Balancer is wished for.
pub(crate) async fn observe(
    ground: &Ground,
    room: &ClassicRoom,
    cx: &Read,
    id: &ObjectId,
    wish: Option<&Wish<'_>>,
) -> Result<Found, CloudError> {
    let home = ground.home()?;
    let client = &ground.client;
    let name = names::load_balancer(&id.uid);
    let Some(it) = room.list(client, cx).await?.get(&name).cloned() else {
        return Ok(Found::default());
    };
    let is_wanted =
        wish.is_some_and(|wish| matches!(wish.said.kind, Kind::Classic | Kind::Unheard));
    let attributes = async {
        if is_wanted { client.classic_attributes(cx, &name).await.map(Some) } else { Ok(None) }
    };
    let (tags, attributes) = match futures::try_join!(room.tags(client, cx, &name), attributes) {
        Ok(both) => both,
        // It went meanwhile.
        Err(err) if err.kind() == Failure::NotFound => return Ok(Found::default()),
        Err(err) => return Err(err),
    };
    // Without any cluster's tag it is ours: the Service's UID is in its name, and the Go program looks at
    // nothing else.
    let is_anothers = home.cluster.is_anothers(&tags);
    let refused = room.refusals.there(&name);
    let keeps_certificates = room.certificates.is_so();
    let balancer = Balancer { it, tags, attributes, refused, is_anothers, keeps_certificates };
    Ok(Found { balancer: Some(Box::new(balancer)) })
}
