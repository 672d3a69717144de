//! Deliberate mistakes, to see that the laws find them.

/// One mistake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mutant {
    /// What a predecessor may have sent is not waited for.
    Hasty,
    /// It begins when half of the list is in.
    HalfAList,
    /// The API takes a write whatever the UID.
    UidUntested,
    /// Nodes that are gone keep what they had.
    EndsUnseen,
    /// A node that is about to go holds nothing.
    DoomedHoldNothing,
    /// A write that failed gives back what was reserved.
    FailureIsRefusal,
    /// Only the first family is written.
    OneFamily,
    /// Nobody is woken when something becomes free.
    NobodyWoken,
    /// What others write on nodes is not looked at.
    OthersUnseen,
    /// Nothing is said of nodes that wait.
    Silent,
}

impl Mutant {
    pub(super) const ALL: [Self; 10] = [
        Self::Hasty,
        Self::HalfAList,
        Self::UidUntested,
        Self::EndsUnseen,
        Self::DoomedHoldNothing,
        Self::FailureIsRefusal,
        Self::OneFamily,
        Self::NobodyWoken,
        Self::OthersUnseen,
        Self::Silent,
    ];
}
