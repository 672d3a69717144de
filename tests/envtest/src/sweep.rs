//! Takes away what is left when owner and guardian were both killed.
//!
//! Every start looks at all records of this user. Nothing is killed or removed on the strength of a number or a name:
//! the owner must be gone, a process must have the recorded number, start and program, a directory must be where we
//! would have put it.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use crate::{
    cgroups,
    error::{Context, Error},
    process::{Identity, POLL},
    record::{NEW_SUFFIX, Place, Record, SUFFIX},
};

/// How long killed processes may take to be gone. A guess; it takes milliseconds on a machine that is not busy.
const PATIENCE: Duration = Duration::from_secs(30);

/// Removes the instances whose owners are gone.
///
/// What can not be removed now is left to the next start: a stranger's leftovers are no reason not to start.
pub(crate) async fn sweep(state: &Path) -> Result<(), Error> {
    let here = Place::here();
    let entries =
        std::fs::read_dir(state).context(|| format!("reading the folder {}", state.display()))?;
    for entry in entries.flatten() {
        let path = entry.path();
        let name = entry.file_name();
        // Also one that was never renamed: its owner died in between.
        let Some(name) = name.to_str() else { continue };
        let unfinished = name.strip_suffix(NEW_SUFFIX);
        let Some(id) = unfinished.unwrap_or(name).strip_suffix(SUFFIX) else { continue };
        // Gone: somebody else sweeps too. Not understood: another version's, which will look after it.
        let Ok(text) = std::fs::read_to_string(&path) else { continue };
        if unfinished.is_some() && text.is_empty() && is_nobodys(id) {
            // Its owner died before the first word. It says of nothing, so nothing else goes with it.
            std::fs::remove_file(&path).ok();
            continue;
        }
        let Ok(record) = text.parse::<Record>() else { continue };
        let sound = record.directory == state.join(id);
        if sound && is_abandoned(&record, &here, Identity::is_alive) {
            remove(&record, &path, record.place == here).await;
        }
    }
    Ok(())
}

/// Whether the process that the ID begins with does not run here, so that nobody is just writing. In
/// another container somebody may be, who then writes it again.
fn is_nobodys(id: &str) -> bool {
    let pid = id.split_once('-').and_then(|(pid, _)| pid.parse().ok());
    pid.is_some_and(|pid| Identity::of(pid).is_none())
}

/// Whether nobody looks after the instance any more.
fn is_abandoned(record: &Record, here: &Place, is_alive: impl Fn(Identity) -> bool) -> bool {
    if record.place == *here {
        return !is_alive(record.owner);
    }
    // After a reboot nothing of it runs. In another container of this machine it may, and can not be seen from here.
    record.place.boot != here.boot
}

async fn remove(record: &Record, path: &Path, ours_to_kill: bool) {
    if ours_to_kill {
        for started in &record.processes {
            started.identity.kill_if_runs(&started.program);
        }
        let since = Instant::now();
        while record.processes.iter().any(|started| {
            started.identity.is_alive()
                && started.identity.program().is_some_and(|program| program == started.program)
        }) {
            if since.elapsed() > PATIENCE {
                return;
            }
            tokio::time::sleep(POLL).await;
        }
    }
    if record.cgroups
        && let Some(name) = cgroups::name(&record.directory)
    {
        cgroups::remove(&name);
    }
    let removed = record.keep
        || match std::fs::remove_dir_all(&record.directory) {
            Ok(()) => true,
            Err(err) => err.kind() == std::io::ErrorKind::NotFound,
        };
    if removed {
        std::fs::remove_file(path).ok();
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn place(boot: &str, namespace: &str) -> Place {
        Place { boot: boot.into(), namespace: namespace.into() }
    }

    fn record(place: Place) -> Record {
        Record {
            place,
            owner: Identity { pid: 1, started: 2 },
            directory: "/nowhere".into(),
            keep: false,
            cgroups: false,
            processes: Vec::new(),
        }
    }

    #[rstest]
    #[case::its_owner_runs("boot", "ns", true, false)]
    #[case::its_owner_is_gone("boot", "ns", false, true)]
    #[case::in_another_container("boot", "other", false, false)]
    #[case::before_a_reboot("earlier", "ns", true, true)]
    fn only_the_abandoned_is_swept(
        #[case] boot: &str,
        #[case] namespace: &str,
        #[case] owner_alive: bool,
        #[case] want: bool,
    ) {
        let found =
            is_abandoned(&record(place(boot, namespace)), &place("boot", "ns"), |_| owner_alive);
        assert_eq!(found, want);
    }

    #[tokio::test]
    async fn an_empty_file_goes_with_its_writer() {
        let state = std::env::temp_dir().join(format!("ccm-envtest-empty-{}", std::process::id()));
        std::fs::create_dir_all(&state).unwrap();
        let empty = |pid: u32, suffix: &str| {
            let path = state.join(format!("{pid}-1-0{SUFFIX}{suffix}"));
            std::fs::write(&path, "").unwrap();
            path
        };
        let dead = empty(u32::MAX, NEW_SUFFIX);
        let living = empty(std::process::id(), NEW_SUFFIX);
        // Never written like this by us.
        let other = empty(u32::MAX, "");
        sweep(&state).await.unwrap();
        assert_eq!([&dead, &living, &other].map(|path| path.exists()), [false, true, true]);
        std::fs::remove_dir_all(&state).unwrap();
    }

    #[tokio::test]
    async fn a_record_that_points_elsewhere_removes_nothing() {
        let state = std::env::temp_dir().join(format!("ccm-envtest-sweep-{}", std::process::id()));
        let elsewhere = state.join("precious");
        std::fs::create_dir_all(&elsewhere).unwrap();
        let file = state.join(format!("1-2-3{SUFFIX}"));
        // Abandoned beyond doubt: its owner never was.
        let owner = Identity { pid: u32::MAX, started: 0 };
        let forged = Record { owner, directory: elsewhere.clone(), ..record(Place::here()) };
        forged.write(&file).unwrap();

        sweep(&state).await.unwrap();
        assert!(elsewhere.exists() && file.exists());

        let own = state.join("1-2-3");
        std::fs::create_dir(&own).unwrap();
        let unfinished = state.join(format!("1-2-3{SUFFIX}{NEW_SUFFIX}"));
        let record = Record { directory: own.clone(), ..forged };
        record.write(&file).unwrap();
        std::fs::write(&unfinished, record.to_string()).unwrap();
        sweep(&state).await.unwrap();
        assert!(!own.exists() && !file.exists() && !unfinished.exists());
        std::fs::remove_dir_all(&state).unwrap();
    }
}
