//! The declaration of one kind of object's annotations, and the reading that it gives.

use std::any::Any;
use std::collections::BTreeMap;

use super::value::AnnotationValue;
use super::{Annotated, AnnotationError, Declared};
use crate::cloud::converge::Note;
use crate::cloud::instance::Detail;

/// Characters of a value that are repeated in an error: enough to recognise it, and little enough
/// for an event, which holds 1024.
const MOST_SHOWN: usize = 64;

/// Reads one object's annotations, and collects all that is wrong with them.
///
/// Used by what [`annotations!`](crate::annotations) makes, and by hand where a declaration does
/// not do.
#[derive(Debug)]
pub struct Reading<'a> {
    annotations: &'a BTreeMap<String, String>,
    errors: Vec<AnnotationError>,
    notes: Vec<Note>,
}

impl<'a> Reading<'a> {
    /// Begins.
    pub fn new(annotations: &'a BTreeMap<String, String>) -> Self {
        Self { annotations, errors: Vec::new(), notes: Vec::new() }
    }

    /// The value of a key. `None` where it is absent or makes no sense; in the latter case that is
    /// an error, or a note where the key is lenient.
    pub fn optional<T: AnnotationValue>(&mut self, declared: &Declared) -> Option<T> {
        let text = self.annotations.get(declared.key)?;
        let value = T::read(text);
        if value.is_none() {
            let error = AnnotationError {
                key: declared.key,
                value: cut(text),
                accepted: T::ACCEPTED.to_owned(),
            };
            if declared.lenient {
                self.notes.push(ignored(&error, declared.default));
            } else {
                self.errors.push(error);
            }
        }
        value
    }

    /// The value of a key, or the default that is declared.
    ///
    /// # Panics
    ///
    /// Where the declared default cannot be read: a mistake in the declaration, which reading any
    /// object's annotations shows.
    pub fn or_default<T: AnnotationValue>(&mut self, declared: &Declared) -> T {
        self.optional(declared).unwrap_or_else(|| match T::read(declared.default) {
            Some(value) => value,
            None => panic!("the default of {} must be {}", declared.key, T::ACCEPTED),
        })
    }

    /// Ends: the provider's own type, or all mistakes.
    pub fn finish<T: Any + Send + Sync>(self, value: T) -> Result<Annotated, Vec<AnnotationError>> {
        if self.errors.is_empty() {
            Ok(Annotated { value: Detail::new(value), notes: self.notes })
        } else {
            Err(self.errors)
        }
    }
}

fn cut(text: &str) -> String {
    match text.char_indices().nth(MOST_SHOWN) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}…", &text[..end]),
    }
}

fn ignored(error: &AnnotationError, default: &str) -> Note {
    let instead = if default.is_empty() {
        "it is ignored".to_owned()
    } else {
        format!("{default} holds instead")
    };
    Note { reason: "AnnotationIgnored", message: format!("{error}; {instead}") }
}

