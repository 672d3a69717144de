//! Plans, on a cloud that is a value.

mod adoption;
mod converging;
mod model;
mod steps;
mod wishes;
