//! The engine: the only caller of [`apply`](crate::cloud::Converge::apply).
//!
//! A [`pass`] looks at one unit, plans, carries out the first stage, and looks again, until nothing
//! is left to do or something has to be waited for. Which wants a unit sees as what, in which order
//! units have their turns, is said by [`turn`].

pub mod pass;
pub mod turn;
