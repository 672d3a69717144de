//! An object with places in it.
//!
//! The object is printed with a word at each place, and then the word's line is replaced. So the text of the object stays
//! what the program says, and nobody has to write YAML by hand.

use serde_json::{Value, json};

use crate::Error;

/// What a place is called until it is filled; no object has such a word. As a key it is the last: the first of a list's
/// entry shares its line with the dash.
const WORD: &str = "zz-place-";

/// What stands in a block for the number of blanks in front of it.
const INDENT: &str = "INDENT";

/// An object, and what goes where in it.
#[derive(Clone, Debug)]
pub(super) struct Template {
    object: Value,
    places: Vec<Place>,
}

#[derive(Clone, Debug)]
enum Place {
    /// In the place of a value.
    Inline(String),
    /// In the place of the whole line.
    Block(String),
}

impl Template {
    /// Without places.
    pub(super) fn of(object: &Value) -> Self {
        Self { object: object.clone(), places: Vec::new() }
    }

    fn word(&mut self, place: Place) -> String {
        self.places.push(place);
        // So many digits that none is the beginning of another.
        format!("{WORD}{:03}", self.places.len() - 1)
    }

    fn at(&mut self, pointer: &str) -> Result<&mut Value, Error> {
        let at = self.object.pointer_mut(pointer);
        at.ok_or_else(|| format!("the manifest has nothing at {pointer}").into())
    }

    /// Has this text in the place of a value.
    pub(super) fn set(&mut self, pointer: &str, text: &str) -> Result<(), Error> {
        let word = self.word(Place::Inline(text.to_owned()));
        *self.at(pointer)? = word.into();
        Ok(())
    }

    /// Has these lines among the keys of an object.
    pub(super) fn insert(&mut self, pointer: &str, lines: &str) -> Result<(), Error> {
        let word = self.word(Place::Block(lines.to_owned()));
        let keys = self.at(pointer)?.as_object_mut();
        keys.ok_or_else(|| format!("{pointer} has no keys"))?.insert(word, json!(1));
        Ok(())
    }

    /// Has these lines in the place of all keys of an object.
    pub(super) fn replace(&mut self, pointer: &str, lines: &str) -> Result<(), Error> {
        *self.at(pointer)? = json!({});
        self.insert(pointer, lines)
    }

    /// Has these lines at the end of a list.
    pub(super) fn append(&mut self, pointer: &str, lines: &str) -> Result<(), Error> {
        let word = self.word(Place::Block(lines.to_owned()));
        let list = self.at(pointer)?.as_array_mut();
        list.ok_or_else(|| format!("{pointer} is no list"))?.push(word.into());
        Ok(())
    }

    /// Takes a key out.
    pub(super) fn remove(&mut self, pointer: &str) -> Result<(), Error> {
        let (parent, key) = pointer.rsplit_once('/').ok_or("no key")?;
        let removed = self.at(parent)?.as_object_mut().and_then(|keys| keys.remove(key));
        removed.map(drop).ok_or_else(|| format!("the manifest has nothing at {pointer}").into())
    }

    /// The text of the template.
    pub(super) fn text(&self) -> Result<String, Error> {
        let printed = serde_saphyr::to_string(&self.object)?;
        if printed.contains("{{") {
            return Err("the manifest has braces that helm would read".into());
        }
        let mut text = String::new();
        for line in printed.lines() {
            match self.place_in(line) {
                None => text.push_str(line),
                Some((word, Place::Inline(value))) => text.push_str(&line.replace(&word, value)),
                Some((word, Place::Block(_))) if line.contains(&format!("- {word}: ")) => {
                    return Err(format!("nothing but a place is in the entry of {line:?}").into());
                }
                Some((_, Place::Block(lines))) => {
                    let indent = line.len() - line.trim_start().len();
                    let lines = lines.lines().map(|line| {
                        let deeper = |line: String, by: usize| {
                            line.replace(&format!("{INDENT}+{by}"), &(indent + by).to_string())
                        };
                        let line = deeper(deeper(line.to_owned(), 2), 4);
                        format!("{:indent$}{}", "", line.replace(INDENT, &indent.to_string()))
                    });
                    text.push_str(&lines.collect::<Vec<_>>().join("\n"));
                }
            }
            text.push('\n');
        }
        Ok(text)
    }

    fn place_in(&self, line: &str) -> Option<(String, &Place)> {
        let begin = line.find(WORD)?;
        let word = line.get(begin..begin + WORD.len() + 3)?;
        let place = self.places.get(word[WORD.len()..].parse::<usize>().ok()?)?;
        Some((word.to_owned(), place))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_where_they_were_put() {
        let mut template = Template::of(&json!({ "a": { "b": 1, "c": ["x"], "d": { "e": 2 } } }));
        template.set("/a/b", "{{ .Values.b }}").unwrap();
        template.append("/a/c", "{{- range .Values.c }}\n- {{ . }}\n{{- end }}").unwrap();
        template.insert("/a", "more:\n  {{- toYaml . | nindent INDENT+2 }}").unwrap();
        template.replace("/a/d", "f: 3").unwrap();
        let text = template.text().unwrap();
        for wanted in [
            "\n  b: {{ .Values.b }}\n",
            "- x\n",
            "{{- range .Values.c }}\n",
            "\n  more:\n    {{- toYaml . | nindent 4 }}\n",
            "\n  d:\n    f: 3\n",
        ] {
            assert!(text.contains(wanted), "{wanted:?} is not in\n{text}");
        }
        assert!(!text.contains(WORD) && !text.contains(INDENT), "{text}");
    }

    #[test]
    fn a_place_that_is_not_there_is_an_error() {
        let mut template = Template::of(&json!({ "a": 1 }));
        assert!(template.set("/b", "").is_err());
        assert!(template.insert("/a", "").is_err());
        assert!(template.append("/a", "").is_err());
        assert!(template.remove("/b").is_err());
        assert!(Template::of(&json!({ "a": "{{ x }}" })).text().is_err());
        let mut template = Template::of(&json!({ "a": [{}] }));
        template.insert("/a/0", "b: 1").unwrap();
        assert!(template.text().is_err());
    }
}
