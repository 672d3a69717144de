//! What the program is made of: crates, and libraries that are none.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use cargo_metadata::{CargoOpt, MetadataCommand};

use super::compile::Compile;
use super::libraries::{self, Library};
use crate::Error;

/// A crate, named as cargo does: no two of the same name and version are linked.
pub(super) type Id = (String, String);

/// A crate that is linked.
#[derive(Clone, Debug)]
pub(super) struct Crate {
    pub(super) id: Id,
    /// An SPDX expression, as the crate's author wrote it.
    pub(super) licence: Option<String>,
    pub(super) authors: Vec<String>,
    pub(super) repository: Option<String>,
    /// SHA-256 of the file that the registry sent. Ours have none.
    pub(super) checksum: Option<String>,
    /// Where its sources are.
    pub(super) folder: PathBuf,
    /// The crates that it uses.
    pub(super) uses: BTreeSet<Id>,
}

impl Crate {
    /// Whether it is a part of this workspace.
    pub(super) fn is_ours(&self) -> bool {
        self.checksum.is_none()
    }
}

/// Everything that is linked.
#[derive(Clone, Debug)]
pub(super) struct Linked {
    pub(super) crates: Vec<Crate>,
    pub(super) libraries: Vec<Library>,
    /// What Rust's standard library passes on of others, as a page of its own.
    pub(super) std_notices: String,
    /// What the bundle of certificates is made of: data, not code.
    pub(super) certificates: Crate,
}

impl Linked {
    pub(super) async fn by(compile: &Compile) -> Result<Self, Error> {
        let mut tree = compile.cargo("tree");
        // Macros and build scripts run at compile time and are not in the program.
        tree.args(compile.selection()).args([
            "--edges=normal,no-proc-macro",
            "--prefix=depth",
            "--format={p}",
            "--color=never",
        ]);
        let output = tree.output().await?;
        if !output.status.success() {
            let told = String::from_utf8_lossy(&output.stderr);
            return Err(format!("cargo tree: {told}").into());
        }
        let uses = edges(&String::from_utf8(output.stdout)?)?;
        let mut known = known(compile)?;
        let certificates = known.values().find(|krate| krate.id.0 == "webpki-root-certs");
        let certificates = certificates.ok_or("webpki-root-certs is not a dependency")?.clone();
        let crates = uses.into_iter().map(|(id, uses)| {
            let (name, version) = &id;
            let krate = known
                .remove(&id)
                .ok_or_else(|| format!("cargo metadata does not know {name} {version}"))?;
            Ok(Crate { uses, ..krate })
        });
        let crates = crates.collect::<Result<Vec<_>, Error>>()?;
        let std_notices = libraries::std_notices(compile)?;
        Ok(Self { libraries: libraries::of(compile, &crates)?, crates, std_notices, certificates })
    }
}

/// Reads what `cargo tree --prefix=depth` prints: each crate with those that it uses.
fn edges(tree: &str) -> Result<BTreeMap<Id, BTreeSet<Id>>, Error> {
    let mut uses: BTreeMap<Id, BTreeSet<Id>> = BTreeMap::new();
    let mut above: Vec<Id> = Vec::new();
    for line in tree.lines().filter(|line| !line.is_empty()) {
        let unreadable = || format!("cargo tree printed a line that is not understood: {line}");
        let digits = line.find(|letter: char| !letter.is_ascii_digit()).ok_or_else(unreadable)?;
        let depth: usize = line[..digits].parse()?;
        // `name v1.2.3`, then `(/where/it/is)` for ours and `(*)` where it was told before.
        let mut words = line[digits..].split(' ');
        let name = words.next().ok_or_else(unreadable)?;
        let version = words.next().and_then(|word| word.strip_prefix('v'));
        let id = (name.to_owned(), version.ok_or_else(unreadable)?.to_owned());
        uses.entry(id.clone()).or_default();
        if depth > above.len() {
            return Err(unreadable().into());
        }
        above.truncate(depth);
        if let Some(user) = above.last() {
            uses.entry(user.clone()).or_default().insert(id.clone());
        }
        above.push(id);
    }
    Ok(uses)
}

/// Every crate that cargo knows of here, whether it is linked or not.
fn known(compile: &Compile) -> Result<BTreeMap<Id, Crate>, Error> {
    let metadata = MetadataCommand::new()
        .cargo_path(compile.cargo("metadata").as_std().get_program())
        .current_dir(&compile.root)
        .features(CargoOpt::AllFeatures)
        .other_options(["--locked".to_owned(), format!("--filter-platform={}", compile.target)])
        .exec()?;
    let lock = cargo_lock::Lockfile::load(compile.root.join("Cargo.lock"))?;
    let checksums: BTreeMap<Id, String> = lock
        .packages
        .iter()
        .filter_map(|package| {
            let id = (package.name.to_string(), package.version.to_string());
            Some((id, package.checksum.as_ref()?.to_string()))
        })
        .collect();
    let crates = metadata.packages.into_iter().map(|package| {
        let id = (package.name.to_string(), package.version.to_string());
        let folder = package.manifest_path.parent().map(|folder| folder.as_std_path().to_owned());
        let krate = Crate {
            checksum: checksums.get(&id).cloned(),
            id: id.clone(),
            licence: package.license,
            authors: package.authors,
            repository: package.repository,
            folder: folder.unwrap_or_default(),
            uses: BTreeSet::new(),
        };
        (id, krate)
    });
    Ok(crates.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_says_who_uses_whom() {
        let tree = "0ccm v0.1.0 (/src/ccm)\n1a v1.0.0\n2b v2.0.0\n1c v3.0.0\n2a v1.0.0 (*)\n";
        let uses = edges(tree).unwrap();
        let id = |name: &str, version: &str| (name.to_owned(), version.to_owned());
        assert_eq!(uses.len(), 4);
        assert_eq!(uses[&id("ccm", "0.1.0")], [id("a", "1.0.0"), id("c", "3.0.0")].into());
        assert_eq!(uses[&id("a", "1.0.0")], [id("b", "2.0.0")].into());
        assert_eq!(uses[&id("c", "3.0.0")], [id("a", "1.0.0")].into());
        assert!(edges("2a v1.0.0\n").is_err() && edges("a v1.0.0\n").is_err());
    }
}
