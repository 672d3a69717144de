//! Volumes: which of them say where they are, what they say, and what becomes of it when things go
//! wrong.

mod basics;
mod crashes;
mod crowd;
mod plan;
mod troubles;
