//! `cargo xtask image`: the program as a container image, without a daemon.

mod archive;
mod base;
mod check;
mod compile;
mod debian;
mod layer;
mod libraries;
mod licences;
mod linked;
mod sbom;
#[cfg(test)]
mod tests;
mod verify;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, UNIX_EPOCH};

use ccm_core::app::{NAME, VERSION};
use oci_spec::distribution::Reference;
use oci_spec::image::Arch;

use self::archive::{About, pack};
pub(crate) use self::compile::Providers;
use self::compile::{Compile, said};
use self::layer::{File, Files, Layer};
use self::linked::Linked;
use crate::out::{Out, took};
use crate::{Error, build};

/// Where the program serves metrics and health by default.
const SECURE_PORT: u16 = 10258;

/// What images are made for, as Rust calls it.
const TARGETS: [(&str, Arch); 2] =
    [("x86_64-unknown-linux-gnu", Arch::Amd64), ("aarch64-unknown-linux-gnu", Arch::ARM64)];

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The providers in it
    #[arg(long, value_enum, default_value = "all")]
    provider: Providers,
    /// Where the archive goes [default: image/cloud-controller-manager-PROVIDER.tar in the target folder]
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// The image's name [default: localhost/cloud-controller-manager:vVERSION]
    #[arg(long, value_name = "NAME:TAG")]
    tag: Option<Reference>,
    /// What it runs on, as Rust calls it [default: what this machine is]
    #[arg(long, value_name = "TRIPLE")]
    target: Option<String>,
    /// Cargo's profile: `release`, or `quick`, which is linked in half of the time and is larger
    #[arg(long, default_value = "release")]
    profile: String,
    /// Run the program in the image's files alone, as root, and see it find names and certificates
    #[arg(long)]
    check: bool,
    /// Instead, make the last commit's image in two fresh clones, and compare
    #[arg(long, conflicts_with_all = ["check", "output", "tag"])]
    verify: bool,
}

/// An image in a file.
#[derive(Debug)]
pub(crate) struct Image {
    /// The archive.
    pub(crate) archive: PathBuf,
    /// The name that it is imported under.
    pub(crate) name: String,
    digest: String,
    sizes: Sizes,
}

/// In bytes.
#[derive(Debug)]
struct Sizes {
    archive: usize,
    unpacked: usize,
    program: usize,
}

/// Makes the image and says what can be done with it.
pub(crate) async fn run(args: Args, out: Out) -> Result<(), Error> {
    let since = Instant::now();
    if args.check {
        check::is_possible()?;
    }
    let reference = match &args.tag {
        Some(tag) if tag.digest().is_some() => return Err("a name has a tag, not a digest".into()),
        Some(tag) => tag.clone(),
        None => default_name()?,
    };
    let target = args.target.map_or_else(|| target_of(std::env::consts::ARCH), Ok)?;
    // Before anything is compiled.
    architecture(&target)?;
    let folder = target_folder()?;
    let compile = Compile {
        root: build::root(),
        target_dir: folder.join("image"),
        target,
        providers: args.provider,
        profile: args.profile,
    };
    if args.verify {
        return verify::run(&compile, out).await;
    }
    let archive = args
        .output
        .unwrap_or_else(|| compile.target_dir.join(format!("{NAME}-{}.tar", args.provider.name())));
    let made = make(&compile, reference, &archive).await?;
    print(out, &made.image, since.elapsed());
    if args.check {
        check::run(compile.providers, &made, out).await?;
    }
    Ok(())
}

/// An image to be tried.
#[derive(Debug)]
pub(crate) struct Tried {
    pub(crate) archive: PathBuf,
    /// What its program says it was made from.
    pub(crate) commit: String,
}

/// The image of the simulated cloud's provider, linked in half of the time of a release's and checked. Has to be root.
pub(crate) async fn of_the_simulated_cloud(out: Out) -> Result<Tried, Error> {
    let since = Instant::now();
    let compile = Compile {
        root: build::root(),
        target_dir: target_folder()?.join("image"),
        target: target_of(std::env::consts::ARCH)?,
        providers: Providers::Sim,
        profile: compile::QUICK.to_owned(),
    };
    let archive = compile.target_dir.join(format!("{NAME}-tried.tar"));
    let made = make(&compile, default_name()?, &archive).await?;
    print(out, &made.image, since.elapsed());
    let since = Instant::now();
    check::run(compile.providers, &made, out).await?;
    out.line(format_args!("checked in {}", took(since.elapsed())));
    Ok(Tried { archive, commit: made.commit })
}

/// An image with what is in it.
#[derive(Debug)]
struct Made {
    image: Image,
    base: Files,
    program: Files,
    commit: String,
}

