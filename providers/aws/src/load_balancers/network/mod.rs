//! Network Load Balancers.
//!
//! A Service has one, with a listener at each of its ports and a target group of instances behind
//! each listener.
//!
//! # What the Go program would do about it
//!
//! A takeover changes nothing. So each difference is one that the Go program would put right at its next
//! sync, and then it is put right at once, or one that it would leave, and then it is put right only
//! together with others, or on a load balancer that bears [`MANAGED_KEY`](crate::marks::MANAGED_KEY).
//!
//! | What differs | The Go program | Here |
//! |---|---|---|
//! | nothing is there, or half of it | makes the rest | at once |
//! | targets | registers and deregisters | at once |
//! | node port or protocol of a target group | makes another in its place | at once, the same way, with the attributes that users see; it deletes the old one, and after a crash leaves it |
//! | health check: protocol, interval | makes another group | at once, in place |
//! | health check: port, path, healthy threshold | changes it | at once; the rest of the check with it |
//! | health check: timeout, unhealthy threshold alone | leaves it | with the owner's next change |
//! | a listener's certificate, policy | changes it | at once |
//! | a listener's policy, where none is asked for | writes at each sync | whatever is there will do |
//! | a listener's protocol | fails for good | in place, at once but for one that was taken over: with the owner's next change |
//! | a listener's protocol, by another transport | fails for good | the same, but for one that was taken over: refused until the owner's next change |
//! | a listener for no port | deletes it, and its group | at once; the group with the clearing |
//! | cross-zone, access logs | sets what differs | at once |
//! | attributes of target groups, as annotated | sets what differs | at once |
//! | security groups, `Managed` | sets them, makes its own right | at once |
//! | its own security group, off the load balancer | tries once to delete it | with the clearing |
//! | its own security group, by another `--cluster-name` | makes another, tries once to delete it | at once; the old one with the clearing |
//! | target groups that nothing uses | leaves them | with the clearing |
//! | tags | leaves them | with the owner's next change, and none is taken away |
//! | subnets, scheme, fixed addresses | leaves them | never: a note says so |
//! | the name of a target group | counts nowhere but where one is made | the same |

mod apply;
mod attributes;
mod change;
mod found;
mod health;
mod neighbours;
mod observe;
mod places;
mod plan;
mod sight;
mod wish;

pub(crate) use self::apply::apply;
pub(crate) use self::change::NetworkChange;
pub(crate) use self::found::Found;
pub(crate) use self::neighbours::{health_ports, subnets, tags as tags_of, tags_of_all};
pub(crate) use self::observe::{NetworkRoom, observe};
pub(crate) use self::plan::{build, down, has_security_group, keep, mark};
pub(crate) use self::sight::Looker;
