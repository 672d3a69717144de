//! Each key, each mistake.
