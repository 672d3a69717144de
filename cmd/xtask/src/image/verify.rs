//! Whether the same sources are the same bytes: two clones, compiled in two places.

use std::path::Path;
use std::time::Instant;

use super::compile::{Compile, said};
use super::{Made, default_name, layer, make};
use crate::Error;
use crate::out::{Out, took};

/// Builds the last commit twice and compares.
pub(super) async fn run(compile: &Compile, out: Out) -> Result<(), Error> {
    let folder = tempfile::tempdir()?;
    // Said once: the sources may get another commit while the first clone is compiled.
    let commit = said("git", &["rev-parse", "HEAD"], &compile.root)?;
    let mut made = Vec::new();
    // Paths of different lengths, and a target folder inside the clone and outside of it.
    for (clone, target) in [("a", "a/target"), ("another/clone", "elsewhere/target")] {
        let since = Instant::now();
        let root = folder.path().join(clone);
        clone_at(&commit, &compile.root, &root)?;
        let target_dir = folder.path().join(target);
        let compile = Compile { root, target_dir, ..compile.clone() };
        let archive = compile.target_dir.join("image.tar");
        let image = make(&compile, default_name()?, &archive).await?;
        let sum = sum(&archive)?;
        out.line(format_args!("{sum}  {}, in {}", archive.display(), took(since.elapsed())));
        made.push((image, sum));
    }
    let [(first, one), (second, other)] = &made[..] else {
        return Err("two were to be made".into());
    };
    if one == other {
        out.ok(format_args!("two clones make the same bytes: {one}"));
        return Ok(());
    }
    let kept = folder.keep();
    let what = differing(first, second).join(" and ");
    Err(format!("two clones differ in {what}; they are kept in {}", kept.display()).into())
}

/// Makes a clone that has this commit checked out.
fn clone_at(commit: &str, from: &Path, to: &Path) -> Result<(), Error> {
    let (source, clone) = (from.to_string_lossy(), to.to_string_lossy());
    said("git", &["clone", "--quiet", "--no-checkout", &source, &clone], from)?;
    said("git", &["checkout", "--quiet", "--detach", commit], to)?;
    Ok(())
}

fn sum(archive: &Path) -> Result<String, Error> {
    Ok(layer::hex(&std::fs::read(archive)?))
}

/// The files that are not the same in both, or what is around them.
fn differing(first: &Made, second: &Made) -> Vec<String> {
    let files = |made: &Made| made.base.clone().into_iter().chain(made.program.clone());
    let differ = files(first)
        .zip(files(second))
        .filter(|((_, one), (_, other))| one.content != other.content);
    let differ: Vec<_> = differ.map(|((path, _), _)| path).collect();
    if differ.is_empty() { vec!["what the image says of itself".to_owned()] } else { differ }
}
