//! What the value of an annotation may be.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::num::NonZeroU16;

use ipnet::IpNet;

/// A kind of value that an annotation may have.
///
/// A provider implements it for types of its own. [`whole_number!`](crate::whole_number),
/// [`seconds!`](crate::seconds) and [`words!`](crate::words) declare the usual ones.
pub trait AnnotationValue: Sized {
    /// What is accepted, to be read behind "must be".
    const ACCEPTED: &'static str;

    /// Reads the text. `None` where it is not what is accepted.
    fn read(text: &str) -> Option<Self>;
}

/// As Go's `strconv.ParseBool`, because that is what users know.
/// <https://pkg.go.dev/strconv#ParseBool>
impl AnnotationValue for bool {
    const ACCEPTED: &'static str =
        "true (also 1, t, T, TRUE, True) or false (also 0, f, F, FALSE, False)";

    fn read(text: &str) -> Option<Self> {
        match text {
            "1" | "t" | "T" | "TRUE" | "true" | "True" => Some(true),
            "0" | "f" | "F" | "FALSE" | "false" | "False" => Some(false),
            _ => None,
        }
    }
}

/// Free text, as it stands.
impl AnnotationValue for String {
    const ACCEPTED: &'static str = "any text";

    fn read(text: &str) -> Option<Self> {
        Some(text.to_owned())
    }
}

impl AnnotationValue for NonZeroU16 {
    const ACCEPTED: &'static str = "a port, from 1 to 65535";

    fn read(text: &str) -> Option<Self> {
        digits(text)?.parse().ok()
    }
}

impl AnnotationValue for IpAddr {
    const ACCEPTED: &'static str = "an IP address";

    fn read(text: &str) -> Option<Self> {
        text.parse().ok()
    }
}

/// Words, without blanks around them.
impl AnnotationValue for Vec<String> {
    const ACCEPTED: &'static str = "words, separated by commas";

    fn read(text: &str) -> Option<Self> {
        list(text, |word| Some(word.to_owned()))
    }
}

impl AnnotationValue for Vec<IpAddr> {
    const ACCEPTED: &'static str = "IP addresses, separated by commas";

    fn read(text: &str) -> Option<Self> {
        list(text, |address| address.parse().ok())
    }
}

/// Ranges as they are written: host bits are kept.
impl AnnotationValue for Vec<IpNet> {
    const ACCEPTED: &'static str = "ranges like 192.0.2.0/24, separated by commas";

    fn read(text: &str) -> Option<Self> {
        list(text, |range| range.parse().ok())
    }
}

/// The last word on a key holds.
impl AnnotationValue for BTreeMap<String, String> {
    const ACCEPTED: &'static str = "key=value, separated by commas";

    fn read(text: &str) -> Option<Self> {
        let pair = |pair: &str| {
            let (key, value) = pair.split_once('=')?;
            let (key, value) = (key.trim(), value.trim());
            (!key.is_empty()).then(|| (key.to_owned(), value.to_owned()))
        };
        Some(list(text, pair)?.into_iter().collect())
    }
}

/// What stands between commas, without blanks around it. Nothing but blanks is an empty list; an
/// empty place in a list is a slip.
fn list<T>(text: &str, read: impl Fn(&str) -> Option<T>) -> Option<Vec<T>> {
    if text.trim().is_empty() {
        return Some(Vec::new());
    }
    let one = |part: &str| {
        let part = part.trim();
        if part.is_empty() { None } else { read(part) }
    };
    text.split(',').map(one).collect()
}

/// The text, where it is digits and nothing else: no sign, which the library would let pass.
#[doc(hidden)]
pub fn digits(text: &str) -> Option<&str> {
    (!text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())).then_some(text)
}

