//! Annotations as a type: what a provider reads of an object's annotations, declared once.
//!
//! The same declaration, [`annotations!`](crate::annotations), gives the parser, the keys that
//! caches keep, and the [`reference`](fn@reference) page. What a value may be is said by its type,
//! an [`AnnotationValue`]; a provider adds kinds of its own by implementing it.

mod declare;
mod page;
mod value;

pub use declare::Reading;
pub use page::reference;
pub use value::AnnotationValue;
#[doc(hidden)]
pub use value::digits;

use std::collections::BTreeMap;
use std::fmt;

use super::converge::Note;
use super::instance::Detail;

/// Reads an object's annotations, all mistakes at once. Pure.
pub type Reader = fn(&BTreeMap<String, String>) -> Result<Annotated, Vec<AnnotationError>>;

/// The annotations of one kind of object, as a provider declares them.
#[derive(Clone, Copy, Debug)]
pub struct Annotations {
    /// Every key that is read or written, for caches and for the page.
    pub declared: &'static [Declared],
    /// Reads an object's annotations, all mistakes at once.
    pub read: Reader,
}

impl Annotations {
    /// A provider that reads none.
    pub const NONE: Self = Self { declared: &[], read: |_| Ok(Annotated::default()) };

    /// Whether the key is one of them.
    pub fn has(&self, key: &str) -> bool {
        self.declared.iter().any(|declared| declared.key == key)
    }

    /// Whether a load balancer is made from the key's value, and not the other way round.
    pub fn reads(&self, key: &str) -> bool {
        self.declared.iter().any(|declared| declared.key == key && !declared.written)
    }
}

/// One key, for people.
#[derive(Clone, Copy, Debug)]
pub struct Declared {
    /// The whole key.
    pub key: &'static str,
    /// What it does, in sentences.
    pub help: &'static str,
    /// What is accepted.
    pub accepted: &'static str,
    /// What holds without it; empty where nothing does.
    pub default: &'static str,
    /// Whether a value that makes no sense is noted and otherwise ignored, because the program that
    /// is replaced did so.
    pub lenient: bool,
    /// Whether it is only written back, and never read.
    pub written: bool,
}

/// An object's annotations, read.
#[derive(Debug, Default)]
pub struct Annotated {
    /// The provider's own type.
    pub value: Detail,
    /// What was read leniently.
    pub notes: Vec<Note>,
}

/// An annotation that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AnnotationError {
    /// Its key.
    pub key: &'static str,
    /// Its value, cut where it is long.
    pub value: String,
    /// What is accepted.
    pub accepted: String,
}

impl fmt::Display for AnnotationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "annotation {}={:?}: must be {}", self.key, self.value, self.accepted)
    }
}

impl std::error::Error for AnnotationError {}
