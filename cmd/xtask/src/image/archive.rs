//! The image as one file: an OCI image layout in a tar.
//! <https://github.com/opencontainers/image-spec/blob/v1.1.1/image-layout.md>

use std::collections::HashMap;

use oci_spec::distribution::Reference;
use oci_spec::image::{
    ANNOTATION_CREATED, ANNOTATION_DESCRIPTION, ANNOTATION_LICENSES, ANNOTATION_REF_NAME,
    ANNOTATION_REVISION, ANNOTATION_TITLE, ANNOTATION_VERSION, Arch, ConfigBuilder, Descriptor,
    Digest, HistoryBuilder, ImageConfigurationBuilder, ImageIndexBuilder, ImageManifestBuilder,
    MediaType, OciLayoutBuilder, Os, PlatformBuilder, RootFsBuilder,
};
use serde::Serialize;
use serde_json::json;

use super::base::USER;
use super::layer::{File, Files, Layer, digest, tar};
use super::{NAME, SECURE_PORT};
use crate::Error;

/// What containerd and docker name an image by.
const CONTAINERD_NAME: &str = "io.containerd.image.name";

/// What an image says of itself.
#[derive(Clone, Debug)]
pub(super) struct About {
    /// Its whole name with the registry and the tag.
    pub(super) name: Reference,
    pub(super) architecture: Arch,
    pub(super) version: String,
    /// The commit that it is made from.
    pub(super) commit: String,
    pub(super) licence: String,
    /// RFC 3339.
    pub(super) created: String,
}

/// The archive and what registries call the image in it.
#[derive(Clone, Debug)]
pub(super) struct Archive {
    pub(super) bytes: Vec<u8>,
    pub(super) digest: String,
}

/// Puts the layers together, the first below the others.
pub(super) fn pack(about: &About, layers: &[Layer]) -> Result<Archive, Error> {
    let mut files = Files::new();
    let mut blob = |kind: MediaType, content: Vec<u8>| -> Result<Descriptor, Error> {
        let digest = digest(&content);
        let size = u64::try_from(content.len())?;
        files.insert(place(&digest), File::text(content));
        Ok(Descriptor::new(kind, size, digest.parse::<Digest>()?))
    };
    let config = blob(MediaType::ImageConfig, text(&configuration(about, layers)?)?)?;
    let layers = layers.iter().map(|layer| blob(MediaType::ImageLayerGzip, layer.blob.clone()));
    let layers = layers.collect::<Result<Vec<_>, Error>>()?;
    let manifest = ImageManifestBuilder::default()
        .schema_version(2_u32)
        .media_type(MediaType::ImageManifest)
        .config(config.clone())
        .layers(layers.clone())
        .annotations(labels(about))
        .build()?;
    let mut manifest = blob(MediaType::ImageManifest, text(&manifest)?)?;
    let digest = manifest.digest().to_string();

    let name = about.name.whole();
    manifest.set_platform(Some(
        PlatformBuilder::default()
            .architecture(about.architecture.clone())
            .os(Os::Linux)
            .build()?,
    ));
    manifest.set_annotations(Some(HashMap::from([
        (CONTAINERD_NAME.to_owned(), name.clone()),
        (ANNOTATION_REF_NAME.to_owned(), name.clone()),
    ])));
    let index = ImageIndexBuilder::default()
        .schema_version(2_u32)
        .media_type(MediaType::ImageIndex)
        .manifests(vec![manifest])
        .build()?;
    let layout = OciLayoutBuilder::default().image_layout_version("1.0.0").build()?;
    // For docker before version 25, which does not know the layout.
    let docker = json!([{
        "Config": place(config.digest().as_ref()),
        "RepoTags": [name],
        "Layers": layers.iter().map(|layer| place(layer.digest().as_ref())).collect::<Vec<_>>(),
    }]);
    files.insert("index.json".to_owned(), File::text(text(&index)?));
    files.insert("manifest.json".to_owned(), File::text(text(&docker)?));
    files.insert("oci-layout".to_owned(), File::text(text(&layout)?));
    Ok(Archive { bytes: tar(&files)?, digest })
}

fn configuration(about: &About, layers: &[Layer]) -> Result<impl Serialize, Error> {
    let config = ConfigBuilder::default()
        .user(format!("{USER}:{USER}"))
        .exposed_ports(vec![format!("{SECURE_PORT}/tcp")])
        .entrypoint(vec![format!("/{NAME}")])
        .working_dir("/")
        .labels(labels(about))
        .build()?;
    let history = layers.iter().map(|layer| {
        Ok(HistoryBuilder::default()
            .created(&*about.created)
            .created_by("cargo xtask image")
            .comment(layer.title)
            .build()?)
    });
    let diff_ids: Vec<_> = layers.iter().map(|layer| layer.diff_id.clone()).collect();
    Ok(ImageConfigurationBuilder::default()
        .created(&*about.created)
        .architecture(about.architecture.clone())
        .os(Os::Linux)
        .config(config)
        .rootfs(RootFsBuilder::default().typ("layers").diff_ids(diff_ids).build()?)
        .history(history.collect::<Result<Vec<_>, Error>>()?)
        .build()?)
}

fn labels(about: &About) -> HashMap<String, String> {
    [
        (ANNOTATION_CREATED, &*about.created),
        (ANNOTATION_DESCRIPTION, "The cloud-controller-manager of ccm-rs"),
        (ANNOTATION_LICENSES, &about.licence),
        (ANNOTATION_REVISION, &about.commit),
        (ANNOTATION_TITLE, NAME),
        (ANNOTATION_VERSION, &about.version),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into()
}

/// JSON with the names in order: maps come in any.
fn text(value: &impl Serialize) -> Result<Vec<u8>, Error> {
    let mut value = serde_json::to_value(value)?;
    value.sort_all_objects();
    Ok(serde_json::to_vec(&value)?)
}

/// Where a blob is.
fn place(digest: &str) -> String {
    format!("blobs/{}", digest.replacen(':', "/", 1))
}