async fn make(compile: &Compile, name: Reference, archive: &Path) -> Result<Made, Error> {
    let source = Source::of(&compile.root)?;
    // First: a licence that is missing is said before minutes of compiling.
    let linked = Linked::by(compile).await?;
    let licence = std::fs::read_to_string(compile.root.join("LICENSE"))?;
    let base = base::files(&linked, &licence)?;
    let program = std::fs::read(compile.run(&source.commit).await?)?;
    let program: Files = [(NAME.to_owned(), File::program(program))].into();
    let about = About {
        name,
        architecture: architecture(&compile.target)?,
        version: VERSION.to_owned(),
        commit: source.commit,
        licence: "Apache-2.0".to_owned(),
        created: source.created,
    };
    let image = put(&about, &base, &program, archive)?;
    Ok(Made { image, base, program, commit: about.commit })
}

/// Writes the archive. What changes with every commit is in the upper layer.
fn put(about: &About, base: &Files, program: &Files, archive: &Path) -> Result<Image, Error> {
    let layers = [Layer::new("certificates and licences", base)?, Layer::new(NAME, program)?];
    let packed = pack(about, &layers)?;
    let folder = archive.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or_else(|| Path::new("."));
    std::fs::create_dir_all(folder)?;
    // Whoever reads it meanwhile has the old one or the new one.
    let beside = tempfile::NamedTempFile::new_in(folder)?;
    std::fs::write(&beside, &packed.bytes)?;
    std::fs::set_permissions(&beside, std::os::unix::fs::PermissionsExt::from_mode(0o644))?;
    beside.persist(archive)?;
    Ok(Image {
        archive: archive.to_owned(),
        name: about.name.whole(),
        digest: packed.digest,
        sizes: Sizes {
            archive: packed.bytes.len(),
            unpacked: layers.iter().map(|layer| layer.unpacked).sum(),
            program: program.values().map(|file| file.content.len()).sum(),
        },
    })
}

fn print(out: Out, image: &Image, time: Duration) {
    let Image { archive, name, digest, sizes } = image;
    let archive = archive.display();
    out.ok(format_args!("{archive}, in {}", took(time)));
    out.line(format_args!(
        "image    {name}\n\
         digest   {digest}\n\
         archive  {}\n\
         unpacked {}\n\
         program  {}\n\
         \n\
         ctr --namespace k8s.io images import {archive}\n\
         docker load --input {archive}\n\
         skopeo copy oci-archive:{archive} docker://REGISTRY/{NAME}:v{VERSION}",
        megabytes(sizes.archive),
        megabytes(sizes.unpacked),
        megabytes(sizes.program),
    ));
}

fn megabytes(bytes: usize) -> String {
    let tenths = (bytes + 50_000) / 100_000;
    format!("{}.{} MB ({bytes} bytes)", tenths / 10, tenths % 10)
}

/// A name with a registry in it, so that container runtimes put none before it, and the tag that manifests have.
fn default_name() -> Result<Reference, Error> {
    Ok(Reference::try_from(format!("localhost/{NAME}:v{VERSION}"))?)
}

/// What a machine of this architecture compiles for.
fn target_of(architecture: &str) -> Result<String, Error> {
    let is_of = |target: &&str| target.split('-').next() == Some(architecture);
    let target = TARGETS.map(|(target, _)| target).into_iter().find(is_of);
    Ok(target.ok_or_else(|| unsupported(architecture))?.to_owned())
}

fn architecture(target: &str) -> Result<Arch, Error> {
    let known = TARGETS.into_iter().find(|(known, _)| *known == target);
    Ok(known.ok_or_else(|| unsupported(target))?.1)
}

fn unsupported(what: &str) -> String {
    let targets = TARGETS.map(|(target, _)| target).join(" and ");
    format!("no image is made for {what}, but for {targets}: --target names one")
}

/// Cargo's target folder, as it was set for us.
fn target_folder() -> Result<PathBuf, Error> {
    let metadata = cargo_metadata::MetadataCommand::new()
        .cargo_path(build::cargo().as_std().get_program())
        .current_dir(build::root())
        .no_deps()
        .exec()?;
    Ok(metadata.target_directory.into_std_path_buf())
}

/// What the sources are.
#[derive(Debug)]
struct Source {
    /// With `-dirty` where something is not committed.
    commit: String,
    /// When the commit was made, or `SOURCE_DATE_EPOCH`, never now: the bytes would differ.
    /// <https://reproducible-builds.org/specs/source-date-epoch/>
    created: String,
}

impl Source {
    fn of(root: &Path) -> Result<Self, Error> {
        let mut commit = said("git", &["rev-parse", "HEAD"], root)?;
        if !said("git", &["status", "--porcelain"], root)?.is_empty() {
            commit.push_str("-dirty");
        }
        let seconds = match std::env::var("SOURCE_DATE_EPOCH") {
            Ok(seconds) => seconds,
            Err(_) => said("git", &["show", "--no-patch", "--format=%ct", "HEAD"], root)?,
        };
        let created = UNIX_EPOCH + Duration::from_secs(seconds.trim().parse()?);
        Ok(Self { commit, created: humantime::format_rfc3339_seconds(created).to_string() })
    }
}
