//! Deliberate mistakes, to see that the laws find them: of a provider, of what feeds the controller,
//! and of how it is set.

/// One mistake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mutant {
    /// Routes of others in the way are taken over.
    ForeignIsOurs,
    /// Routes of ours outside the cluster's ranges are surplus.
    OutsideIsOurs,
    /// Who is kept needs no routes.
    KeepIsAbsent,
    /// What bears the mark of another node of ours is not taken over.
    NeverTakenOver,
    /// What goes is looked up by its destination, and not by its owner.
    DeletedByDestination,
    /// The preconditions of changes are not sent.
    NoPreconditions,
    /// A table is written without the routes of others.
    OthersForgotten,
    /// A route to another machine will do.
    WrongMachineWillDo,
    /// That the machine is gone does not matter.
    BlackholeIsFine,
    /// Routes that are not wanted any more stay.
    SurplusStays,
    /// What bears our mark is not found.
    NoInventory,
    /// A plan that waits looks again at once.
    Impatient,
    /// Changes are not collected.
    NoSpacing,
    /// There is no drift check.
    NoDrift,
    /// The first list is taken for complete before it is.
    ListedTooEarly,
    /// Nobody says that a Node is gone.
    DeletionUnheard,
    /// Of two nodes with one range the newer one has it.
    NewestHasIt,
    /// What others write in the condition is not seen.
    ConditionUnseen,
}

impl Mutant {
    pub(super) const ALL: [Self; 18] = [
        Self::ForeignIsOurs,
        Self::OutsideIsOurs,
        Self::KeepIsAbsent,
        Self::NeverTakenOver,
        Self::DeletedByDestination,
        Self::NoPreconditions,
        Self::OthersForgotten,
        Self::WrongMachineWillDo,
        Self::BlackholeIsFine,
        Self::SurplusStays,
        Self::NoInventory,
        Self::Impatient,
        Self::NoSpacing,
        Self::NoDrift,
        Self::ListedTooEarly,
        Self::DeletionUnheard,
        Self::NewestHasIt,
        Self::ConditionUnseen,
    ];
}