/// Declares the annotations of one kind of object, as a type.
///
/// Each key has a line of help, a field, and the type of its value, an
/// [`AnnotationValue`](crate::cloud::annotations::AnnotationValue). With a default, written as a
/// user would write it, the field has that type; without one it is an `Option`. Nonsense in a key
/// that is `(lenient)` is noted and otherwise ignored. Keys that are only written back stand in a
/// section of their own and become constants.
///
/// The type has the constant `ANNOTATIONS` for the registration, and `Default` is what holds where
/// no annotation is set.
///
/// ```
/// use ccm_core::cloud::annotations::Annotations;
///
/// ccm_core::annotations! {
///     /// What a Service may say.
///     #[derive(Debug)]
///     pub struct ServiceAnnotations {
///         /// Whether the load balancer is reached from inside only.
///         "example.com/internal" => pub internal: bool = "false",
///         /// The port of the health check.
///         "example.com/health-check-port" (lenient) => pub port: std::num::NonZeroU16,
///     }
///     written {
///         /// The load balancer's ID.
///         "example.com/load-balancer-id" => pub LOAD_BALANCER_ID,
///     }
/// }
///
/// let annotations = [("example.com/internal".to_owned(), "true".to_owned())].into();
/// let annotated = (ServiceAnnotations::ANNOTATIONS.read)(&annotations).unwrap();
/// let read: &ServiceAnnotations = annotated.value.get().unwrap();
/// assert!(read.internal && read.port.is_none());
/// assert!(ServiceAnnotations::ANNOTATIONS.has(ServiceAnnotations::LOAD_BALANCER_ID));
/// ```
#[macro_export]
macro_rules! annotations {
    (
        $(#[$meta:meta])*
        $vis:vis struct $name:ident {
            $(
                $(#[doc = $help:literal])+
                $key:literal $(($lenient:ident))? =>
                    $field_vis:vis $field:ident: $kind:ty $(= $default:literal)?
            ),* $(,)?
        }
        $(written {
            $(
                $(#[doc = $written_help:literal])+
                $written_key:literal => $written_vis:vis $written:ident
            ),* $(,)?
        })?
    ) => {
        $(#[$meta])*
        $vis struct $name {
            $(
                $(#[doc = $help])+
                $field_vis $field: $crate::annotations!(@field $kind $(, $default)?),
            )*
        }

        impl $name {
            $($(
                $(#[doc = $written_help])+
                $written_vis const $written: &'static str = $written_key;
            )*)?

            /// All keys, and how they are read.
            $vis const ANNOTATIONS: $crate::cloud::annotations::Annotations =
                $crate::cloud::annotations::Annotations {
                    declared: &[
                        $($crate::cloud::annotations::Declared {
                            key: $key,
                            help: concat!($($help),+),
                            accepted:
                                <$kind as $crate::cloud::annotations::AnnotationValue>::ACCEPTED,
                            default: concat!("" $(, $default)?),
                            lenient: $crate::annotations!(@lenient $($lenient)?),
                            written: false,
                        },)*
                        $($($crate::cloud::annotations::Declared {
                            key: $written_key,
                            help: concat!($($written_help),+),
                            accepted: "",
                            default: "",
                            lenient: false,
                            written: true,
                        },)*)?
                    ],
                    read: |annotations| {
                        let mut reading = $crate::cloud::annotations::Reading::new(annotations);
                        let value = Self::read(&mut reading);
                        reading.finish(value)
                    },
                };

            fn read(reading: &mut $crate::cloud::annotations::Reading<'_>) -> Self {
                let mut declared = Self::ANNOTATIONS.declared.iter();
                let mut next = || declared.next().expect("each field is declared");
                Self {
                    $($field: $crate::annotations!(@read reading, next() $(, $default)?),)*
                }
            }
        }

        impl Default for $name {
            fn default() -> Self {
                let none = std::collections::BTreeMap::new();
                Self::read(&mut $crate::cloud::annotations::Reading::new(&none))
            }
        }
    };
    (@field $kind:ty) => { Option<$kind> };
    (@field $kind:ty, $default:literal) => { $kind };
    (@lenient) => { false };
    (@lenient lenient) => { true };
    (@read $reading:ident, $declared:expr) => { $reading.optional($declared) };
    (@read $reading:ident, $declared:expr, $default:literal) => { $reading.or_default($declared) };
}

#[cfg(test)]
mod tests {
    use super::*;

    crate::words! { enum Color { Red = "red", Blue = "blue" } }

    crate::annotations! {
        #[derive(Debug)]
        struct Said {
            /// Whether it is hidden.
            "t.example/hidden" => hidden: bool = "false",
            /// Its color.
            /// Red is usual.
            "t.example/color" => color: Color,
            /// How heavy it is.
            "t.example/port" (lenient) => port: std::num::NonZeroU16 = "80",
            /// Words on it.
            "t.example/words" (lenient) => words: Vec<String>,
        }
        written {
            /// Its ID.
            "t.example/id" => ID,
        }
    }

    fn annotations(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    fn read(pairs: &[(&str, &str)]) -> Result<Annotated, Vec<AnnotationError>> {
        (Said::ANNOTATIONS.read)(&annotations(pairs))
    }

    #[test]
    fn what_is_not_said_has_its_default() {
        let said = Said::default();
        assert!(!said.hidden && said.color.is_none() && said.words.is_none());
        assert_eq!(said.port.get(), 80);
        let annotated = read(&[("t.example/id", "x-1"), ("other", "nonsense")]).unwrap();
        assert!(annotated.notes.is_empty() && annotated.value.get::<Said>().is_some());
    }

    #[test]
    fn what_is_said_is_read() {
        let annotated = read(&[("t.example/hidden", "T"), ("t.example/color", "blue")]).unwrap();
        let said: &Said = annotated.value.get().unwrap();
        assert_eq!((said.hidden, said.color), (true, Some(Color::Blue)));
    }

    #[test]
    fn all_mistakes_are_told_at_once() {
        let errors = read(&[
            ("t.example/color", "green"),
            ("t.example/hidden", "maybe"),
            ("t.example/port", "http"),
        ]);
        let errors: Vec<_> = errors.unwrap_err().iter().map(ToString::to_string).collect();
        assert_eq!(
            errors,
            [
                "annotation t.example/hidden=\"maybe\": must be true (also 1, t, T, TRUE, True) \
                 or false (also 0, f, F, FALSE, False)",
                "annotation t.example/color=\"green\": must be red or blue",
            ]
        );
    }

    #[test]
    fn nonsense_in_a_lenient_key_is_noted() {
        let annotated = read(&[("t.example/port", "http"), ("t.example/words", "a,,b")]).unwrap();
        let notes: Vec<_> = annotated.notes.iter().map(|note| note.message.as_str()).collect();
        assert_eq!(
            notes,
            [
                "annotation t.example/port=\"http\": must be a port, from 1 to 65535; 80 holds \
                 instead",
                "annotation t.example/words=\"a,,b\": must be words, separated by commas; it is \
                 ignored",
            ]
        );
        let said: &Said = annotated.value.get().unwrap();
        assert_eq!((said.port.get(), &said.words), (80, &None));
    }

    #[test]
    fn long_values_are_cut() {
        let long = "ü".repeat(100);
        let errors = read(&[("t.example/color", &long)]).unwrap_err();
        assert_eq!(errors[0].value, format!("{}…", "ü".repeat(64)));
        let just = "x".repeat(64);
        assert_eq!(read(&[("t.example/color", &just)]).unwrap_err()[0].value, just);
    }

    #[test]
    fn every_key_is_declared() {
        let declared = Said::ANNOTATIONS.declared;
        let keys: Vec<_> = declared.iter().map(|it| (it.key, it.default, it.lenient)).collect();
        assert_eq!(
            keys,
            [
                ("t.example/hidden", "false", false),
                ("t.example/color", "", false),
                ("t.example/port", "80", true),
                ("t.example/words", "", true),
                ("t.example/id", "", false),
            ]
        );
        assert!(Said::ANNOTATIONS.has(Said::ID) && !Said::ANNOTATIONS.has("t.example/other"));
        assert_eq!(declared.iter().filter(|it| it.written).count(), 1);
        assert_eq!(declared[1].help.trim(), "Its color. Red is usual.");
    }
}
