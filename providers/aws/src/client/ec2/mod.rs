//! Amazon EC2: machines, their networks and their disks.

pub(crate) mod instances;
pub(crate) mod interfaces;
pub(crate) mod routes;
pub(crate) mod topology;
pub(crate) mod volumes;
pub(crate) mod zones;

use aws_sdk_ec2::types::{Filter, GroupIdentifier, Tag};

use crate::marks::Tags;

/// A condition of a question: a name that EC2 knows, and the values of which any will do.
///
/// A value is compared as it stands, but for `*`, `?` and `\`: whoever asks keeps them out.
pub(crate) type Condition<'a> = (&'a str, &'a [String]);

/// Values that EC2 takes in one filter:
/// <https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/Using_Filtering.html>.
pub(crate) const MOST_VALUES: usize = 200;

/// Records in a page, where EC2 lets us say so. More is refused.
const PAGE: i32 = 1000;

pub(super) fn filters(conditions: &[Condition<'_>]) -> Vec<Filter> {
    let filter = |(name, values): &Condition<'_>| {
        Filter::builder().name(*name).set_values(Some(values.to_vec())).build()
    };
    conditions.iter().map(filter).collect()
}

fn tags(tags: &[Tag]) -> Tags {
    let text = |text: Option<&str>| text.unwrap_or_default().to_owned();
    tags.iter().map(|tag| (text(tag.key()), text(tag.value()))).collect()
}

/// The IDs of security groups.
fn group_ids<C: FromIterator<String>>(groups: &[GroupIdentifier]) -> C {
    groups.iter().filter_map(|group| some(group.group_id())).collect()
}

/// A text that says something: some answers have an empty one where nothing is known.
fn some(text: Option<&str>) -> Option<String> {
    text.filter(|text| !text.is_empty()).map(str::to_owned)
}

/// The next page's token. An empty one means that there is none.
fn next(token: Option<&str>) -> Option<String> {
    some(token)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_text_says_nothing() {
        assert_eq!(some(Some("")), None);
        assert_eq!(some(None), None);
        assert_eq!(some(Some("a")).as_deref(), Some("a"));
    }

    #[test]
    fn a_tag_without_a_value_has_an_empty_one() {
        let given = [Tag::builder().key("a").build(), Tag::builder().key("b").value("c").build()];
        let want = [("a", ""), ("b", "c")].map(|(key, value)| (key.to_owned(), value.to_owned()));
        assert_eq!(tags(&given), Tags::from(want));
    }
}
