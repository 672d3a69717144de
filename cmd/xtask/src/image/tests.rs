use std::collections::BTreeMap;
use std::io::Read as _;

use flate2::read::GzDecoder;
use oci_spec::image::{ImageConfiguration, ImageIndex, ImageManifest};
use serde_json::Value;

use super::*;

fn sim() -> Compile {
    Compile {
        root: build::root(),
        target_dir: PathBuf::from("/nowhere"),
        target: target_of(std::env::consts::ARCH).unwrap(),
        providers: Providers::Sim,
        profile: "release".to_owned(),
    }
}

fn about() -> About {
    About {
        name: Reference::try_from("registry.example/ccm:1.2.3").unwrap(),
        architecture: Arch::Amd64,
        version: "1.2.3".to_owned(),
        commit: "0123abc".to_owned(),
        licence: "Apache-2.0".to_owned(),
        created: "2026-01-01T00:00:00Z".to_owned(),
    }
}

/// An archive of two files, the program no program.
fn archive() -> Vec<u8> {
    let base: Files = [("etc/passwd".to_owned(), File::text("root\n"))].into();
    let program: Files = [(NAME.to_owned(), File::program(vec![7; 100_000]))].into();
    let layers = [Layer::new("base", &base).unwrap(), Layer::new(NAME, &program).unwrap()];
    pack(&about(), &layers).unwrap().bytes
}

fn unpacked(tar: &[u8]) -> BTreeMap<String, Vec<u8>> {
    let mut archive = tar::Archive::new(tar);
    let files = archive.entries().unwrap().map(|entry| {
        let mut entry = entry.unwrap();
        let mut content = Vec::new();
        entry.read_to_end(&mut content).unwrap();
        (entry.path().unwrap().display().to_string(), content)
    });
    files.collect()
}

#[test]
fn every_digest_of_the_archive_is_that_of_its_blob() {
    let files = unpacked(&archive());
    let blob = |digest: &str| {
        let content = &files[&format!("blobs/{}", digest.replace(':', "/"))];
        assert_eq!(layer::digest(content), digest);
        content
    };
    let layout: Value = serde_json::from_slice(&files["oci-layout"]).unwrap();
    assert_eq!(layout["imageLayoutVersion"], "1.0.0");
    let index = ImageIndex::from_reader(&*files["index.json"]).unwrap();
    let [descriptor] = &index.manifests()[..] else { panic!("one image") };
    let name = &descriptor.annotations().as_ref().unwrap()["org.opencontainers.image.ref.name"];
    assert_eq!(name, "registry.example/ccm:1.2.3");
    let manifest = blob(descriptor.digest().as_ref());
    assert_eq!(u64::try_from(manifest.len()).unwrap(), descriptor.size());
    let manifest = ImageManifest::from_reader(&**manifest).unwrap();
    let config = blob(manifest.config().digest().as_ref());
    let config = ImageConfiguration::from_reader(&**config).unwrap();
    assert_eq!(manifest.layers().len(), 2);
    for (layer, diff_id) in manifest.layers().iter().zip(config.rootfs().diff_ids()) {
        let content = blob(layer.digest().as_ref());
        assert_eq!(u64::try_from(content.len()).unwrap(), layer.size());
        let mut tar = Vec::new();
        GzDecoder::new(&**content).read_to_end(&mut tar).unwrap();
        assert_eq!(&layer::digest(&tar), diff_id);
    }
    let docker: Value = serde_json::from_slice(&files["manifest.json"]).unwrap();
    assert_eq!(docker[0]["RepoTags"][0], "registry.example/ccm:1.2.3");
    for place in docker[0]["Layers"].as_array().unwrap() {
        assert!(files.contains_key(place.as_str().unwrap()));
    }
    // A configuration, a manifest, two layers; nothing that nobody names.
    assert_eq!(files.keys().filter(|path| !path.ends_with('/')).count(), 4 + 3);
}

#[test]
fn the_container_runs_without_rights() {
    let files = unpacked(&archive());
    let docker: Value = serde_json::from_slice(&files["manifest.json"]).unwrap();
    let config: Value =
        serde_json::from_slice(&files[docker[0]["Config"].as_str().unwrap()]).unwrap();
    assert_eq!(config["architecture"], "amd64");
    assert_eq!(config["config"]["User"], "65532:65532");
    assert_eq!(config["config"]["Entrypoint"][0], "/cloud-controller-manager");
    assert!(config["config"]["ExposedPorts"]["10258/tcp"].is_object());
    assert_eq!(config["config"]["Labels"]["org.opencontainers.image.revision"], "0123abc");
}

