//! IDs that the cloud gives.

use std::fmt;
use std::sync::Arc;

use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Declares IDs: strings that are compared and not taken apart. Cheap to clone: a thousand of them are
/// targets of each of a thousand load balancers.
macro_rules! ids {
    ($($(#[$doc:meta])+ $name:ident;)+) => {$(
        $(#[$doc])+
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Takes the ID as it was written.
            pub fn new(id: impl Into<Arc<str>>) -> Self {
                Self(id.into())
            }

            /// The ID as it is written.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl From<&str> for $name {
            fn from(id: &str) -> Self {
                Self(id.into())
            }
        }

        impl From<String> for $name {
            fn from(id: String) -> Self {
                Self(id.into())
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_str(Text).map(Self)
            }
        }
    )+};
}

/// Reads a text without a copy in between.
struct Text;

impl Visitor<'_> for Text {
    type Value = Arc<str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Arc<str>, E> {
        Ok(text.into())
    }
}

ids! {
    /// The ID that the cloud gave an instance, for example `i-0000000000000001`.
    ///
    /// Unique in the whole cloud and never given again: an instance that is made under the name of
    /// another has another ID. The machine behind it may change all the same, see
    /// [`Instance::incarnation`](super::Instance::incarnation). To be compared, not taken apart.
    InstanceId;
    /// The ID of an address, for example `addr-0000000000000001`. Never given again.
    AddressId;
    /// The ID of a target group, for example `tg-0000000000000001`. Never given again.
    TargetGroupId;
    /// The ID of a load balancer, for example `lb-0000000000000001`. Never given again.
    LoadBalancerId;
    /// The ID of a listener, for example `lsn-0000000000000001`. Never given again.
    ListenerId;
    /// The ID of a firewall, for example `fw-0000000000000001`. Never given again.
    FirewallId;
    /// The ID of a rule of a firewall, for example `r-0000000000000001`. Never given again.
    RuleId;
    /// The ID of a route, for example `rt-0000000000000001`. Never given again.
    RouteId;
    /// The ID of a volume, for example `vol-0000000000000001`. Never given again.
    VolumeId;
}
