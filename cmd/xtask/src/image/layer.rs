//! A layer of the image: the same files are the same bytes.

use std::collections::BTreeMap;

use flate2::{Compression, GzBuilder};
use sha2::{Digest as _, Sha256};
use tar::{Builder, EntryType, Header};

use crate::Error;

/// A file of the image, which belongs to root.
#[derive(Clone, Debug)]
pub(super) struct File {
    pub(super) content: Vec<u8>,
    pub(super) mode: u32,
}

impl File {
    /// What everybody may read.
    pub(super) fn text(content: impl Into<Vec<u8>>) -> Self {
        Self { content: content.into(), mode: 0o644 }
    }

    /// What everybody may run.
    pub(super) fn program(content: Vec<u8>) -> Self {
        Self { content, mode: 0o755 }
    }
}

/// Files by their place, which has no slash at its beginning.
pub(super) type Files = BTreeMap<String, File>;

/// A layer as it is stored.
#[derive(Clone, Debug)]
pub(super) struct Layer {
    /// The compressed tar.
    pub(super) blob: Vec<u8>,
    /// Of the tar before it was compressed: how an image names its layers.
    pub(super) diff_id: String,
    /// The files' own size.
    pub(super) unpacked: usize,
    /// What it is, for the image's history.
    pub(super) title: &'static str,
}

impl Layer {
    /// Compressed because registries and nodes keep it as it is; the header names no time and no
    /// system.
    pub(super) fn new(title: &'static str, files: &Files) -> Result<Self, Error> {
        let tar = tar(files)?;
        let mut gzip = GzBuilder::new().mtime(0).write(Vec::new(), Compression::best());
        std::io::Write::write_all(&mut gzip, &tar)?;
        let unpacked = files.values().map(|file| file.content.len()).sum();
        Ok(Self { blob: gzip.finish()?, diff_id: digest(&tar), unpacked, title })
    }
}

/// `sha256:…`
pub(super) fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", hex(bytes))
}

/// The SHA-256 of these bytes.
pub(super) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;

    Sha256::digest(bytes).iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Folders before what is in them, everything in the order of names, root's, of the year 1970.
pub(super) fn tar(files: &Files) -> Result<Vec<u8>, Error> {
    let mut entries: BTreeMap<String, Option<&File>> = BTreeMap::new();
    for (path, file) in files {
        let folders = path.match_indices('/').map(|(at, _)| (path[..=at].to_owned(), None));
        entries.extend(folders);
        entries.insert(path.clone(), Some(file));
    }
    let mut tar = Builder::new(Vec::new());
    for (path, file) in entries {
        let content = file.map_or(&[][..], |file| &file.content);
        let mut header = Header::new_ustar();
        header.set_path(&path)?;
        header.set_entry_type(if file.is_some() {
            EntryType::Regular
        } else {
            EntryType::Directory
        });
        header.set_mode(file.map_or(0o755, |file| file.mode));
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        header.set_size(u64::try_from(content.len())?);
        header.set_cksum();
        tar.append(&header, content)?;
    }
    Ok(tar.into_inner()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_come_first_and_nothing_names_a_time_or_a_person() {
        let files: Files = [
            ("etc/ssl/certs/ca.crt".to_owned(), File::text("x")),
            ("ccm".to_owned(), File::program(b"y".to_vec())),
            ("etc/group".to_owned(), File::text("z")),
        ]
        .into();
        let tar = tar(&files).unwrap();
        let mut archive = tar::Archive::new(&*tar);
        let entries = archive.entries().unwrap().map(|entry| {
            let entry = entry.unwrap();
            let header = entry.header();
            assert_eq!((header.uid().unwrap(), header.gid().unwrap()), (0, 0));
            assert_eq!(header.mtime().unwrap(), 0);
            (entry.path().unwrap().display().to_string(), header.mode().unwrap())
        });
        let entries: Vec<_> = entries.collect();
        let expected = [
            ("ccm", 0o755),
            ("etc/", 0o755),
            ("etc/group", 0o644),
            ("etc/ssl/", 0o755),
            ("etc/ssl/certs/", 0o755),
            ("etc/ssl/certs/ca.crt", 0o644),
        ];
        assert_eq!(entries, expected.map(|(path, mode)| (path.to_owned(), mode)));
    }

    #[test]
    fn digests_are_written_as_everywhere() {
        let empty = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(digest(b""), empty);
    }
}