#[test]
fn an_image_is_for_what_the_machine_is_unless_it_is_said() {
    assert_eq!(target_of("x86_64").unwrap(), "x86_64-unknown-linux-gnu");
    assert_eq!(target_of("aarch64").unwrap(), "aarch64-unknown-linux-gnu");
    assert_eq!(architecture("aarch64-unknown-linux-gnu").unwrap(), Arch::ARM64);
    for err in [target_of("riscv64").unwrap_err(), architecture("x86_64-apple-darwin").unwrap_err()]
    {
        assert!(err.to_string().contains("x86_64-unknown-linux-gnu and aarch64"), "{err}");
    }
}

#[test]
fn the_same_files_are_the_same_archive() {
    assert_eq!(archive(), archive());
}

/// What cargo says of this workspace is what the documents are made of.
#[tokio::test]
async fn everything_that_is_linked_has_its_licence_and_its_line() {
    let linked = Linked::by(&sim()).await.unwrap();
    let names: Vec<_> = linked.crates.iter().map(|krate| &*krate.id.0).collect();
    for name in [NAME, "ccm-core", "ccm-provider-sim", "kube-client", "aws-lc-sys", "tokio"] {
        assert!(names.contains(&name), "{name}");
    }
    // At compile time only, or of another provider, or of tests.
    for name in ["serde_derive", "cc", "aws-sdk-ec2", "proptest", "ccm-provider-aws", "flate2"] {
        assert!(!names.contains(&name), "{name}");
    }
    let text = licences::gather(&linked).unwrap();
    for krate in linked.crates.iter().filter(|krate| !krate.is_ours()) {
        let line = format!("{} {}: ", krate.id.0, krate.id.1);
        assert!(text.contains(&line), "{line}");
    }
    // Sources in C inside a crate, and libraries that are no crates.
    for part in ["aws-lc/LICENSE", "GNU LESSER GENERAL PUBLIC LICENSE", "rust-std", "CDLA"] {
        assert!(text.contains(part), "{part}");
    }
    // What the standard library passes on of others is a page of its own.
    assert!(linked.std_notices.contains("Out-of-tree dependencies"));
    let files = base::files(&linked, "").unwrap();
    assert!(files.keys().any(|path| path.ends_with(base::STD_NOTICES)));
    let root = build::root();
    assert!(!text.contains(&*root.to_string_lossy()), "a path of this machine");
    assert_eq!(text, licences::gather(&linked).unwrap());

    let sbom = sbom::write(&linked).unwrap();
    assert_eq!(sbom, sbom::write(&linked).unwrap());
    let sbom: Value = serde_json::from_slice(&sbom).unwrap();
    assert_eq!((&sbom["bomFormat"], &sbom["specVersion"]), (&"CycloneDX".into(), &"1.5".into()));
    assert_eq!(sbom["metadata"]["component"]["name"], NAME);
    let components = sbom["components"].as_array().unwrap();
    // All but the program itself, which is above; and the certificates.
    let others = linked.crates.len() - 1 + linked.libraries.len() + 1;
    assert_eq!(components.len(), others);
    for component in components {
        let name = &component["name"];
        assert!(component["purl"].as_str().is_some_and(|purl| purl.starts_with("pkg:")), "{name}");
        assert!(component["version"].is_string() && component["licenses"].is_array(), "{name}");
    }
    let purl = |name: &str| {
        let found = components.iter().find(|component| component["name"] == name);
        found.and_then(|component| component["purl"].as_str()).unwrap_or_default()
    };
    // Not what somebody may publish under the same name.
    assert!(purl("ccm-core").starts_with("pkg:generic/ccm-rs/ccm-core@"), "{}", purl("ccm-core"));
    assert!(purl("tokio").starts_with("pkg:cargo/tokio@"));
    let aws_lc = purl("aws-lc");
    assert!(aws_lc.starts_with("pkg:github/aws/aws-lc@v"), "{aws_lc}");
    let users = sbom["dependencies"].as_array().unwrap().iter();
    let mut users =
        users.filter(|it| it["dependsOn"].as_array().is_some_and(|it| it.contains(&aws_lc.into())));
    let user = users.next().unwrap()["ref"].as_str().unwrap();
    assert!(user.starts_with("pkg:cargo/aws-lc-sys@") && users.next().is_none(), "{user}");
    // Where it is Debian's, scanners look for flaws of that release and of that source.
    let libc = purl("glibc");
    assert!(
        !libc.starts_with("pkg:deb/") || libc.contains("&distro=") && libc.contains("&upstream="),
        "{libc}"
    );
    let tokio = components.iter().find(|component| component["name"] == "tokio").unwrap();
    assert_eq!(tokio["hashes"][0]["content"].as_str().map(str::len), Some(64));
}
