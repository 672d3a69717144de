//! Who may connect. Load balancers of both kinds have addresses of IPv4 alone.

use ccm_core::cloud::Note;

use super::wish::Wish;

/// Says which ranges have no effect, and refuses a Service that nobody could reach.
pub(crate) fn check(wish: &Wish<'_>, kind: &str, wrong: &mut Vec<String>, notes: &mut Vec<Note>) {
    let said = wish.spec.source_ranges.iter();
    let v6: Vec<_> = said.filter(|it| it.network.is_some_and(|it| it.addr().is_ipv6())).collect();
    let Some(first) = v6.first() else { return };
    let texts: Vec<_> = v6.iter().map(|range| range.text.as_str()).collect();
    let (field, texts) = (&first.field, texts.join(", "));
    if wish.v4_ranges().next().is_none() {
        wrong.push(format!(
            "{field} {texts}: all ranges are of IPv6, and a {kind} Load Balancer has addresses of IPv4 \
             alone; name a range of IPv4"
        ));
        return;
    }
    let message = format!(
        "{field} {texts}: ranges of IPv6 have no effect: a {kind} Load Balancer has addresses of IPv4 alone"
    );
    notes.push(Note { reason: "SourceRangeIgnored", message });
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::load_balancers::samples::{cluster, from, spec};

    #[rstest]
    #[case::everybody(&[], "", "")]
    #[case::v4(&["10.0.0.0/8"], "", "")]
    #[case::both(
        &["2001:db8::/32", "10.0.0.0/8"],
        "",
        "spec.loadBalancerSourceRanges 2001:db8::/32: ranges of IPv6 have no effect: a Network Load \
         Balancer has addresses of IPv4 alone"
    )]
    #[case::v6_alone(
        &["2001:db8::/32", "fd00::/8"],
        "spec.loadBalancerSourceRanges 2001:db8::/32, fd00::/8: all ranges are of IPv6, and a Network Load \
         Balancer has addresses of IPv4 alone; name a range of IPv4",
        ""
    )]
    fn ranges_of_ipv6_have_no_effect(
        #[case] ranges: &[&str],
        #[case] refusal: &str,
        #[case] note: &str,
    ) {
        let spec = from(spec("web", &[80], &[]), ranges);
        let wish = Wish::read(&spec, &cluster()).unwrap();
        let (mut wrong, mut notes) = (Vec::new(), Vec::new());
        check(&wish, "Network", &mut wrong, &mut notes);
        assert_eq!(wrong.concat(), refusal);
        assert_eq!(notes.into_iter().map(|it| it.message).collect::<String>(), note);
    }
}
