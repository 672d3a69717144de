//! Names that must not be mistaken for each other.

use std::fmt;
use std::sync::Arc;

/// Declares a name: text that cannot be wrong by its form, cheap to clone, totally ordered.
macro_rules! name {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// The text as it stands.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                Self(text.into())
            }
        }

        impl From<String> for $name {
            fn from(text: String) -> Self {
                Self(text.into())
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, f)
            }
        }

        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
    };
}

name! {
    /// `metadata.name` of a Node.
    NodeName
}
name! {
    /// `metadata.uid` of an object: tells two objects apart that had the same name.
    Uid
}
name! {
    /// `--cluster-name`: part of the names and marks of everything that is made in the cloud.
    ClusterName
}
name! {
    /// Value of `topology.kubernetes.io/zone`.
    Zone
}
name! {
    /// Value of `topology.kubernetes.io/region`.
    Region
}
name! {
    /// Value of `node.kubernetes.io/instance-type`.
    InstanceType
}
name! {
    /// The machine's own unique ID in the cloud, so that a machine that was replaced under the
    /// same name is noticed. Never reused by the cloud.
    Incarnation
}

/// `spec.providerID` of a Node, conventionally `<scheme>://<path>`.
///
/// Never empty. The API keeps it for the life of the Node, so a provider reads every shape that
/// it ever wrote. Only the provider looks into the path; everybody else compares whole IDs.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProviderId(Arc<str>);

/// An empty text is no provider ID: the API reads it as "not set".
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a provider ID must not be empty")]
pub struct EmptyProviderId;

impl ProviderId {
    /// The whole ID.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What stands before `://`, where the ID has the conventional form.
    pub fn scheme(&self) -> Option<&str> {
        self.0.split_once("://").map(|(scheme, _)| scheme)
    }

    /// What stands behind `<scheme>://`, where the scheme is the given one.
    pub fn path_of(&self, scheme: &str) -> Option<&str> {
        self.0.strip_prefix(scheme)?.strip_prefix("://")
    }
}

impl TryFrom<&str> for ProviderId {
    type Error = EmptyProviderId;

    fn try_from(text: &str) -> Result<Self, Self::Error> {
        if text.is_empty() { Err(EmptyProviderId) } else { Ok(Self(text.into())) }
    }
}

impl TryFrom<String> for ProviderId {
    type Error = EmptyProviderId;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::try_from(text.as_str())
    }
}

impl fmt::Display for ProviderId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ProviderId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_provider_id_knows_its_scheme_and_path() {
        let id = ProviderId::try_from("sim://i-1").unwrap();
        assert_eq!((id.scheme(), id.path_of("sim")), (Some("sim"), Some("i-1")));
        assert_eq!(id.path_of("si"), None);
        assert_eq!(ProviderId::try_from("i-1").unwrap().scheme(), None);
        assert_eq!(ProviderId::try_from(""), Err(EmptyProviderId));
    }
}
