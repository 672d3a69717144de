//! Plans, on a cloud that is a value.
