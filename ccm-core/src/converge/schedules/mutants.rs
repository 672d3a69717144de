//! Deliberate mistakes, to see that the laws find them: of a provider, of the controller, and of how
//! the engine is set.

/// One mistake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mutant {
    /// Who is kept does not count as a user of the firewall.
    KeepIsNoUser,
    /// Who is kept does not follow the nodes.
    KeepStandsStill,
    /// Rules of owners whom nobody knows are surplus.
    ForeignIsOurs,
    /// A node of which nothing is known is no member.
    UnknownIsGone,
    /// A list that may be stale is believed when it says that nothing is left.
    AbsenceByList,
    /// That lists may be stale is not told, and what was just changed is looked at but once.
    LagUntold,
    /// The group goes with the first Service that goes.
    GroupGoesWithTheFirst,
    /// Nothing is held once the load balancer is gone, though the address is there.
    AddressForgotten,
    /// What is made again after a lost answer is made twice.
    MadeTwice,
    /// Ports that are not wanted any more stay open.
    SurplusStays,
    /// What somebody else has changed is not looked at.
    TamperingIgnored,
    /// The units are named in another order when it comes to tearing down.
    OrderTurned,
    /// The finalizer goes as soon as one unit has nothing left.
    GoneTooEarly,
    /// The finalizer comes after the want.
    FinalizerLate,
    /// After a restart nobody asks for what is deleted.
    DeletedForgotten,
    /// What cannot be read is taken for deleted.
    UnreadableIsAbsent,
    /// There is no drift check.
    NoDrift,
    /// No back-off.
    HotLoop,
}

impl Mutant {
    pub(super) const ALL: [Self; 18] = [
        Self::KeepIsNoUser,
        Self::KeepStandsStill,
        Self::ForeignIsOurs,
        Self::UnknownIsGone,
        Self::AbsenceByList,
        Self::LagUntold,
        Self::GroupGoesWithTheFirst,
        Self::AddressForgotten,
        Self::MadeTwice,
        Self::SurplusStays,
        Self::TamperingIgnored,
        Self::OrderTurned,
        Self::GoneTooEarly,
        Self::FinalizerLate,
        Self::DeletedForgotten,
        Self::UnreadableIsAbsent,
        Self::NoDrift,
        Self::HotLoop,
    ];
}
