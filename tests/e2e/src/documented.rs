//! What the program serves is in the book.

/// The page of metrics.
const PAGE: &str = include_str!("../../../docs/src/reference/metrics.md");

/// Asserts that every metric of `exposition`, as it is on the wire, is on the page.
pub(crate) fn metrics(exposition: &str) {
    let families = exposition.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    let missing: Vec<_> = families.filter(|family| !is_on_the_page(family)).collect();
    assert!(missing.is_empty(), "not in docs/src/reference/metrics.md: {missing:?}");
}

fn is_on_the_page(family: &str) -> bool {
    let Some((name, kind)) = family.split_once(' ') else { return false };
    // Each provider has a name of its own.
    let name = match name.strip_prefix("cloudprovider_").and_then(|rest| rest.split_once('_')) {
        Some((_, rest)) => format!("cloudprovider_<provider>_{rest}"),
        None => name.to_owned(),
    };
    let total = if kind == "counter" { "_total" } else { "" };
    [&*name, &format!("{name}{total}")]
        .iter()
        .any(|name| PAGE.contains(&format!("| `{name}` | {kind} |")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_on_the_page_is() {
        assert!(is_on_the_page("ccm_build_info gauge"));
        assert!(is_on_the_page("ccm_node_writes counter"));
        assert!(is_on_the_page("cloudprovider_aws_api_request_duration_seconds histogram"));
        for other in ["ccm_build_info counter", "ccm_build gauge", "ccm_nothing gauge", "nothing"] {
            assert!(!is_on_the_page(other), "{other}");
        }
    }
}
