//! Which settings make sense, and how they are changed.

use crate::api::{Latency, RateLimit, Settings, SettingsPatch};
use crate::state::Refusal;

/// The largest batch and page. A guess: an answer of some tens of megabytes.
const MAX_LIMIT: usize = 100_000;

/// The longest wait of a call, and the longest that reads look back: ten minutes.
const MAX_CALL_MS: u64 = 600_000;

/// The longest transition, creation or deletion: a day.
const MAX_TRANSITION_MS: u64 = 86_400_000;

/// The longest that a terminated instance stays: a year.
const MAX_RETENTION_MS: u64 = 366 * 86_400_000;

/// The settings with what is given replaced, when that makes sense.
pub(crate) fn patched(settings: &Settings, patch: SettingsPatch) -> Result<Settings, Refusal> {
    let changed = Settings {
        batch_limit: patch.batch_limit.unwrap_or(settings.batch_limit),
        page_limit: patch.page_limit.unwrap_or(settings.page_limit),
        member_page_limit: patch.member_page_limit.unwrap_or(settings.member_page_limit),
        latency: patch.latency.unwrap_or(settings.latency),
        operation_latency: patch
            .operation_latency
            .unwrap_or_else(|| settings.operation_latency.clone()),
        read_rate: patch.read_rate.unwrap_or(settings.read_rate),
        write_rate: patch.write_rate.unwrap_or(settings.write_rate),
        consistency_delay_ms: patch.consistency_delay_ms.unwrap_or(settings.consistency_delay_ms),
        transition_delay_ms: patch.transition_delay_ms.unwrap_or(settings.transition_delay_ms),
        terminated_retention_ms: patch
            .terminated_retention_ms
            .unwrap_or(settings.terminated_retention_ms),
        creation_delay_ms: patch
            .creation_delay_ms
            .unwrap_or_else(|| settings.creation_delay_ms.clone()),
        deletion_delay_ms: patch
            .deletion_delay_ms
            .unwrap_or_else(|| settings.deletion_delay_ms.clone()),
        target_delay_ms: patch.target_delay_ms.unwrap_or(settings.target_delay_ms),
        quotas: patch.quotas.unwrap_or_else(|| settings.quotas.clone()),
    };
    check(&changed)?;
    Ok(changed)
}

/// Names the first setting that makes no sense.
pub(crate) fn check(settings: &Settings) -> Result<(), Refusal> {
    check_range("batch_limit", settings.batch_limit as u64, 1, MAX_LIMIT as u64)?;
    check_range("page_limit", settings.page_limit as u64, 1, MAX_LIMIT as u64)?;
    check_range("member_page_limit", settings.member_page_limit as u64, 1, MAX_LIMIT as u64)?;
    check_latency("latency", settings.latency)?;
    for (operation, latency) in &settings.operation_latency {
        check_latency(&format!("operation_latency.{operation}"), *latency)?;
    }
    check_rate("read_rate", settings.read_rate)?;
    check_rate("write_rate", settings.write_rate)?;
    check_range("consistency_delay_ms", settings.consistency_delay_ms, 0, MAX_CALL_MS)?;
    check_range("transition_delay_ms", settings.transition_delay_ms, 0, MAX_TRANSITION_MS)?;
    check_range("terminated_retention_ms", settings.terminated_retention_ms, 0, MAX_RETENTION_MS)?;
    for (kind, delay) in &settings.creation_delay_ms {
        check_range(&format!("creation_delay_ms.{kind}"), *delay, 0, MAX_TRANSITION_MS)?;
    }
    for (kind, delay) in &settings.deletion_delay_ms {
        check_range(&format!("deletion_delay_ms.{kind}"), *delay, 0, MAX_TRANSITION_MS)?;
    }
    check_range("target_delay_ms", settings.target_delay_ms, 0, MAX_TRANSITION_MS)
}

fn check_latency(field: &str, latency: Latency) -> Result<(), Refusal> {
    check_range(&format!("{field}.fixed_ms"), latency.fixed_ms, 0, MAX_CALL_MS)?;
    check_range(&format!("{field}.jitter_ms"), latency.jitter_ms, 0, MAX_CALL_MS)
}

fn check_rate(field: &str, rate: RateLimit) -> Result<(), Refusal> {
    if !(rate.per_second.is_finite() && rate.per_second >= 0.0) {
        let why = "must be a number of calls, 0 for no limit".to_owned();
        return Err(Refusal::Invalid { field: format!("{field}.per_second"), why });
    }
    check_range(&format!("{field}.burst"), rate.burst.into(), 1, u32::MAX.into())
}

fn check_range(field: &str, value: u64, least: u64, most: u64) -> Result<(), Refusal> {
    if (least..=most).contains(&value) {
        return Ok(());
    }
    let why = format!("must be from {least} to {most}, not {value}");
    Err(Refusal::Invalid { field: field.to_owned(), why })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use rstest::rstest;

    use super::*;
    use crate::api::{Operation, PieceKind};

    const LONG: Latency = Latency { fixed_ms: 0, jitter_ms: MAX_CALL_MS + 1 };

    #[test]
    fn what_is_not_given_stays() {
        let before = Settings { page_limit: 7, ..Settings::default() };
        let patch = SettingsPatch { batch_limit: Some(3), ..SettingsPatch::default() };
        let after = patched(&before, patch).unwrap();
        assert_eq!(after, Settings { batch_limit: 3, ..before });
    }

    #[rstest]
    #[case::no_batch(
        SettingsPatch { batch_limit: Some(0), ..SettingsPatch::default() },
        "batch_limit: must be from 1 to 100000, not 0",
    )]
    #[case::a_long_jitter(
        SettingsPatch { latency: Some(LONG), ..SettingsPatch::default() },
        "latency.jitter_ms: must be from 0 to 600000, not 600001",
    )]
    #[case::a_long_jitter_of_one(
        SettingsPatch {
            operation_latency: Some(BTreeMap::from([(Operation::GetInstance, LONG)])),
            ..SettingsPatch::default()
        },
        "operation_latency.GetInstance.jitter_ms: must be from 0 to 600000, not 600001",
    )]
    #[case::a_long_creation(
        SettingsPatch {
            creation_delay_ms: Some(BTreeMap::from([(PieceKind::LoadBalancer, u64::MAX)])),
            ..SettingsPatch::default()
        },
        "creation_delay_ms.load_balancer: must be from 0 to 86400000, not 18446744073709551615",
    )]
    #[case::no_members(
        SettingsPatch { member_page_limit: Some(0), ..SettingsPatch::default() },
        "member_page_limit: must be from 1 to 100000, not 0",
    )]
    #[case::a_negative_rate(
        SettingsPatch {
            read_rate: Some(RateLimit { per_second: -1.0, burst: 1 }),
            ..SettingsPatch::default()
        },
        "read_rate.per_second: must be a number of calls, 0 for no limit",
    )]
    #[case::no_burst(
        SettingsPatch {
            write_rate: Some(RateLimit { per_second: 1.0, burst: 0 }),
            ..SettingsPatch::default()
        },
        "write_rate.burst: must be from 1 to 4294967295, not 0",
    )]
    fn senseless_settings_are_named(#[case] patch: SettingsPatch, #[case] want: &str) {
        let refused = patched(&Settings::default(), patch).unwrap_err();
        assert_eq!(refused.to_string(), want);
    }
}
