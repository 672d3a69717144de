//! Pages for people who look after a process: what it was told, how it is, how much it says.
//!
//! Formats are upstream's: <https://kubernetes.io/docs/reference/instrumentation/zpages/>. Upstream
//! picks the separator by chance, lest somebody parse it; here it is always the same.

use std::time::{SystemTime, UNIX_EPOCH};

use axum::http::StatusCode;

use crate::app::flags::Given;
use crate::app::logging::Verbosity;

const WARNING: &str = "Warning: This endpoint is not meant to be machine parseable, has no formatting \
     compatibility guarantees and is for debugging purposes only.";

/// Every flag with its value.
pub(super) fn flags(program: &str, given: &Given) -> String {
    let lines = given.iter().map(|(name, value)| format!("{name}={value}\n"));
    format!("\n{program} flagz\n{WARNING}\n\n{}", lines.collect::<String>())
}

/// What runs, since when, and where to look on.
pub(super) fn status(
    program: &str,
    version: &str,
    started: SystemTime,
    now: SystemTime,
    paths: &[String],
) -> String {
    let up = now.duration_since(started).unwrap_or_default().as_secs();
    let (hours, minutes, seconds) = (up / 3_600, up / 60 % 60, up % 60);
    format!(
        "\n{program} statusz\n{WARNING}\n\nStarted: {}\nUp: {hours} hr {minutes:02} min \
         {seconds:02} sec\nBinary version: {version}\nPaths: {}\n",
        date(started),
        paths.join(" ")
    )
}

/// As Go's `time.UnixDate`: `Wed Oct 16 21:03:43 UTC 2024`.
fn date(time: SystemTime) -> String {
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let seconds = time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    // As 2024-10-16T21:03:43Z.
    let text = humantime::format_rfc3339_seconds(time).to_string();
    let part = |from: usize, to: usize| text.get(from..to).unwrap_or_default();
    let month = part(5, 7).parse::<usize>().ok().and_then(|month| MONTHS.get(month - 1));
    let day = DAYS[usize::try_from(seconds / 86_400 % 7).unwrap_or_default()];
    let of_month = part(8, 10).trim_start_matches('0');
    format!(
        "{day} {} {of_month:>2} {} UTC {}",
        month.copied().unwrap_or_default(),
        part(11, 19),
        part(0, 4)
    )
}

/// Says more or less from now on. Answers are upstream's.
pub(super) fn set_verbosity(verbosity: &Verbosity, body: &[u8]) -> (StatusCode, String) {
    let said = String::from_utf8_lossy(body);
    let set = said
        .trim()
        .parse::<u32>()
        .map_err(|err| err.to_string())
        .and_then(|level| verbosity.set(level));
    match set {
        Ok(()) => {
            let text = format!("successfully set klog.logging.verbosity to {}\n", said.trim());
            (StatusCode::OK, text)
        }
        Err(why) => (
            StatusCode::BAD_REQUEST,
            format!("failed set klog.logging.verbosity {said:?}: {why}\n"),
        ),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case(1_729_112_623, "Wed Oct 16 21:03:43 UTC 2024")]
    #[case(0, "Thu Jan  1 00:00:00 UTC 1970")]
    #[case(1_709_164_800, "Thu Feb 29 00:00:00 UTC 2024")]
    fn dates_are_gos(#[case] seconds: u64, #[case] want: &str) {
        assert_eq!(date(UNIX_EPOCH + Duration::from_secs(seconds)), want);
    }

    #[test]
    fn the_status_says_since_when_and_where() {
        let started = UNIX_EPOCH + Duration::from_secs(1_729_112_623);
        let now = started + Duration::from_secs(90_061);
        let paths = ["/healthz".to_owned(), "/metrics".to_owned()];
        assert_eq!(
            status("ccm", "0.1.0", started, now, &paths),
            format!(
                "\nccm statusz\n{WARNING}\n\nStarted: Wed Oct 16 21:03:43 UTC 2024\n\
                 Up: 25 hr 01 min 01 sec\nBinary version: 0.1.0\nPaths: /healthz /metrics\n"
            )
        );
    }
}
