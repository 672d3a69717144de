//! What the program prints.

use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::Error;

/// A manifest.
#[derive(Clone, Debug)]
pub(super) struct Printed {
    /// As it was printed.
    pub(super) text: String,
    /// What it says.
    pub(super) objects: Vec<Value>,
}

impl Printed {
    /// What this program prints, with the flags that it has without any.
    pub(super) fn by(program: &Path, provider: &str, workload: &str) -> Result<Self, Error> {
        let output = Command::new(program)
            .arg("manifest")
            .args([format!("--cloud-provider={provider}"), format!("--workload={workload}")])
            .stdin(Stdio::null())
            .output()?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            return Err(format!("the manifest of {provider}: {}", said.trim()).into());
        }
        Self::read(String::from_utf8(output.stdout)?)
    }

    fn read(text: String) -> Result<Self, Error> {
        let objects = serde_saphyr::from_multiple(&text)?;
        Ok(Self { text, objects })
    }

    /// The objects of these kinds.
    pub(super) fn of_kinds<'a>(&'a self, kinds: &'a [&str]) -> impl Iterator<Item = &'a Value> {
        self.objects.iter().filter(|object| is_one_of(object, kinds))
    }

    /// The one object of this kind.
    pub(super) fn of_kind(&self, kind: &str) -> Result<&Value, Error> {
        let mut found = self.objects.iter().filter(|object| is_one_of(object, &[kind]));
        match (found.next(), found.next()) {
            (Some(object), None) => Ok(object),
            (None, _) => Err(format!("the manifest has no {kind}").into()),
            (Some(_), Some(_)) => Err(format!("the manifest has several of kind {kind}").into()),
        }
    }

    /// The texts of the documents of these kinds, with their comments.
    pub(super) fn texts<'a>(&'a self, kinds: &'a [&str]) -> impl Iterator<Item = &'a str> {
        let documents = self.text.split("---\n").skip(1);
        documents.zip(&self.objects).filter(|(_, it)| is_one_of(it, kinds)).map(|(text, _)| text)
    }
}

fn is_one_of(object: &Value, kinds: &[&str]) -> bool {
    object["kind"].as_str().is_some_and(|kind| kinds.contains(&kind))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_keep_their_comments() {
        let text = "# head\n---\nkind: A\n---\nkind: B\n# why\nx: 1\n";
        let printed = Printed::read(text.to_owned()).unwrap();
        assert_eq!(printed.objects.len(), 2);
        assert_eq!(printed.texts(&["B"]).collect::<Vec<_>>(), ["kind: B\n# why\nx: 1\n"]);
        assert_eq!(printed.of_kind("A").unwrap()["kind"], "A");
        assert!(printed.of_kind("C").is_err());
    }
}
