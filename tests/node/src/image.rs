//! Images of a few files, as archives that a container runtime imports: no registry, no builder.
//!
//! The layout is OCI's (<https://github.com/opencontainers/image-spec/blob/main/image-layout.md>) in one tar file. All that
//! could differ between two makings is fixed, so the same files give the same bytes.

use std::{
    fmt::Write as _,
    fs::File,
    io::{self, Write as _},
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::Error;

/// What tar is made of.
const BLOCK: usize = 512;

/// A file in an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its path in the image.
    pub path: String,
    /// Where it comes from.
    pub from: PathBuf,
}

/// Writes an image of these files, which starts the first of them.
pub fn write(archive: &Path, name: &str, user: &str, files: &[Entry]) -> Result<(), Error> {
    let first = files.first().ok_or("an image of no files")?;
    let mut layer = Tar::default();
    for file in files {
        let bytes = std::fs::read(&file.from)
            .map_err(|err| format!("reading {}: {err}", file.from.display()))?;
        layer.file(file.path.trim_start_matches('/'), 0o755, &bytes)?;
    }
    let layer = layer.end();
    let config = json!({
        "architecture": architecture(),
        "os": "linux",
        "config": {"User": user, "Entrypoint": [first.path]},
        "rootfs": {"type": "layers", "diff_ids": [digest(&layer)]},
    })
    .to_string();
    let kind = |name: &str| format!("application/vnd.oci.image.{name}");
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": kind("manifest.v1+json"),
        "config": descriptor(&kind("config.v1+json"), config.as_bytes()),
        "layers": [descriptor(&kind("layer.v1.tar"), &layer)],
    })
    .to_string();
    let mut entry = descriptor(&kind("manifest.v1+json"), manifest.as_bytes());
    entry["annotations"] = json!({"io.containerd.image.name": name});
    let index = json!({"schemaVersion": 2, "manifests": [entry]}).to_string();

    let mut tar = Tar::default();
    tar.file("oci-layout", 0o644, br#"{"imageLayoutVersion":"1.0.0"}"#)?;
    tar.file("index.json", 0o644, index.as_bytes())?;
    for blob in [manifest.as_bytes(), config.as_bytes(), &layer] {
        let name = digest(blob).replace(':', "/");
        tar.file(&format!("blobs/{name}"), 0o644, blob)?;
    }
    File::create(archive)
        .and_then(|mut file| file.write_all(&tar.end()))
        .map_err(|err| format!("writing {}: {err}", archive.display()).into())
}

/// A program of this machine with the libraries that it loads, where it looks for them.
pub fn with_libraries(program: &Path, path: &str) -> Result<Vec<Entry>, Error> {
    let output = Command::new("ldd").arg(program).output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let libraries = libraries(&text).map(|path| Entry { path: path.to_owned(), from: path.into() });
    let program = Entry { path: path.to_owned(), from: program.to_owned() };
    Ok(std::iter::once(program).chain(libraries).collect())
}

/// The paths in what `ldd` says: `libc.so.6 => /lib/… (0x…)`, `/lib64/ld-linux… (0x…)`.
fn libraries(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter_map(|line| {
        let (_, path) = line.split_once("=>").unwrap_or(("", line));
        path.split_whitespace().next().filter(|path| path.starts_with('/'))
    })
}

/// As Go says it.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

fn descriptor(kind: &str, bytes: &[u8]) -> Value {
    json!({"mediaType": kind, "digest": digest(bytes), "size": bytes.len()})
}

fn digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().fold("sha256:".to_owned(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a string takes all");
        text
    })
}

/// A tar file: <https://pubs.opengroup.org/onlinepubs/9799919799/utilities/pax.html> under "ustar".
#[derive(Debug, Default)]
struct Tar(Vec<u8>);

impl Tar {
    fn file(&mut self, name: &str, mode: u32, bytes: &[u8]) -> io::Result<()> {
        let mut header = [0; BLOCK];
        let mut put = |at: usize, length: usize, text: &[u8]| {
            let room = header[at..at + length].get_mut(..text.len());
            room.map(|room| room.copy_from_slice(text))
        };
        let size = format!("{:011o}", bytes.len());
        let mode = format!("{mode:07o}");
        let fields: [(usize, usize, &[u8]); 8] = [
            (0, 100, name.as_bytes()),
            (100, 8, mode.as_bytes()),
            (108, 8, b"0000000"),
            (116, 8, b"0000000"),
            (124, 12, size.as_bytes()),
            (136, 12, b"00000000000"),
            // The checksum is that of a header with blanks in its place.
            (148, 8, b"        "),
            (156, 109, b"0"),
        ];
        let fits = fields.into_iter().all(|(at, length, text)| put(at, length, text).is_some());
        let fits = fits && put(257, 8, b"ustar\x0000").is_some();
        if !fits {
            return Err(io::Error::other(format!("{name} does not fit into a header of tar")));
        }
        let sum: u32 = header.iter().map(|&byte| u32::from(byte)).sum();
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        self.0.extend_from_slice(&header);
        self.0.extend_from_slice(bytes);
        self.0.resize(self.0.len().next_multiple_of(BLOCK), 0);
        Ok(())
    }

    fn end(mut self) -> Vec<u8> {
        self.0.resize(self.0.len() + 2 * BLOCK, 0);
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tar_reads_what_was_written() {
        let folder = tempfile::tempdir().unwrap();
        let (from, archive) = (folder.path().join("program"), folder.path().join("image.tar"));
        std::fs::write(&from, "text").unwrap();
        let files = [Entry { path: "/program".to_owned(), from }];
        write(&archive, "example.org/program:1", "65532:65532", &files).unwrap();

        let list = Command::new("tar").arg("-tf").arg(&archive).output().unwrap();
        let list = String::from_utf8(list.stdout).unwrap();
        assert_eq!(list.lines().take(2).collect::<Vec<_>>(), ["oci-layout", "index.json"]);
        assert_eq!(list.lines().filter(|line| line.starts_with("blobs/sha256/")).count(), 3);
        let index = Command::new("tar").arg("-xOf").arg(&archive).arg("index.json").output();
        let index: Value = serde_json::from_slice(&index.unwrap().stdout).unwrap();
        let name = &index["manifests"][0]["annotations"]["io.containerd.image.name"];
        assert_eq!(name, "example.org/program:1");

        let first = std::fs::read(&archive).unwrap();
        write(&archive, "example.org/program:1", "65532:65532", &files).unwrap();
        assert_eq!(std::fs::read(&archive).unwrap(), first, "the same bytes each time");
    }

    #[test]
    fn names_that_are_too_long_are_refused() {
        assert!(Tar::default().file(&"x".repeat(101), 0o644, b"").is_err());
    }

    #[test]
    fn libraries_are_those_with_a_path() {
        let text = "\tlinux-vdso.so.1 (0x00007)\n\tlibc.so.6 => /lib/libc.so.6 (0x00007f)\n\t/lib64/ld.so (0x0)\n";
        assert_eq!(libraries(text).collect::<Vec<_>>(), ["/lib/libc.so.6", "/lib64/ld.so"]);
    }
}
