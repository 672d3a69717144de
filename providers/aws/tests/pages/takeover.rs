//! What a takeover from the Go program needs, in the book.

use std::collections::BTreeSet;
use std::fmt::Write;

use ccm_provider_aws::actions::{ALL, Action, User};

use crate::book;
use crate::policies::PARTS;

const PAGE: &str = "how-to/from-go-aws.md";

/// The actions of EC2 and Elastic Load Balancing that the Go program's published policy grants:
/// <https://github.com/kubernetes/cloud-provider-aws/blob/master/docs/prerequisites.md>.
const PUBLISHED: &str = include_str!("go-policy.txt");

#[test]
fn rights_that_the_published_policy_lacks() {
    let published: BTreeSet<_> = PUBLISHED.lines().collect();
    // Who assumes a role has that right already.
    let actions = ALL.iter().filter(|action| action.users != [User::Role]);
    let name = |action: &Action| format!("{}:{}", action.api.prefix(), action.name);
    let lacking = actions.filter(|action| !published.contains(name(action).as_str()));
    let lacking: BTreeSet<_> = lacking.map(|action| (name(action), parts(action))).collect();
    let mut table = "\n| Right | For |\n| --- | --- |\n".to_owned();
    for (name, parts) in lacking {
        writeln!(table, "| `{name}` | {parts} |").unwrap();
    }
    table.push('\n');
    book::holds_part(PAGE, "rights", &table);
}

/// Who needs it, as the page of policies calls them.
fn parts(action: &Action) -> String {
    let needs = |users: &[User]| action.users.iter().any(|user| users.contains(user));
    let parts = PARTS.iter().filter(|(_, _, users)| needs(users));
    let parts: Vec<_> = parts.map(|(title, _, _)| *title).collect();
    parts.join(", ")
}

/// A flag that is there is not to be taken out.
#[test]
fn flags_that_are_not_there() {
    let page = book::read(PAGE);
    let (_, part) = page.split_once("<!-- flags that are refused -->").unwrap();
    let (part, _) = part.split_once("<!-- end -->").unwrap();
    let cells = part.lines().filter_map(|line| line.strip_prefix("| ")?.split(" | ").next());
    let flags = cells.flat_map(|cell| cell.split('`').filter(|text| text.starts_with("--")));
    let flags: Vec<_> = flags.collect();
    assert!(flags.len() > 2, "{flags:?}");
    let reference = book::read("reference/flags.md");
    for flag in flags {
        let name = flag.split(['=', '*']).next().unwrap();
        let row = if flag.ends_with('*') { format!("`{name}") } else { format!("`{name}`") };
        assert!(!reference.contains(&row), "{flag} is there: see {PAGE}");
    }
}
