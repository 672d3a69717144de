//! The page about annotations, from their declaration.

use super::{Annotations, Declared};

/// A section of a reference page: what may be set, and what is written back. Pure.
pub fn reference(title: &str, annotations: &Annotations) -> String {
    let (written, read): (Vec<_>, Vec<_>) = annotations.declared.iter().partition(|it| it.written);
    let mut page = format!("## {title}\n");
    if !read.is_empty() {
        page += "\n| Key | Meaning | Value | Without it |\n| --- | --- | --- | --- |\n";
        page.extend(read.into_iter().map(row));
    }
    if !written.is_empty() {
        page +=
            "\nWritten by the controller, and never read:\n\n| Key | Meaning |\n| --- | --- |\n";
        page.extend(written.into_iter().map(written_row));
    }
    page
}

fn row(declared: &Declared) -> String {
    let Declared { key, help, accepted, default, lenient, .. } = declared;
    let otherwise = if *lenient { "; anything else is ignored, with an event" } else { "" };
    let default = if default.is_empty() { String::new() } else { format!("`{}`", cell(default)) };
    format!("| `{key}` | {} | {}{otherwise} | {default} |\n", cell(help), cell(accepted))
}

fn written_row(declared: &Declared) -> String {
    format!("| `{}` | {} |\n", declared.key, cell(declared.help))
}

/// Text that stays in its cell.
fn cell(text: &str) -> String {
    text.trim().replace('|', "\\|")
}

#[cfg(test)]
mod tests {
    use super::*;

    crate::annotations! {
        struct Said {
            /// Whether it is | hidden.
            "t.example/hidden" => _hidden: bool = "false",
            /// Its words.
            "t.example/words" (lenient) => _words: Vec<String>,
        }
        written {
            /// Its ID.
            "t.example/id" => _ID,
        }
    }

    #[test]
    fn a_section_has_a_line_for_each_key() {
        let page = reference("Things", &Said::ANNOTATIONS);
        let want = "\
## Things

| Key | Meaning | Value | Without it |
| --- | --- | --- | --- |
| `t.example/hidden` | Whether it is \\| hidden. | true (also 1, t, T, TRUE, True) or false (also 0, f, F, FALSE, False) | `false` |
| `t.example/words` | Its words. | words, separated by commas; anything else is ignored, with an event |  |

Written by the controller, and never read:

| Key | Meaning |
| --- | --- |
| `t.example/id` | Its ID. |
";
        assert_eq!(page, want);
    }

    #[test]
    fn a_provider_that_reads_none_has_a_title() {
        assert_eq!(reference("Things", &Annotations::NONE), "## Things\n");
    }
}
