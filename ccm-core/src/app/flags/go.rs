//! Values as Go reads them, so that the arguments of a Go program mean the same here.

use std::time::Duration;

const MICROSECOND: u64 = 1_000;
const MILLISECOND: u64 = 1_000 * MICROSECOND;
const SECOND: u64 = 1_000 * MILLISECOND;

/// A boolean in any of the spellings of Go's `strconv.ParseBool`.
pub(super) fn boolean(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

/// A whole number in decimal digits.
///
/// What Go would read in another base (`0x10`, and `010`, which is eight) is refused.
pub(super) fn whole<T: TryFrom<u32>>(text: &str) -> Option<T> {
    let digits = text.strip_prefix('+').unwrap_or(text);
    let plain = digits.bytes().all(|byte| byte.is_ascii_digit())
        && (digits == "0" || !digits.starts_with('0'));
    if !plain {
        return None;
    }
    digits.parse().ok().and_then(|number: u32| T::try_from(number).ok())
}

/// A duration in the syntax of Go's `time.ParseDuration`: `1h15m30.5s`, `100ms`, `0`.
///
/// Not negative: no flag of ours has a use for that. Not longer than Go's longest, 292 years.
/// `humantime` would refuse `.5s` and accept `1 day`.
pub(in crate::app) fn duration(text: &str) -> Option<Duration> {
    let text = text.strip_prefix('+').unwrap_or(text);
    if text == "0" {
        return Some(Duration::ZERO);
    }
    if text.is_empty() {
        return None;
    }

    let mut rest = text;
    let mut nanoseconds = 0_u64;
    while !rest.is_empty() {
        let (whole, after) = split_digits(rest);
        let (fraction, after) = match after.strip_prefix('.') {
            Some(after) => split_digits(after),
            None => ("", after),
        };
        if whole.is_empty() && fraction.is_empty() {
            return None;
        }
        let end = after.find(|c: char| c == '.' || c.is_ascii_digit()).unwrap_or(after.len());
        let (unit, after) = after.split_at(end);
        nanoseconds = nanoseconds.checked_add(term(whole, fraction, unit)?)?;
        rest = after;
    }
    i64::try_from(nanoseconds).is_ok().then(|| Duration::from_nanos(nanoseconds))
}

fn split_digits(text: &str) -> (&str, &str) {
    text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()))
}

/// Nanoseconds in one number with its unit. What is below a nanosecond is dropped, as in Go.
fn term(whole: &str, fraction: &str, unit: &str) -> Option<u64> {
    let unit = match unit {
        "ns" => 1,
        // Both the micro sign and the Greek letter.
        "us" | "\u{b5}s" | "\u{3bc}s" => MICROSECOND,
        "ms" => MILLISECOND,
        "s" => SECOND,
        "m" => 60 * SECOND,
        "h" => 3_600 * SECOND,
        _ => return None,
    };
    let whole = if whole.is_empty() { 0 } else { whole.parse::<u64>().ok()? };

    // Further digits are below a nanosecond even in hours.
    let fraction = &fraction[..fraction.len().min(18)];
    let mut scale = 1_u128;
    let mut numerator = 0_u128;
    for digit in fraction.bytes() {
        scale *= 10;
        numerator = numerator * 10 + u128::from(digit - b'0');
    }
    let fraction = u64::try_from(numerator * u128::from(unit) / scale).ok()?;

    whole.checked_mul(unit)?.checked_add(fraction)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("0", Duration::ZERO)]
    #[case("0s", Duration::ZERO)]
    #[case("+5s", Duration::from_secs(5))]
    #[case("5m0s", Duration::from_mins(5))]
    #[case("1h0m0s", Duration::from_hours(1))]
    #[case("1.5h", Duration::from_mins(90))]
    #[case(".5s", Duration::from_millis(500))]
    #[case("5.s", Duration::from_secs(5))]
    #[case("1.004s", Duration::from_millis(1_004))]
    #[case("100.00100s", Duration::from_millis(100_001))]
    #[case("1h15m30.918s", Duration::from_millis(4_530_918))]
    #[case("3s4ms", Duration::from_millis(3_004))]
    #[case("10.5s4m", Duration::from_millis(250_500))]
    #[case("100ms", Duration::from_millis(100))]
    #[case("12us", Duration::from_micros(12))]
    #[case("12\u{b5}s", Duration::from_micros(12))]
    #[case("12\u{3bc}s", Duration::from_micros(12))]
    #[case("11ns", Duration::from_nanos(11))]
    #[case("0.9ns", Duration::ZERO)]
    #[case("0.830103483285477580700h", Duration::from_nanos(2_988_372_539_827))]
    #[case("9223372036854775807ns", Duration::from_nanos(i64::MAX.unsigned_abs()))]
    fn reads_durations_as_go_does(#[case] text: &str, #[case] want: Duration) {
        assert_eq!(duration(text), Some(want), "{text}");
    }

    #[rstest]
    #[case::nothing("")]
    #[case::no_unit("5")]
    #[case::no_unit_at_the_end("3s4")]
    #[case::negative("-1s")]
    #[case::sign_alone("+")]
    #[case::no_number("s")]
    #[case::point_alone(".s")]
    #[case::two_points("1.2.3s")]
    #[case::blank("1h 5m")]
    #[case::days("1d")]
    #[case::long_unit("5sec")]
    #[case::upper_case("5S")]
    #[case::exponent("1e3s")]
    #[case::too_long("9223372036854775808ns")]
    #[case::far_too_long("99999999999999999999h")]
    #[case::sum_too_long("2562047h47m17s")]
    fn refuses_what_go_refuses(#[case] text: &str) {
        assert_eq!(duration(text), None, "{text}");
    }

    #[test]
    fn booleans_have_gos_spellings_and_no_others() {
        for text in ["1", "t", "T", "true", "TRUE", "True"] {
            assert_eq!(boolean(text), Some(true), "{text}");
        }
        for text in ["0", "f", "F", "false", "FALSE", "False"] {
            assert_eq!(boolean(text), Some(false), "{text}");
        }
        for text in ["", "yes", "no", "on", "tRUE", "2", " true"] {
            assert_eq!(boolean(text), None, "{text}");
        }
    }

    #[rstest]
    #[case("0", Some(0))]
    #[case("10258", Some(10_258))]
    #[case("+7", Some(7))]
    #[case("65535", Some(65_535))]
    #[case("65536", None)]
    #[case("-1", None)]
    #[case("", None)]
    #[case("+", None)]
    #[case("1_000", None)]
    #[case("0x10", None)]
    #[case("010", None)]
    #[case("1.0", None)]
    #[case("99999999999999999999", None)]
    fn whole_numbers_are_decimal(#[case] text: &str, #[case] want: Option<u16>) {
        assert_eq!(whole(text), want, "{text}");
    }
}
