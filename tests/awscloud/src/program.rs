//! The server's own files, compiled in so that they need no checkout.

use std::path::{Path, PathBuf};

use crate::{
    cache,
    error::{Context, Error},
};

macro_rules! files {
    ($($name:literal),* $(,)?) => {
        &[$(($name, include_str!(concat!("../server/awscloud/", $name)))),*]
    };
}

/// Names and texts of the Python package `awscloud`.
const FILES: &[(&str, &str)] = files![
    "__init__.py",
    "__main__.py",
    "answers.py",
    "control.py",
    "corrections/__init__.py",
    "corrections/balancers.py",
    "corrections/classic.py",
    "corrections/classic_listeners.py",
    "corrections/ec2.py",
    "corrections/instances.py",
    "corrections/interfaces.py",
    "corrections/listeners.py",
    "corrections/metadata.py",
    "corrections/protocol.py",
    "corrections/routes.py",
    "corrections/security_groups.py",
    "corrections/target_groups.py",
    "faults.py",
    "find.py",
    "front.py",
    "hand.py",
    "nursery.py",
    "past.py",
    "record.py",
    "render.py",
    "request.py",
    "serve.py",
    "snapshot.py",
    "state.py",
    "world.py",
];

/// The folder that is to be on Python's path.
pub(crate) fn folder(cache: &Path) -> Result<PathBuf, Error> {
    let texts = FILES.iter().flat_map(|(name, text)| [*name, *text]);
    let name = format!("server-{}", cache::hash(texts));
    cache::filled(cache, &name, |folder| {
        for (name, text) in FILES {
            let path = folder.join("awscloud").join(name);
            path.parent()
                .map_or(Ok(()), std::fs::create_dir_all)
                .and_then(|()| std::fs::write(&path, text))
                .context(|| format!("writing {}", path.display()))?;
        }
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_of_the_package_is_compiled_in() {
        fn walk(folder: &Path, root: &Path, found: &mut Vec<String>) {
            for entry in std::fs::read_dir(folder).unwrap().flatten() {
                let path = entry.path();
                if path.is_dir() {
                    walk(&path, root, found);
                } else if path.extension().is_some_and(|extension| extension == "py") {
                    found.push(path.strip_prefix(root).unwrap().display().to_string());
                }
            }
        }
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("server/awscloud");
        let mut found = Vec::new();
        walk(&root, &root, &mut found);
        found.sort();
        let compiled: Vec<_> = FILES.iter().map(|(name, _)| (*name).to_owned()).collect();
        assert_eq!(found, compiled);
    }
}