/// Declares a whole number within bounds, as a type that an annotation can have.
///
/// ```
/// use ccm_core::cloud::annotations::AnnotationValue;
///
/// ccm_core::whole_number! {
///     /// How many at once.
///     pub struct AtOnce(pub u16): 1 to 500
/// }
/// assert_eq!(AtOnce::read("500").map(|it| it.0), Some(500));
/// assert!(AtOnce::read("501").is_none());
/// assert_eq!(AtOnce::ACCEPTED, "a whole number from 1 to 500");
/// ```
#[macro_export]
macro_rules! whole_number {
    ($(#[$doc:meta])* $vis:vis struct $name:ident($of:vis $number:ty): $least:literal to $most:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        $vis struct $name($of $number);

        impl $crate::cloud::annotations::AnnotationValue for $name {
            const ACCEPTED: &'static str =
                concat!("a whole number from ", $least, " to ", $most);

            fn read(text: &str) -> Option<Self> {
                let number: $number = $crate::cloud::annotations::digits(text)?.parse().ok()?;
                ($least..=$most).contains(&number).then_some(Self(number))
            }
        }
    };
}

/// Declares a time in seconds within bounds, as a type that an annotation can have.
///
/// ```
/// use std::time::Duration;
///
/// use ccm_core::cloud::annotations::AnnotationValue;
///
/// ccm_core::seconds! {
///     /// For how long a connection may be silent.
///     pub struct IdleTimeout: 1 to 4000
/// }
/// assert_eq!(IdleTimeout::read("60").map(|it| it.0), Some(Duration::from_secs(60)));
/// assert_eq!(IdleTimeout::ACCEPTED, "a number of seconds from 1 to 4000");
/// ```
#[macro_export]
macro_rules! seconds {
    ($(#[$doc:meta])* $vis:vis struct $name:ident: $least:literal to $most:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        $vis struct $name(
            /// The time.
            $vis std::time::Duration,
        );

        impl $crate::cloud::annotations::AnnotationValue for $name {
            const ACCEPTED: &'static str =
                concat!("a number of seconds from ", $least, " to ", $most);

            fn read(text: &str) -> Option<Self> {
                let seconds: u64 = $crate::cloud::annotations::digits(text)?.parse().ok()?;
                let is_within = ($least..=$most).contains(&seconds);
                is_within.then(|| Self(std::time::Duration::from_secs(seconds)))
            }
        }
    };
}

/// Declares one word of a set, as a type that an annotation can have.
///
/// ```
/// use ccm_core::cloud::annotations::AnnotationValue;
///
/// ccm_core::words! {
///     /// Where clients are.
///     pub enum Scheme {
///         /// Anywhere.
///         Public = "public",
///         /// Inside.
///         Private = "private",
///     }
/// }
/// assert_eq!(Scheme::read("private"), Some(Scheme::Private));
/// assert_eq!(Scheme::ACCEPTED, "public or private");
/// ```
#[macro_export]
macro_rules! words {
    (
        $(#[$doc:meta])* $vis:vis enum $name:ident {
            $(#[$first_doc:meta])* $first:ident = $first_word:literal
            $(, $(#[$word_doc:meta])* $variant:ident = $word:literal)* $(,)?
        }
    ) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        $vis enum $name {
            $(#[$first_doc])* $first,
            $($(#[$word_doc])* $variant,)*
        }

        impl $crate::cloud::annotations::AnnotationValue for $name {
            const ACCEPTED: &'static str = concat!($first_word $(, " or ", $word)*);

            fn read(text: &str) -> Option<Self> {
                match text {
                    $first_word => Some(Self::$first),
                    $($word => Some(Self::$variant),)*
                    _ => None,
                }
            }
        }
    };
}

#[cfg(test)]
mod tests {
    use std::fmt::Debug;

    use super::*;

    crate::whole_number! { struct Weight(u16): 1 to 100 }
    crate::seconds! { struct Wait: 0 to 90 }
    crate::words! { enum Color { Red = "red", Green = "green", Blue = "blue" } }

    fn reads<T: AnnotationValue + Debug>(table: &[(&str, Option<&str>)]) {
        for (text, want) in table {
            let read = T::read(text).map(|value| format!("{value:?}"));
            assert_eq!(read.as_deref(), *want, "{text:?}");
        }
    }

    #[test]
    fn truth_is_spelled_as_in_go() {
        for text in ["1", "t", "T", "TRUE", "true", "True"] {
            assert_eq!(bool::read(text), Some(true), "{text}");
        }
        for text in ["0", "f", "F", "FALSE", "false", "False"] {
            assert_eq!(bool::read(text), Some(false), "{text}");
        }
        for text in ["", " true", "yes", "tRUE", "on"] {
            assert_eq!(bool::read(text), None, "{text}");
        }
    }

    #[test]
    fn numbers_keep_to_their_bounds() {
        reads::<Weight>(&[("1", Some("Weight(1)")), ("100", Some("Weight(100)"))]);
        reads::<Weight>(&[("0", None), ("101", None), ("70000", None), ("", None)]);
        reads::<Weight>(&[("+5", None), ("-1", None), ("5s", None), (" 5", None)]);
        reads::<Wait>(&[("0", Some("Wait(0ns)")), ("90", Some("Wait(90s)")), ("91", None)]);
        reads::<NonZeroU16>(&[("80", Some("80")), ("0", None), ("65536", None), ("http", None)]);
    }

    #[test]
    fn a_word_is_one_of_a_set() {
        reads::<Color>(&[("green", Some("Green")), ("Green", None), ("", None)]);
        assert_eq!(Color::ACCEPTED, "red or green or blue");
    }

    #[test]
    fn lists_ignore_blanks_and_refuse_gaps() {
        reads::<Vec<String>>(&[(" a , b", Some(r#"["a", "b"]"#)), ("", Some("[]"))]);
        reads::<Vec<String>>(&[("a,,b", None), ("a,", None), (" ", Some("[]"))]);
        reads::<Vec<IpAddr>>(&[("10.0.0.1, fd00::1", Some("[10.0.0.1, fd00::1]"))]);
        reads::<Vec<IpAddr>>(&[("10.0.0.1,nonsense", None), ("10.0.0.0/8", None)]);
        reads::<Vec<IpNet>>(&[("10.0.0.1/8,::/0", Some("[10.0.0.1/8, ::/0]"))]);
        reads::<Vec<IpNet>>(&[("10.0.0.1", None)]);
        reads::<IpAddr>(&[("192.0.2.1", Some("192.0.2.1")), ("192.0.2.1 ", None), ("a", None)]);
    }

    #[test]
    fn pairs_need_a_key() {
        type Pairs = BTreeMap<String, String>;
        reads::<Pairs>(&[("a=1, b = x=y ,c=", Some(r#"{"a": "1", "b": "x=y", "c": ""}"#))]);
        reads::<Pairs>(&[("a", None), ("=1", None), ("a=1,,b=2", None), ("", Some("{}"))]);
    }

    #[test]
    fn text_is_taken_as_it_stands() {
        reads::<String>(&[("", Some(r#""""#)), (" a ", Some(r#"" a ""#))]);
    }
}
