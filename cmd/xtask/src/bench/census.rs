//! Requests of one program in one phase: those to the API server by its audit log, those to the cloud
//! by the cloud's own.

use std::collections::BTreeMap;
use std::fmt;

use ccm_envtest::audit::{Counts, Event};
use simcloud::api::{Operation, OperationClass};

use super::rig::{Account, Rig};
use crate::Error;

/// Counts one program's requests, phase by phase.
pub(super) struct Census<'a> {
    rig: &'a Rig,
    /// By what the API server's log knows the program.
    account: Account,
    /// By what the cloud's log knows it.
    caller: &'static str,
    /// Events in the audit log before the phase.
    logged: usize,
}

/// The requests of one phase.
#[derive(Clone, Debug, Default)]
pub(super) struct Counted {
    /// To the API server, without the lease: `patch services/status`.
    pub(super) requests: BTreeMap<String, u64>,
    /// To the cloud.
    pub(super) operations: BTreeMap<Operation, u64>,
    /// Those that changed something there.
    pub(super) mutations: u64,
}

impl<'a> Census<'a> {
    pub(super) fn new(rig: &'a Rig, account: Account, caller: &'static str) -> Self {
        Self { rig, account, caller, logged: 0 }
    }

    /// A phase begins.
    pub(super) async fn begin(&mut self) -> Result<(), Error> {
        self.logged = self.rig.plane.audit_events().await?.len();
        Ok(self.rig.console.clear_calls().await?)
    }

    /// It has ended.
    pub(super) async fn end(&mut self) -> Result<Counted, Error> {
        self.so_far().await
    }

    /// What was counted until now.
    pub(super) async fn so_far(&self) -> Result<Counted, Error> {
        let calls = self.rig.console.calls().await?;
        let ours = || calls.counts.iter().filter(|count| count.caller == self.caller);
        let events = self.rig.plane.audit_events().await?;
        let user = self.rig.user(self.account);
        // The election is no work.
        let is_work = |event: &Event| {
            let of_election = event.resource == "events" && event.namespace == "kube-system";
            event.user == user && event.resource != "leases" && !of_election
        };
        let mut requests = BTreeMap::new();
        for (request, count) in Counts::of(&events[self.logged..], is_work).iter() {
            let slash = if request.subresource.is_empty() { "" } else { "/" };
            let failed = if request.code < 300 { "" } else { " (refused)" };
            let (verb, resource) = (&request.verb, &request.resource);
            let kind = format!("{verb} {resource}{slash}{}{failed}", request.subresource);
            *requests.entry(kind).or_default() += count;
        }
        Ok(Counted {
            requests,
            operations: ours().map(|count| (count.operation, count.calls)).collect(),
            mutations: ours().map(|count| count.mutations).sum(),
        })
    }
}

impl Counted {
    /// Requests to the API server of one kind.
    pub(super) fn of(&self, kind: &str) -> u64 {
        self.requests.get(kind).copied().unwrap_or_default()
    }

    /// Events, new ones and repetitions.
    pub(super) fn events(&self) -> u64 {
        self.of("create events") + self.of("patch events")
    }

    /// Everything that was written to the API server, or tried to be.
    pub(super) fn writes(&self) -> u64 {
        let is_write = |kind: &str| {
            ["create ", "update ", "patch ", "delete "].iter().any(|verb| kind.starts_with(verb))
        };
        self.requests.iter().filter(|(kind, _)| is_write(kind)).map(|(_, count)| count).sum()
    }

    /// Everything that was read from the API server, but for watches, which are counted when they end.
    pub(super) fn reads(&self) -> u64 {
        let is_read = |kind: &str| ["get ", "list "].iter().any(|verb| kind.starts_with(verb));
        self.requests.iter().filter(|(kind, _)| is_read(kind)).map(|(_, count)| count).sum()
    }

    /// Calls to the cloud that only look.
    pub(super) fn cloud_reads(&self) -> u64 {
        let looks = self.operations.iter().filter(|(one, _)| one.class() == OperationClass::Read);
        looks.map(|(_, count)| count).sum()
    }

    /// Calls to the cloud.
    pub(super) fn calls(&self) -> u64 {
        self.operations.values().sum()
    }

    /// Calls of one operation.
    pub(super) fn calls_of(&self, operation: Operation) -> u64 {
        self.operations.get(&operation).copied().unwrap_or_default()
    }
}

/// A line for each kind.
impl fmt::Display for Counted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (kind, count) in &self.requests {
            writeln!(f, "    {count:>8}  {kind}")?;
        }
        for (operation, count) in &self.operations {
            writeln!(f, "    {count:>8}  {operation}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looks_are_no_writes() {
        let requests = [("get services", 5), ("patch services/status", 2), ("create events", 3)];
        let requests = requests.map(|(kind, count)| (kind.to_owned(), count)).into();
        let operations = [(Operation::GetInstance, 7), (Operation::AddRule, 4)].into();
        let counted = Counted { requests, operations, ..Counted::default() };
        assert_eq!((counted.calls(), counted.cloud_reads()), (11, 7));
        assert_eq!((counted.writes(), counted.events(), counted.reads()), (5, 3, 5));
        assert_eq!(counted.of("patch services/status"), 2);
    }
}
