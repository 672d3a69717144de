//! The licences of everything that is linked into the program, in one text.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;

use super::NAME;
use super::linked::{Crate, Linked};
use crate::Error;

/// What files with a licence, or with what it demands to be passed on, are called.
const NAMES: [&str; 6] = ["license", "licence", "unlicense", "copying", "notice", "copyright"];

/// What such a file may end with: code that is called so is no licence.
const ENDINGS: [&str; 6] = ["", "md", "txt", "html", "rst", "adoc"];

/// Between two texts.
const RULE: &str =
    "================================================================================";

/// The text: who is in the program, under what, and each licence once.
pub(super) fn gather(linked: &Linked) -> Result<String, Error> {
    let mut head = format!(
        "Licences of what is linked into {NAME}, or lies beside it, and is not its own work.\n\
         Its own is in the file LICENSE.\n\n"
    );
    let mut texts = Texts::default();
    for krate in linked.crates.iter().chain([&linked.certificates]) {
        if krate.is_ours() {
            continue;
        }
        let (name, version) = &krate.id;
        let found = files(&krate.folder)?;
        let expression = match &krate.licence {
            Some(licence) => expression(licence)?,
            None if found.is_empty() => {
                return Err(
                    format!("{name} {version} has no licence: neither a word nor a text").into()
                );
            }
            None => "see its text".to_owned(),
        };
        let _ = writeln!(head, "{name} {version}: {expression}");
        if found.is_empty() {
            lone(&mut head, &mut texts, krate, &expression)?;
        }
        for (file, text) in found {
            texts.add(&text, format!("{name} {version}: {file}"));
        }
    }
    head.push('\n');
    for library in &linked.libraries {
        let (name, version) = (library.name, &library.version);
        let _ = writeln!(head, "{name} {version}: {}", library.licence);
        let _ = writeln!(head, "    {}", library.note);
        for licence in library.texts {
            texts.add(standard(licence)?, format!("{name} {version}: {licence}"));
        }
        if let Some(copyright) = &library.copyright {
            texts.add(copyright, format!("{name} {version}: copyright"));
        }
    }
    for (text, users) in texts.ordered() {
        let _ = write!(head, "\n{RULE}\n");
        for user in users {
            let _ = writeln!(head, "{user}");
        }
        let _ = write!(head, "{RULE}\n\n{text}\n");
    }
    Ok(head)
}

/// A crate that has no text with it: who made it, and the standard texts of what it is under.
fn lone(head: &mut String, texts: &mut Texts, krate: &Crate, licence: &str) -> Result<(), Error> {
    let (name, version) = &krate.id;
    let _ = write!(head, "    Its package has no text. ");
    if !krate.authors.is_empty() {
        let _ = write!(head, "By {}. ", krate.authors.join(", "));
    }
    let _ = writeln!(head, "{}", krate.repository.as_deref().unwrap_or_default());
    let parsed = spdx::Expression::parse(licence)?;
    for part in parsed.requirements() {
        let id = part.req.license.id().ok_or_else(|| format!("{name}: {licence} is not known"))?;
        texts.add(id.text(), format!("{name} {version}: {}", id.name));
        if let Some(exception) = part.req.addition.as_ref().and_then(spdx::AdditionItem::id) {
            texts.add(exception.text(), format!("{name} {version}: {}", exception.name));
        }
    }
    Ok(())
}

/// The expression in today's spelling: old crates write `MIT/Apache-2.0`.
pub(super) fn expression(licence: &str) -> Result<String, Error> {
    let canonical = spdx::Expression::canonicalize(licence)?;
    Ok(canonical.unwrap_or_else(|| licence.to_owned()))
}

/// The standard text of a licence or of an exception to one.
fn standard(name: &str) -> Result<&'static str, Error> {
    let text = spdx::license_id(name).map(spdx::LicenseId::text);
    let text = text.or_else(|| spdx::exception_id(name).map(spdx::ExceptionId::text));
    text.ok_or_else(|| format!("there is no standard text of {name}").into())
}

/// Texts, each with those that it belongs to.
#[derive(Debug, Default)]
struct Texts(BTreeMap<String, BTreeSet<String>>);

impl Texts {
    fn add(&mut self, text: &str, user: String) {
        let lines: Vec<_> =
            text.trim_start_matches('\u{feff}').lines().map(str::trim_end).collect();
        let text = lines.join("\n").trim_matches('\n').to_owned();
        self.0.entry(text).or_default().insert(user);
    }

    /// In the order of the first that each belongs to.
    fn ordered(&self) -> Vec<(&str, &BTreeSet<String>)> {
        let mut texts: Vec<_> = self.0.iter().map(|(text, users)| (&**text, users)).collect();
        texts.sort_by_key(|(_, users)| users.first());
        texts
    }
}

/// The texts in a crate's folder by their place, also below: sources in C have theirs there.
fn files(folder: &Path) -> Result<BTreeMap<String, String>, Error> {
    let mut found = BTreeMap::new();
    search(folder, folder, &mut found)?;
    Ok(found)
}

fn search(top: &Path, folder: &Path, found: &mut BTreeMap<String, String>) -> Result<(), Error> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            search(top, &path, found)?;
        } else if is_licence(&path) {
            let text = String::from_utf8_lossy(&std::fs::read(&path)?).into_owned();
            found.insert(path.strip_prefix(top)?.display().to_string(), text);
        }
    }
    Ok(())
}

fn is_licence(path: &Path) -> bool {
    let lower = |part: Option<&std::ffi::OsStr>| {
        part.map(|part| part.to_string_lossy().to_lowercase()).unwrap_or_default()
    };
    let name = lower(path.file_name());
    // `LICENSE-APACHE-2.0` has no ending, but looks as if.
    let ending = lower(path.extension());
    let is_number = ending.starts_with(|letter: char| letter.is_ascii_digit());
    let is_text =
        ENDINGS.contains(&&*ending) || is_number || NAMES.contains(&&*lower(path.file_stem()));
    is_text && NAMES.iter().any(|start| name.starts_with(start))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_licence_is_known_by_its_name() {
        for name in [
            "LICENSE",
            "LICENSE-MIT",
            "license-apache-2.0",
            "LICENSE.md",
            "COPYING",
            "NOTICE.txt",
            "UNLICENSE",
            "LICENCE",
            "COPYRIGHT",
            "LICENSE.APACHE",
        ] {
            assert!(is_licence(Path::new(name)), "{name}");
        }
        for name in ["licenses.rs", "notice_periods.c", "src/lib.rs", "README.md", "license.rs.in"]
        {
            assert!(!is_licence(Path::new(name)), "{name}");
        }
    }

    #[test]
    fn a_text_is_there_once_however_its_lines_end() {
        let mut texts = Texts::default();
        texts.add("Do as you like.\r\n\r\nReally. \r\n", "b 1: LICENSE".to_owned());
        texts.add("\nDo as you like.\n\nReally.", "a 1: COPYING".to_owned());
        texts.add("Do not.", "aa 1: LICENSE".to_owned());
        let users: Vec<Vec<_>> =
            texts.ordered().into_iter().map(|(_, users)| users.iter().collect()).collect();
        assert_eq!(users, [vec!["a 1: COPYING", "b 1: LICENSE"], vec!["aa 1: LICENSE"]]);
    }

    #[test]
    fn old_spellings_become_new_ones() {
        assert_eq!(expression("MIT/Apache-2.0").unwrap(), "MIT OR Apache-2.0");
        assert_eq!(expression("MIT OR Apache-2.0").unwrap(), "MIT OR Apache-2.0");
        assert!(expression("whatever").is_err());
    }
}
