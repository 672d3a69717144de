//! Deliberate mistakes, to see that the checks find them.

/// One mistake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mutant {
    /// Nobody is asked directly: what a look did not find is gone.
    ConfirmSkipped,
    /// "We do not know" reads as "gone", as in the Go library's worst providers.
    DoubtIsAbsence,
    /// The API deletes whatever has the name.
    PreconditionsIgnored,
    /// The budget is never asked.
    BudgetIgnored,
    /// Taints are taken away by their place, whatever is there.
    TaintByPlaceOnly,
    /// The shutdown taint is appended to whatever version there is.
    AppendUntested,
    /// A deletion that failed with a 5xx gives its token back.
    FailureIsRefusal,
    /// The age of a Node does not count.
    AgeIgnored,
    /// All nodes are ours.
    StrangersAreOurs,
    /// What is to be told on a node is dropped.
    Silent,
    /// The answers about several machines are given to the wrong nodes.
    MixedUp,
}

impl Mutant {
    pub(super) const ALL: [Self; 11] = [
        Self::ConfirmSkipped,
        Self::DoubtIsAbsence,
        Self::PreconditionsIgnored,
        Self::BudgetIgnored,
        Self::TaintByPlaceOnly,
        Self::AppendUntested,
        Self::FailureIsRefusal,
        Self::AgeIgnored,
        Self::StrangersAreOurs,
        Self::Silent,
        Self::MixedUp,
    ];
}
