//! The cloud-controller-manager that is installed: an image and a manifest.

use std::path::{Path, PathBuf};

use crate::{
    Cluster, Error,
    image::{self, Entry},
};

/// What is installed where nothing else is given: what everybody installs.
const MANIFEST: &str = include_str!("../../../manifests/sim.yaml");

/// What runs the program in that manifest.
pub const DAEMON_SET: &str = "sim-cloud-controller-manager";

/// Where the manifest's cloud is until it is filled in.
const ENDPOINT: &str = "http://127.0.0.1:9090";

/// What opens that cloud until it is filled in.
const TOKEN: &str = "FILL-IN-the-token-of-the-simulated-cloud";

/// An image in an archive, and a manifest that is not filled in yet.
#[derive(Clone, Debug)]
pub struct Ccm {
    archive: PathBuf,
    manifest: String,
}

impl Ccm {
    /// From these files. Where there is no image one is made of `program` with the libraries that it loads, in `dir`;
    /// where there is no manifest that of the repository is taken.
    pub fn of(
        archive: Option<&Path>,
        manifest: Option<&Path>,
        program: &Path,
        dir: &Path,
    ) -> Result<Self, Error> {
        let manifest = match manifest {
            Some(path) => std::fs::read_to_string(path)
                .map_err(|err| format!("reading {}: {err}", path.display()))?,
            None => MANIFEST.to_owned(),
        };
        let archive = match archive {
            Some(path) => path.to_owned(),
            None => stand_in(program, image_of(&manifest)?, dir)?,
        };
        Ok(Self { archive, manifest })
    }

    /// The image that the manifest names.
    pub fn image(&self) -> Result<&str, Error> {
        image_of(&self.manifest)
    }

    /// Imports the image, so that the node has the one that the manifest names.
    pub async fn import(&self, cluster: &Cluster) -> Result<(), Error> {
        let names = cluster.node().import(&self.archive).await?;
        let wanted = self.image()?;
        match names.as_slice() {
            names if names.iter().any(|name| name == wanted) => Ok(()),
            [name] => cluster.node().tag(name, wanted).await,
            names => Err(format!(
                "{} has the images {names:?}, and not {wanted} which the manifest names",
                self.archive.display()
            )
            .into()),
        }
    }

    /// Imports another image under this name: it differs from the first in a label alone, and so in its digest.
    pub async fn import_another(&self, cluster: &Cluster, name: &str) -> Result<(), Error> {
        let archive = cluster.dir().join("another.tar");
        image::write_labelled(&archive, &self.archive, name, "ccm-rs.test/another")?;
        let names = cluster.node().import(&archive).await?;
        if names.iter().any(|new| new == name) {
            return Ok(());
        }
        Err(format!("{} was imported as {names:?} and not as {name}", archive.display()).into())
    }

    /// Writes the manifest with this cluster's cloud filled in, and nothing else changed.
    pub fn fill_in(&self, cluster: &Cluster) -> Result<PathBuf, Error> {
        let mut text = self.manifest.clone();
        for (blank, value) in [(ENDPOINT, cluster.cloud().url()), (TOKEN, cluster.cloud_token())] {
            if !text.contains(blank) {
                return Err(format!("the manifest has no {blank} to be filled in").into());
            }
            text = text.replace(blank, value);
        }
        let path = cluster.dir().join("cloud-controller-manager.yaml");
        std::fs::write(&path, text)?;
        Ok(path)
    }
}

fn image_of(manifest: &str) -> Result<&str, Error> {
    let image = manifest.lines().find_map(|line| line.trim().strip_prefix("image: "));
    Ok(image.ok_or("the manifest names no image")?.trim_matches('"'))
}

/// Debug information would be most of it.
fn stand_in(program: &Path, name: &str, dir: &Path) -> Result<PathBuf, Error> {
    let stripped = dir.join("cloud-controller-manager");
    let strip = std::process::Command::new("strip").arg("-o").arg(&stripped).arg(program).status();
    // Part of what a C compiler needs; without it the image is only larger.
    if !strip.is_ok_and(|status| status.success()) {
        std::fs::copy(program, &stripped)?;
    }
    let files: Vec<Entry> = image::with_libraries(&stripped, "/cloud-controller-manager")?;
    let archive = dir.join("cloud-controller-manager.tar");
    image::write(&archive, name, "65532:65532", &files)?;
    Ok(archive)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_manifest_has_an_image_and_what_is_filled_in() {
        let image = image_of(MANIFEST).unwrap();
        assert!(image.contains("/cloud-controller-manager:v"), "{image}");
        assert!(MANIFEST.contains(ENDPOINT) && MANIFEST.contains(TOKEN));
        let head = format!("kind: DaemonSet\nmetadata:\n  name: {DAEMON_SET}\n");
        assert!(MANIFEST.contains(&head), "{head}");
    }
}
