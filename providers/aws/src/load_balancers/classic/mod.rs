//! Classic Load Balancers.
//!
//! There is one for a Service, by a name that is made from its UID. All that belongs to it but the
//! security group is part of it and goes with it.
//!
//! What differs is *built* where the Go program would put it right at its next sync, and *tidied* where
//! it would leave it (see [`Draft`](super::draft::Draft)):
//!
//! | what differs | Go | here |
//! |---|---|---|
//! | subnets | detached and attached | built |
//! | the only subnet, by another of its zone | fails | left, with a note: AWS refuses it |
//! | subnets, where the scheme differs from the annotation | moved, which breaks it | left, with a note |
//! | scheme | left | left, with a note: AWS cannot change it |
//! | the set of security groups; rules of its own group | put right | built |
//! | its own group, where others are named now, with the nodes' rule for it | deleted, by older releases left | cleared |
//! | listeners | put right | built |
//! | tags of the annotation missing or different | written at each sync | built |
//! | tags that no annotation names any more | left | left |
//! | the cluster's tag missing | left | built: by it others know whose it is |
//! | the Service's tag missing or different | left | tidied |
//! | PROXY protocol on ports of nodes, in use or not | put right | built |
//! | attributes | all written at each sync | built, where they work differently |
//! | draining time-out and interval of access logs, where nothing is said | not named | tidied |
//! | security policy of listeners that speak TLS | set at each sync | built |
//! | the same, where the annotation is gone | left | tidied: AWS' own is set |
//! | policies that are set nowhere | left | left: they go with the load balancer |
//! | health check | put right | built |
//! | instances | put right | built |

mod apply;
mod attributes;
mod change;
mod foresee;
mod health;
mod moves;
mod observe;
mod places;
mod plan;
mod wish;

#[cfg(test)]
mod tests;

pub(crate) use self::apply::apply;
pub(crate) use self::change::ClassicChange;
pub(crate) use self::observe::{ClassicRoom, Found, observe};
pub(crate) use self::places::{places, tags as tags_of, tags_of_all};
pub(crate) use self::plan::{build, down, keep, mark};
