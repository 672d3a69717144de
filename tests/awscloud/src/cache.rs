//! The folder of things that are made once for all checkouts and processes of a user.

use std::{
    ffi::OsString,
    fmt::{self, Write as _},
    fs::{File, TryLockError},
    io::{self, Write},
    path::{Path, PathBuf},
};

use sha2::{Digest, Sha256};

use crate::error::{Context, Error};

/// How the name of a folder ends that is still being filled.
const UNFINISHED: &str = ".unfinished";

/// `$XDG_CACHE_HOME/ccm-rs/awscloud` or `~/.cache/ccm-rs/awscloud`.
pub(crate) fn folder() -> Result<PathBuf, Error> {
    folder_of(|name| std::env::var_os(name)).map_err(|reason| Error::Missing { reason })
}

fn folder_of(var: impl Fn(&str) -> Option<OsString>) -> Result<PathBuf, String> {
    let absolute = |name: &str| var(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let cache = absolute("XDG_CACHE_HOME")
        .or_else(|| absolute("HOME").map(|home| home.join(".cache")))
        .ok_or("neither XDG_CACHE_HOME nor HOME says where to keep it")?;
    Ok(cache.join("ccm-rs").join("awscloud"))
}

/// Twelve hexadecimal digits that say what is in a folder.
pub(crate) fn hash<'a>(parts: impl IntoIterator<Item = &'a str>) -> String {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update(part);
        hasher.update([0]);
    }
    hasher.finalize().iter().take(6).fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").ok();
        text
    })
}

/// The folder of this name; `fill` makes it if it is not there, one process at a time.
///
/// It is filled under another name and renamed when it is whole: what is cut off leaves nothing
/// that looks done. Beside it stand `<name>.lock` and what `fill` logs.
pub(crate) fn filled(
    cache: &Path,
    name: &str,
    fill: impl FnOnce(&Path) -> Result<(), Error>,
) -> Result<PathBuf, Error> {
    let path = cache.join(name);
    if path.is_dir() {
        return Ok(path);
    }
    std::fs::create_dir_all(cache).context(|| format!("creating {}", cache.display()))?;
    let _lock = lock(&cache.join(format!("{name}.lock")), name)?;
    // Somebody else may have made it while we waited.
    if path.is_dir() {
        return Ok(path);
    }
    let unfinished = cache.join(format!("{name}{UNFINISHED}"));
    // We hold the lock, so what is there is from somebody who was cut off.
    if unfinished.exists() {
        std::fs::remove_dir_all(&unfinished)
            .context(|| format!("removing {}", unfinished.display()))?;
    }
    std::fs::create_dir(&unfinished).context(|| format!("creating {}", unfinished.display()))?;
    if let Err(err) = fill(&unfinished) {
        std::fs::remove_dir_all(&unfinished).ok();
        return Err(err);
    }
    std::fs::rename(&unfinished, &path).context(|| format!("creating {}", path.display()))?;
    Ok(path)
}

/// The system lets go of the lock when we end, however we do.
fn lock(path: &Path, name: &str) -> Result<File, Error> {
    let what = || format!("locking {}", path.display());
    let file = File::options().write(true).create(true).truncate(false).open(path).context(what)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            say(format_args!("waiting for {name}: another process is making it"));
            file.lock().context(what)?;
        }
        Err(TryLockError::Error(err)) => return Err(err).context(what),
    }
    Ok(file)
}

/// Straight to standard error, past the test harness: silence looks like a hang.
pub(crate) fn say(what: fmt::Arguments<'_>) {
    writeln!(io::stderr(), "ccm-awscloud: {what}").ok();
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::as_set(&[("XDG_CACHE_HOME", "/c"), ("HOME", "/h")], Some("/c/ccm-rs/awscloud"))]
    #[case::by_default(&[("HOME", "/h")], Some("/h/.cache/ccm-rs/awscloud"))]
    #[case::relative_does_not_count(&[("XDG_CACHE_HOME", "c"), ("HOME", "/h")], Some("/h/.cache/ccm-rs/awscloud"))]
    #[case::nowhere(&[], None)]
    fn the_cache_is_the_users(#[case] vars: &[(&str, &str)], #[case] want: Option<&str>) {
        let found = folder_of(|name| {
            vars.iter().find(|(known, _)| *known == name).map(|(_, value)| value.into())
        });
        assert_eq!(found.ok().as_deref(), want.map(Path::new));
    }

    fn scratch(name: &str) -> PathBuf {
        let folder =
            std::env::temp_dir().join(format!("ccm-awscloud-{name}-{}", std::process::id()));
        std::fs::remove_dir_all(&folder).ok();
        folder
    }

    #[test]
    fn two_who_need_it_at_once_fill_it_once() {
        let cache = scratch("once");
        let times = std::sync::atomic::AtomicU32::new(0);
        std::thread::scope(|scope| {
            let make = || {
                filled(&cache, "thing", |folder| {
                    times.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                    std::fs::write(folder.join("a"), "a").context(|| "a".to_owned())
                })
                .unwrap()
            };
            let running = [scope.spawn(make), scope.spawn(make), scope.spawn(make)];
            for thread in running {
                assert!(thread.join().unwrap().join("a").is_file());
            }
        });
        assert_eq!(times.into_inner(), 1);
        std::fs::remove_dir_all(cache).unwrap();
    }

    #[test]
    fn what_fails_or_was_cut_off_leaves_nothing_that_looks_done() {
        let cache = scratch("fails");
        let fail = |_: &Path| Err(Error::Missing { reason: "no space".to_owned() });
        assert!(filled(&cache, "thing", fail).is_err());
        assert!(!cache.join("thing").exists());
        std::fs::create_dir(cache.join("thing.unfinished")).unwrap();
        std::fs::write(cache.join("thing.unfinished/old"), "").unwrap();
        let made = filled(&cache, "thing", |_| Ok(())).unwrap();
        assert!(!made.join("old").exists());
        std::fs::remove_dir_all(cache).unwrap();
    }

    #[test]
    fn a_hash_tells_parts_apart() {
        assert_eq!(hash(["a", "b"]).len(), 12);
        assert_ne!(hash(["a", "b"]), hash(["ab"]));
    }
}
