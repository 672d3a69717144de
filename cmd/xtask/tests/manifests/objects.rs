//! Objects out of files and programs.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::Error;

/// What tells an object apart.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key {
    pub(crate) kind: String,
    pub(crate) namespace: String,
    pub(crate) name: String,
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}/{}", self.kind, self.namespace, self.name)
    }
}

/// Objects, in no order.
pub(crate) type Objects = BTreeMap<Key, Value>;

/// The folder `manifests`.
pub(crate) fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../manifests")
}

/// The plain manifest.
pub(crate) fn plain(provider: &str) -> Result<Objects, Error> {
    read(&std::fs::read_to_string(folder().join(format!("{provider}.yaml")))?)
}

/// Objects in YAML; an error if two are one.
pub(crate) fn read(text: &str) -> Result<Objects, Error> {
    let mut objects = Objects::new();
    for object in serde_saphyr::from_multiple::<Value>(text)? {
        if object.is_null() {
            continue;
        }
        let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let key = Key {
            kind: word(&object["kind"]),
            namespace: word(&object["metadata"]["namespace"]),
            name: word(&object["metadata"]["name"]),
        };
        if objects.insert(key.clone(), object).is_some() {
            return Err(format!("{key} is there twice").into());
        }
    }
    Ok(objects)
}

/// What a program prints, or why it does not.
pub(crate) fn output(program: &Path, args: &[&str]) -> Result<String, Error> {
    let output = Command::new(program).args(args).stdin(Stdio::null()).output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    if output.status.success() {
        Ok(String::from_utf8(output.stdout)?)
    } else {
        let stdout = String::from_utf8_lossy(&output.stdout);
        Err(format!("{} {}: {stdout}{said}", program.display(), args.join(" ")).into())
    }
}

/// Fails, naming the object, unless both are the same.
pub(crate) fn assert_same(found: &Objects, wanted: &Objects, what: &str) {
    let keys = |objects: &Objects| objects.keys().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(keys(found), keys(wanted), "{what}");
    for (key, object) in found {
        assert_eq!(object, &wanted[key], "{what}: {key}");
    }
}

/// The objects of these kinds.
pub(crate) fn of_kinds(objects: &Objects, kinds: &[&str]) -> Objects {
    let wanted = objects.iter().filter(|(key, _)| kinds.contains(&key.kind.as_str()));
    wanted.map(|(key, object)| (key.clone(), object.clone())).collect()
}
