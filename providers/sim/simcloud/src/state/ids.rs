//! IDs that the cloud gives: a prefix that says the kind, and a number.

/// The ID of a number.
pub(super) fn id_of(prefix: &str, number: u64) -> String {
    format!("{prefix}-{number:016x}")
}

/// The number behind an ID; none for what we never gave out.
pub(super) fn number_of(prefix: &str, id: &str) -> Option<u64> {
    let digits = id.strip_prefix(prefix)?.strip_prefix('-')?;
    let is_ours = digits.len() == 16
        && digits.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'));
    is_ours.then(|| u64::from_str_radix(digits, 16).ok())?
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::not_ours("vm-1")]
    #[case::of_another_kind("lb-0000000000000001")]
    #[case::too_short("i-01")]
    #[case::upper_case("i-000000000000000A")]
    #[case::signed("i-+00000000000001a")]
    #[case::empty("")]
    fn odd_ids_are_nobodys(#[case] id: &str) {
        assert_eq!(number_of("i", id), None);
    }

    #[test]
    fn an_id_leads_back_to_its_number() {
        assert_eq!(number_of("lsn", &id_of("lsn", 300)), Some(300));
    }
}
