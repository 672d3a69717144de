//! Images of a few files, as archives that a container runtime imports: no registry, no builder.
//!
//! The layout is OCI's (<https://github.com/opencontainers/image-spec/blob/main/image-layout.md>) in one tar file. All that
//! could differ between two makings is fixed, so the same files give the same bytes.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    io::Read as _,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tar::{Archive, Builder, Header};

use crate::Error;

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
    let mut contents = Vec::new();
    for file in files {
        let bytes = std::fs::read(&file.from)
            .map_err(|err| format!("reading {}: {err}", file.from.display()))?;
        contents.push((file.path.trim_start_matches('/').to_owned(), 0o755, bytes));
    }
    let layer = tar(&contents)?;
    let config = json!({
        "architecture": architecture(),
        "os": "linux",
        "config": {"User": user, "Entrypoint": [first.path]},
        "rootfs": {"type": "layers", "diff_ids": [digest(&layer)]},
    });
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": kind("manifest.v1+json"),
        "layers": [descriptor(&kind("layer.v1.tar"), &layer)],
    });
    pack(archive, name, &config, manifest, vec![layer])
}

/// Writes the image of another archive once more, with a label that makes it another image, under this name.
pub fn write_labelled(archive: &Path, from: &Path, name: &str, label: &str) -> Result<(), Error> {
    let wrong = |what: &str| format!("{} is no image of OCI's layout: {what}", from.display());
    let mut files = BTreeMap::new();
    let bytes = std::fs::read(from).map_err(|err| format!("reading {}: {err}", from.display()))?;
    for entry in Archive::new(&*bytes).entries()? {
        let mut entry = entry?;
        let mut content = Vec::new();
        entry.read_to_end(&mut content)?;
        files.insert(entry.path()?.display().to_string(), content);
    }
    let index: Value =
        serde_json::from_slice(files.get("index.json").ok_or_else(|| wrong("no index.json"))?)?;
    let mut blob = |descriptor: &Value| -> Result<Vec<u8>, Error> {
        let digest = descriptor["digest"].as_str().ok_or_else(|| wrong("no digest"))?;
        let blob = files.remove(&place(digest));
        Ok(blob.ok_or_else(|| wrong("a blob is missing"))?)
    };
    let manifest: Value = serde_json::from_slice(&blob(&index["manifests"][0])?)?;
    let mut config: Value = serde_json::from_slice(&blob(&manifest["config"])?)?;
    let layers = manifest["layers"].as_array().ok_or_else(|| wrong("no layers"))?;
    let layers = layers.iter().map(&mut blob).collect::<Result<Vec<_>, _>>()?;
    config["config"]["Labels"][label] = json!("");
    pack(archive, name, &config, manifest, layers)
}

/// Writes an archive of what an image consists of. The manifest's descriptor of the configuration is put in.
fn pack(
    archive: &Path,
    name: &str,
    config: &Value,
    mut manifest: Value,
    layers: Vec<Vec<u8>>,
) -> Result<(), Error> {
    let config = config.to_string().into_bytes();
    manifest["config"] = descriptor(&kind("config.v1+json"), &config);
    let manifest = manifest.to_string().into_bytes();
    let mut entry = descriptor(&kind("manifest.v1+json"), &manifest);
    entry["annotations"] = json!({"io.containerd.image.name": name});
    let index = json!({"schemaVersion": 2, "manifests": [entry]}).to_string().into_bytes();

    let layout = br#"{"imageLayoutVersion":"1.0.0"}"#.to_vec();
    let mut files = vec![("oci-layout".to_owned(), layout), ("index.json".to_owned(), index)];
    let blobs = [manifest, config].into_iter().chain(layers);
    files.extend(blobs.map(|blob| (place(&digest(&blob)), blob)));
    let files: Vec<_> = files.into_iter().map(|(path, bytes)| (path, 0o644, bytes)).collect();
    std::fs::write(archive, tar(&files)?)
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

fn kind(name: &str) -> String {
    format!("application/vnd.oci.image.{name}")
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

/// Where a blob is.
fn place(digest: &str) -> String {
    format!("blobs/{}", digest.replacen(':', "/", 1))
}

/// Files with their modes, root's and of the year 1970.
fn tar(files: &[(String, u32, Vec<u8>)]) -> Result<Vec<u8>, Error> {
    let mut tar = Builder::new(Vec::new());
    for (path, mode, bytes) in files {
        let mut header = Header::new_ustar();
        header.set_path(path)?;
        header.set_mode(*mode);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        header.set_size(u64::try_from(bytes.len())?);
        header.set_cksum();
        tar.append(&header, &**bytes)?;
    }
    Ok(tar.into_inner()?)
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
    fn a_label_makes_another_image_of_the_same_layers() {
        let folder = tempfile::tempdir().unwrap();
        let [from, one, other] =
            ["program", "one.tar", "other.tar"].map(|it| folder.path().join(it));
        std::fs::write(&from, "text").unwrap();
        let files = [Entry { path: "/program".to_owned(), from }];
        write(&one, "example.org/program:1", "65532:65532", &files).unwrap();
        write_labelled(&other, &one, "example.org/program:2", "a").unwrap();
        let digests = |archive: &Path| {
            let list = Command::new("tar").arg("-tf").arg(archive).output().unwrap();
            let list = String::from_utf8(list.stdout).unwrap();
            list.lines()
                .filter(|it| it.starts_with("blobs/"))
                .map(str::to_owned)
                .collect::<Vec<_>>()
        };
        let (one, other) = (digests(&one), digests(&other));
        assert_eq!((one.len(), other.len()), (3, 3));
        let differ: Vec<_> = one.iter().zip(&other).map(|(one, other)| one != other).collect();
        assert_eq!(differ, [true, true, false], "manifest, configuration, layer");
        let no_image = folder.path().join("program");
        assert!(write_labelled(&folder.path().join("x"), &no_image, "x:1", "a").is_err());
    }

    #[test]
    fn libraries_are_those_with_a_path() {
        let text = "\tlinux-vdso.so.1 (0x00007)\n\tlibc.so.6 => /lib/libc.so.6 (0x00007f)\n\t/lib64/ld.so (0x0)\n";
        assert_eq!(libraries(text).collect::<Vec<_>>(), ["/lib/libc.so.6", "/lib64/ld.so"]);
    }
}
