//! What the program under test asked of the API server, from the audit log.

use std::fmt;

use ccm_envtest::audit::{Event, Stage};

/// Completed requests, in order.
#[derive(Clone, Debug, Default)]
pub struct Traffic(Vec<Event>);

impl Traffic {
    pub(crate) fn new(events: impl IntoIterator<Item = Event>) -> Self {
        let completed = |event: &Event| event.stage == Stage::ResponseComplete;
        Self(events.into_iter().filter(completed).collect())
    }

    /// Requests that changed something, or tried to: Nodes, their status, events, the lease.
    #[must_use]
    pub fn mutations(&self) -> Self {
        self.keep(|event| !matches!(&*event.verb, "get" | "list" | "watch"))
    }

    /// Mutations of Nodes and of their status.
    #[must_use]
    pub fn node_writes(&self) -> Self {
        self.mutations().keep(|event| event.resource == "nodes")
    }

    /// Deletions of Nodes, or tries.
    #[must_use]
    pub fn node_deletions(&self) -> Self {
        self.keep(|event| event.resource == "nodes" && event.verb == "delete")
    }

    /// Mutations of the Nodes' status: addresses and conditions.
    #[must_use]
    pub fn status_writes(&self) -> Self {
        self.node_writes().keep(|event| event.subresource == "status")
    }

    /// Requests for one Node. The opening list and the watch are not among them.
    #[must_use]
    pub fn node_reads(&self) -> Self {
        self.keep(|event| event.resource == "nodes" && event.verb == "get")
    }

    /// Requests about the Node of this name.
    #[must_use]
    pub fn of_node(&self, name: &str) -> Self {
        self.keep(|event| event.resource == "nodes" && event.name == name)
    }

    /// Mutations of Services and of their status.
    #[must_use]
    pub fn service_writes(&self) -> Self {
        self.mutations().keep(|event| event.resource == "services")
    }

    /// Mutations of the Service of this name and of its status.
    #[must_use]
    pub fn of_service(&self, name: &str) -> Self {
        self.mutations().keep(|event| event.resource == "services" && event.name == name)
    }

    /// Mutations of `PersistentVolume`s.
    #[must_use]
    pub fn volume_writes(&self) -> Self {
        self.mutations().keep(|event| event.resource == "persistentvolumes")
    }

    /// Looks at `PersistentVolume`s: one, all, or from now on.
    #[must_use]
    pub fn volume_reads(&self) -> Self {
        self.keep(|event| {
            event.resource == "persistentvolumes"
                && matches!(&*event.verb, "get" | "list" | "watch")
        })
    }

    /// Those with this answer.
    #[must_use]
    pub fn answered(&self, code: u16) -> Self {
        self.keep(|event| event.code == code)
    }

    /// Those that came later than so many.
    #[must_use]
    pub fn after(&self, count: usize) -> Self {
        Self(self.0.iter().skip(count).cloned().collect())
    }

    /// The requests one by one.
    pub fn iter(&self) -> impl Iterator<Item = &Event> {
        self.0.iter()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// `patch nodes/status 200`, in order.
    pub fn lines(&self) -> Vec<String> {
        self.0.iter().map(line).collect()
    }

    /// Those that `wanted` lets pass.
    #[must_use]
    pub fn keep(&self, wanted: impl Fn(&Event) -> bool) -> Self {
        Self(self.0.iter().filter(|event| wanted(event)).cloned().collect())
    }
}

fn line(event: &Event) -> String {
    let Event { verb, resource, subresource, code, .. } = event;
    let slash = if subresource.is_empty() { "" } else { "/" };
    format!("{verb} {resource}{slash}{subresource} {code}")
}

/// One request a line, with the object's name.
impl fmt::Display for Traffic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for event in &self.0 {
            writeln!(f, "{} {}", line(event), event.name)?;
        }
        Ok(())
    }
}
