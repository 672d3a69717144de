//! The keys of a section: found by name, read as what they mean, with the line for what is wrong.

use std::collections::BTreeMap;
use std::fmt;

use ccm_core::cloud::ConfigError;

use super::gcfg::Section;

/// From how alike on a name is worth proposing: 1 is the same.
const ALIKE: f64 = 0.7;

/// What is tolerated, and does nothing or not what it may seem.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Warning {
    /// Counted from 1.
    pub(super) line: u64,
    pub(super) message: String,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.message)
    }
}

/// A value with its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct At<T> {
    pub(super) value: T,
    /// Counted from 1.
    pub(super) line: u64,
}

/// The keys of one section, which may be written in several pieces.
#[derive(Debug)]
pub(super) struct Keys {
    /// `[Global]`, for messages.
    section: String,
    /// Where it begins first.
    pub(super) line: u64,
    found: BTreeMap<&'static str, Vec<At<Option<String>>>>,
}

impl Keys {
    pub(super) fn new(section: String, line: u64) -> Self {
        Self { section, line, found: BTreeMap::new() }
    }

    /// Adds what stands in a piece of the section. Other keys than the `known` are warned about,
    /// each once: the Go program tolerates them, so files have them.
    pub(super) fn add(
        &mut self,
        section: Section,
        known: &[&'static str],
        warnings: &mut Vec<Warning>,
    ) {
        for variable in section.variables {
            let line = variable.line;
            if let Some(key) = known.iter().find(|key| key.eq_ignore_ascii_case(&variable.key)) {
                self.found.entry(key).or_default().push(At { value: variable.value, line });
            } else {
                let what = format!("{} has no key {:?}", self.section, variable.key);
                warn_once(warnings, line, &what, nearest(&variable.key, known));
            }
        }
    }

    /// The text without blanks around it, of the last of several. `None`: missing or empty.
    pub(super) fn text(&self, key: &'static str) -> Result<Option<At<String>>, ConfigError> {
        let Some(At { value, line }) = self.found.get(key).and_then(|found| found.last()) else {
            return Ok(None);
        };
        let Some(text) = value else {
            let why = format!("has no value: write {key} = …, or leave it out");
            return Err(self.wrong(key, *line, why));
        };
        let text = text.trim();
        Ok((!text.is_empty()).then(|| At { value: text.to_owned(), line: *line }))
    }

    /// As [`Keys::text`], for a key that must be there.
    pub(super) fn needed(&self, key: &'static str) -> Result<At<String>, ConfigError> {
        self.text(key)?.ok_or_else(|| {
            let empty = self.found.get(key).and_then(|found| found.last());
            let line = empty.map_or(self.line, |empty| empty.line);
            self.wrong(key, line, "is missing or empty")
        })
    }

    /// Yes or no, in gcfg's words. A key that stands alone says yes, and an empty text nothing.
    pub(super) fn flag(&self, key: &'static str) -> Result<bool, ConfigError> {
        let Some(At { value, line }) = self.found.get(key).and_then(|found| found.last()) else {
            return Ok(false);
        };
        let Some(text) = value else { return Ok(true) };
        match text.trim().to_ascii_lowercase().as_str() {
            "true" | "yes" | "on" | "1" => Ok(true),
            "false" | "no" | "off" | "0" | "" => Ok(false),
            _ => {
                let why =
                    format!("is {text:?}: true (yes, on, 1) and false (no, off, 0) are accepted");
                Err(self.wrong(key, *line, why))
            }
        }
    }

    /// All texts of a key that may be repeated, without the empty ones. A key that stands alone
    /// takes back those before it.
    pub(super) fn texts(&self, key: &'static str) -> Vec<At<&str>> {
        let mut texts = Vec::new();
        for At { value, line } in self.found.get(key).into_iter().flatten() {
            match value.as_deref().map(str::trim) {
                None => texts.clear(),
                Some("") => {}
                Some(value) => texts.push(At { value, line: *line }),
            }
        }
        texts
    }

    /// Warns about a key.
    pub(super) fn warning(&self, key: &str, line: u64, why: &str) -> Warning {
        Warning { line, message: format!("{} {key} {why}", self.section) }
    }

    /// Says what is wrong with a key.
    pub(super) fn wrong(&self, key: &str, line: u64, why: impl Into<String>) -> ConfigError {
        ConfigError::new(why).at_key(format!("{} {key}", self.section)).at_line(line)
    }
}

/// Warns, unless it was warned about the same before.
pub(super) fn warn_once(warnings: &mut Vec<Warning>, line: u64, what: &str, nearest: Option<&str>) {
    let hint = nearest.map_or(String::new(), |name| format!("; did you mean {name}?"));
    let message = format!("{what}: it is ignored{hint}");
    if !warnings.iter().any(|warning| warning.message == message) {
        warnings.push(Warning { line, message });
    }
}

/// The known name that is most like this one, if any is.
pub(super) fn nearest<'a>(name: &str, known: &[&'a str]) -> Option<&'a str> {
    let name = name.to_lowercase();
    known
        .iter()
        .map(|known| (strsim::normalized_damerau_levenshtein(&name, &known.to_lowercase()), *known))
        .filter(|(alike, _)| *alike >= ALIKE)
        .max_by(|(one, _), (other, _)| one.total_cmp(other))
        .map(|(_, known)| known)
}
