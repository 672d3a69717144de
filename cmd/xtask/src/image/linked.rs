//! What the program is made of: crates, the compiler's library, and two libraries in C.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use cargo_metadata::{CargoOpt, MetadataCommand};

use super::compile::{Compile, said, sysroot};
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

/// Something that is linked and comes from no registry of crates.
#[derive(Clone, Debug)]
pub(super) struct Library {
    pub(super) name: &'static str,
    pub(super) version: String,
    pub(super) licence: &'static str,
    /// Its package URL.
    pub(super) purl: String,
    /// What else is to be said.
    pub(super) note: String,
    /// Licences whose standard texts belong to it.
    pub(super) texts: &'static [&'static str],
    /// What the machine that compiles says of its rights.
    pub(super) copyright: Option<String>,
}

/// Everything that is linked.
#[derive(Clone, Debug)]
pub(super) struct Linked {
    pub(super) crates: Vec<Crate>,
    pub(super) libraries: Vec<Library>,
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
        Ok(Self { crates, libraries: libraries(compile)?, certificates })
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

fn libraries(compile: &Compile) -> Result<Vec<Library>, Error> {
    let linker = format!("CARGO_TARGET_{}_LINKER", compile.target.replace('-', "_").to_uppercase());
    let linker = std::env::var(linker).unwrap_or_else(|_| "cc".to_owned());
    let glibc = Archive::find(&linker, "-print-file-name=libc.a", &compile.root)?;
    let gcc = Archive::find(&linker, "-print-libgcc-file-name", &compile.root)?;
    let rust = said("rustc", &["--version", "--verbose"], &compile.root)?;
    let release = rust.lines().find_map(|line| line.strip_prefix("release: "));
    let release = release.ok_or("rustc does not say its release")?.to_owned();
    Ok(vec![
        Library {
            name: "rust-std",
            purl: format!("pkg:generic/rust-std@{release}"),
            version: release,
            licence: "MIT OR Apache-2.0",
            note: format!(
                "The standard library of Rust. Copyright (c) The Rust Project Contributors; \
                 copyrights are retained by them, see https://github.com/rust-lang/rust. It holds the \
                 crates {}, under MIT or Apache-2.0, compiler_builtins also under Apache-2.0 WITH \
                 LLVM-exception.",
                std_crates(compile)?.join(", ")
            ),
            texts: &["MIT", "Apache-2.0", "LLVM-exception"],
            copyright: None,
        },
        Library {
            name: "glibc",
            purl: glibc.purl("glibc"),
            version: glibc.version,
            licence: "LGPL-2.1-or-later",
            note: "The C library, linked statically. Under section 6 of its licence you may link the program \
                   with a changed one: the sources of the program are published with all that is needed, and \
                   `cargo xtask image` compiles and links it with the libc.a that the C compiler finds, in \
                   Debian the package libc6-dev. Its own sources are those of the Debian package glibc of \
                   the version above, and at https://sourceware.org/glibc/."
                .to_owned(),
            texts: &["LGPL-2.1-or-later"],
            copyright: glibc.copyright,
        },
        Library {
            name: "libgcc",
            purl: gcc.purl("libgcc"),
            version: gcc.version,
            licence: "GPL-3.0-or-later WITH GCC-exception-3.1",
            note: "The C compiler's run-time library. Its exception allows to pass on what it is linked \
                   into under terms of one's own."
                .to_owned(),
            texts: &["GPL-3.0-or-later", "GCC-exception-3.1"],
            copyright: None,
        },
    ])
}

/// The crates inside Rust's standard library, which come with the compiler.
fn std_crates(compile: &Compile) -> Result<Vec<String>, Error> {
    let folder = sysroot(&compile.root)?.join("lib/rustlib").join(&compile.target).join("lib");
    let entries = std::fs::read_dir(&folder).map_err(|err| {
        let target = &compile.target;
        format!("{}: {err}; `rustup target add {target}` installs it", folder.display())
    })?;
    let mut names = BTreeSet::new();
    for entry in entries {
        let name = entry?.file_name().into_string().unwrap_or_default();
        let name = name.strip_prefix("lib").and_then(|name| name.strip_suffix(".rlib"));
        let Some((name, _)) = name.and_then(|name| name.rsplit_once('-')) else { continue };
        names.insert(name.trim_start_matches("rustc_std_workspace_").to_owned());
    }
    Ok(names.into_iter().collect())
}

/// A static library in C, and the Debian package that it is from.
#[derive(Debug)]
struct Archive {
    package: Option<String>,
    version: String,
    copyright: Option<String>,
}

impl Archive {
    fn find(compiler: &str, question: &str, folder: &Path) -> Result<Self, Error> {
        let file = PathBuf::from(said(compiler, &[question], folder)?);
        // The compiler answers with the bare name when it has none.
        let file = file.canonicalize().map_err(|_| {
            format!(
                "{compiler} has no {}: install the C library's development files",
                file.display()
            )
        })?;
        // Elsewhere than on Debian nobody knows.
        let Ok(owner) = said("dpkg-query", &["--search", &file.to_string_lossy()], folder) else {
            return Ok(Self { package: None, version: "unknown".to_owned(), copyright: None });
        };
        let package = owner.split([':', ',']).next().unwrap_or_default().to_owned();
        let format = "--showformat=${Version}";
        let version = said("dpkg-query", &["--show", format, &package], folder)?;
        let copyright = Path::new("/usr/share/doc").join(&package).join("copyright");
        let copyright = std::fs::read_to_string(copyright).ok();
        Ok(Self { package: Some(package), version, copyright })
    }

    fn purl(&self, name: &str) -> String {
        match &self.package {
            Some(package) => format!("pkg:deb/debian/{package}@{}", self.version),
            None => format!("pkg:generic/{name}"),
        }
    }
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
