//! What is linked and comes from no registry of crates: the compilers' libraries, and what crates bring along.

use std::collections::BTreeSet;

use super::base::STD_NOTICES;
use super::compile::{Compile, said, sysroot};
use super::debian::Package;
use super::licences::expression;
use super::linked::{Crate, Id};
use crate::Error;

/// Something that is linked and comes from no registry of crates.
#[derive(Clone, Debug)]
pub(super) struct Library {
    pub(super) name: &'static str,
    pub(super) version: String,
    pub(super) licence: String,
    /// Its package URL.
    pub(super) purl: String,
    /// What else is to be said.
    pub(super) note: String,
    /// Licences whose standard texts belong to it.
    pub(super) texts: &'static [&'static str],
    /// What the machine that compiles says of its rights.
    pub(super) copyright: Option<String>,
    /// The crate that it is inside of, where it is not the program's own.
    pub(super) inside: Option<Id>,
}

/// All of them.
pub(super) fn of(compile: &Compile, crates: &[Crate]) -> Result<Vec<Library>, Error> {
    let linker = format!("CARGO_TARGET_{}_LINKER", compile.target.replace('-', "_").to_uppercase());
    let linker = std::env::var(linker).unwrap_or_else(|_| "cc".to_owned());
    let glibc = Package::with(&linker, "-print-file-name=libc.a", &compile.root)?;
    let gcc = Package::with(&linker, "-print-libgcc-file-name", &compile.root)?;
    let rust = said("rustc", &["--version", "--verbose"], &compile.root)?;
    let release = rust.lines().find_map(|line| line.strip_prefix("release: "));
    let release = release.ok_or("rustc does not say its release")?.to_owned();
    let mut libraries = vec![
        Library {
            name: "rust-std",
            purl: format!("pkg:generic/rust-std@{release}"),
            version: release,
            licence: "MIT OR Apache-2.0".to_owned(),
            note: format!(
                "The standard library of Rust. Copyright (c) The Rust Project Contributors; \
                 copyrights are retained by them, see https://github.com/rust-lang/rust. What it passes on \
                 of others is in the file {STD_NOTICES}. It holds the \
                 crates {}, under MIT or Apache-2.0, compiler_builtins also under Apache-2.0 WITH \
                 LLVM-exception.",
                std_crates(compile)?.join(", ")
            ),
            texts: &["MIT", "Apache-2.0", "LLVM-exception"],
            copyright: None,
            inside: None,
        },
        Library {
            name: "glibc",
            purl: glibc.purl("glibc"),
            version: glibc.version,
            licence: "LGPL-2.1-or-later".to_owned(),
            note: "The C library, linked statically. Under section 6 of its licence you may link the program \
                   with a changed one: the sources of the program are published with all that is needed, and \
                   `cargo xtask image` compiles and links it with the libc.a that the C compiler finds, in \
                   Debian the package libc6-dev. Its own sources are those of the Debian package glibc of \
                   the version above, and at https://sourceware.org/glibc/."
                .to_owned(),
            texts: &["LGPL-2.1-or-later"],
            copyright: glibc.copyright,
            inside: None,
        },
        Library {
            name: "libgcc",
            purl: gcc.purl("libgcc"),
            version: gcc.version,
            licence: "GPL-3.0-or-later WITH GCC-exception-3.1".to_owned(),
            note: "The C compiler's run-time library. Its exception allows to pass on what it is linked \
                   into under terms of one's own."
                .to_owned(),
            texts: &["GPL-3.0-or-later", "GCC-exception-3.1"],
            copyright: None,
            inside: None,
        },
    ];
    libraries.extend(aws_lc(crates)?);
    Ok(libraries)
}

/// The library in C that a crate brings along, which has a version of its own: flaws are said of that.
fn aws_lc(crates: &[Crate]) -> Result<Option<Library>, Error> {
    let Some(krate) = crates.iter().find(|krate| krate.id.0 == "aws-lc-sys") else {
        return Ok(None);
    };
    let header = krate.folder.join("aws-lc/include/openssl/base.h");
    let text =
        std::fs::read_to_string(&header).map_err(|err| format!("{}: {err}", header.display()))?;
    let version = defined(&text, "AWSLC_VERSION_NUMBER_STRING")
        .ok_or_else(|| format!("{} does not say the version", header.display()))?;
    let licence = krate.licence.as_deref().ok_or("aws-lc-sys has no licence")?;
    Ok(Some(Library {
        name: "aws-lc",
        purl: format!("pkg:github/aws/aws-lc@v{version}"),
        version: version.to_owned(),
        licence: expression(licence)?,
        note: "The library in C inside the crate aws-lc-sys, with whose texts are its own."
            .to_owned(),
        // They are in the crate's folder.
        texts: &[],
        copyright: None,
        inside: Some(krate.id.clone()),
    }))
}

/// The text that a header in C gives a name.
fn defined<'a>(header: &'a str, name: &str) -> Option<&'a str> {
    header.lines().find_map(|line| {
        let value = line.strip_prefix("#define ")?.strip_prefix(name)?.strip_prefix(' ')?;
        value.trim().strip_prefix('"')?.strip_suffix('"')
    })
}

/// The notices of what is inside Rust's standard library and not Rust's own. They come with the compiler.
pub(super) fn std_notices(compile: &Compile) -> Result<String, Error> {
    let page = sysroot(&compile.root)?.join("share/doc/rust/COPYRIGHT-library.html");
    std::fs::read_to_string(&page).map_err(|err| {
        let page = page.display();
        format!("{page}: {err}; the toolchains of rustup have it, and an image has to pass it on")
            .into()
    })
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_says_its_version() {
        let header = "// A_B\n#define A_B_C \"2\"\n#define A_B \"1.2.3\"\n";
        assert_eq!(defined(header, "A_B"), Some("1.2.3"));
        assert_eq!(defined(header, "A"), None);
    }
}
