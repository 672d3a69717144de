//! The machines behind nodes.

pub(crate) mod detail;
