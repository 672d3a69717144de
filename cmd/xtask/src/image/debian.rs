//! Packages of Debian, and of systems that are made of it: whose is a file, and what do others call that package.

use std::path::{Path, PathBuf};

use super::compile::said;
use crate::Error;

/// Where systems say what they are: <https://www.freedesktop.org/software/systemd/man/latest/os-release.html>
const OS_RELEASE: &str = "/etc/os-release";

/// The package that has a library in C which the compiler links.
#[derive(Debug)]
pub(super) struct Package {
    /// Elsewhere nobody knows.
    known: Option<Known>,
    pub(super) version: String,
    pub(super) copyright: Option<String>,
}

#[derive(Clone, Debug)]
struct Known {
    name: String,
    architecture: String,
    /// What it is built from: flaws are said of that.
    source: String,
    /// The text of [`OS_RELEASE`].
    system: String,
}

impl Package {
    /// The one with the file that this compiler answers with.
    pub(super) fn with(compiler: &str, question: &str, folder: &Path) -> Result<Self, Error> {
        let file = PathBuf::from(said(compiler, &[question], folder)?);
        // The compiler answers with the bare name when it has none.
        let file = file.canonicalize().map_err(|_| {
            format!(
                "{compiler} has no {}: install the C library's development files",
                file.display()
            )
        })?;
        let Ok(owner) = said("dpkg-query", &["--search", &file.to_string_lossy()], folder) else {
            return Ok(Self { known: None, version: "unknown".to_owned(), copyright: None });
        };
        let name = owner.split([':', ',']).next().unwrap_or_default().to_owned();
        // One architecture's, where several are installed: `libc6-dev:amd64, libc6-dev:arm64: /…`.
        let owner = owner.split([' ', ',']).next().unwrap_or_default().trim_end_matches(':');
        let format = "--showformat=${Version} ${Architecture} ${source:Package}";
        let shown = said("dpkg-query", &["--show", format, owner], folder)?;
        let words: Vec<_> = shown.split(' ').collect();
        let [version, architecture, source] = words[..] else {
            return Err(format!("dpkg-query says of {owner}: {shown}").into());
        };
        let copyright = Path::new("/usr/share/doc").join(&name).join("copyright");
        Ok(Self {
            version: version.to_owned(),
            copyright: std::fs::read_to_string(copyright).ok(),
            known: Some(Known {
                name,
                architecture: architecture.to_owned(),
                source: source.to_owned(),
                system: std::fs::read_to_string(OS_RELEASE).unwrap_or_default(),
            }),
        })
    }

    /// Its package URL, or that of something of this name:
    /// <https://github.com/package-url/purl-spec/blob/main/types-doc/deb-definition.md>
    pub(super) fn purl(&self, name: &str) -> String {
        match &self.known {
            Some(known) => known.purl(&self.version),
            None => format!("pkg:generic/{name}"),
        }
    }
}

impl Known {
    fn purl(&self, version: &str) -> String {
        let Self { name, architecture, source, system } = self;
        let id = value(system, "ID").unwrap_or("debian");
        // Systems that are never finished have no number.
        let number = value(system, "VERSION_ID").or_else(|| value(system, "VERSION_CODENAME"));
        let distro = number.map_or_else(|| id.to_owned(), |number| format!("{id}-{number}"));
        let [name, version, distro, source] = [name, version, &distro, source].map(encoded);
        format!(
            "pkg:deb/{id}/{name}@{version}?arch={architecture}&distro={distro}&upstream={source}"
        )
    }
}

/// A value of [`OS_RELEASE`].
fn value<'a>(system: &'a str, name: &str) -> Option<&'a str> {
    let mut lines = system.lines();
    let value = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix('='))?;
    Some(value.trim_matches(['"', '\'']))
}

/// As parts of package URLs are written: versions have a `+`, and some a `:`.
fn encoded(part: &str) -> String {
    part.replace('%', "%25").replace('+', "%2B").replace(':', "%3A")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(system: &str) -> Known {
        Known {
            name: "libstdc++-12-dev".to_owned(),
            architecture: "amd64".to_owned(),
            source: "gcc-12".to_owned(),
            system: system.to_owned(),
        }
    }

    #[test]
    fn a_package_is_named_with_its_system_and_its_source() {
        let purl = known("NAME=\"X\"\nVERSION_ID=\"12\"\nID=debian\n").purl("1:12.2.0-14+deb12u1");
        assert_eq!(
            purl,
            "pkg:deb/debian/libstdc%2B%2B-12-dev@1%3A12.2.0-14%2Bdeb12u1?arch=amd64&distro=debian-12&upstream=gcc-12"
        );
        let purl = known("ID='ubuntu'\nVERSION_CODENAME=noble\n").purl("13");
        assert!(
            purl.starts_with("pkg:deb/ubuntu/") && purl.contains("distro=ubuntu-noble&"),
            "{purl}"
        );
    }
}
