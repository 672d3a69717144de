//! One instance's directory, its record and its guardian: what has to go whatever happens.

use std::{
    fs::DirBuilder,
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt},
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
    time::{SystemTime, UNIX_EPOCH},
};

use crate::{
    cgroups,
    error::{Context, Error},
    guardian::Guardian,
    process::Identity,
    record::{Place, Record, SUFFIX, Started},
};

/// Set to keep the directories of instances, logs in them, for a person to look at.
pub(crate) const KEEP: &str = "CCM_ENVTEST_KEEP";

/// The folder with the records and directories of this user's instances.
///
/// It is under the system's temporary folder so that a record and what it records share their fate: machines that
/// share a home do not sweep each other, and a reboot that empties the one empties the other.
pub(crate) fn state_dir() -> Result<PathBuf, Error> {
    let uid = rustix::process::getuid().as_raw();
    let path = std::env::temp_dir().join(format!("ccm-envtest-{uid}"));
    if path.to_str().is_none_or(|text| text.contains('\n')) {
        return Err(Error::Refused(format!(
            "no line of text can name {}; set TMPDIR",
            path.display()
        )));
    }
    let in_words = || format!("creating {}", path.display());
    match DirBuilder::new().mode(0o700).create(&path) {
        Err(err) if err.kind() != io::ErrorKind::AlreadyExists => Err(err).context(in_words)?,
        _ => {}
    }
    // Anybody may create a name in the temporary folder, and what is ours there is trusted: sweeping kills by it.
    let found = path.symlink_metadata().context(in_words)?;
    if !found.is_dir() || found.uid() != uid || found.mode() & 0o077 != 0 {
        return Err(Error::Refused(format!(
            "{} is not a folder that belongs to user {uid} alone; remove it or set TMPDIR",
            path.display()
        )));
    }
    Ok(path)
}

/// A directory, what is recorded of it, and its guardian. Dropping it removes all of them.
///
/// To be dropped after the processes that write into the directory.
#[derive(Debug)]
pub(crate) struct Instance {
    // Dropped in this order: the guardian may go when there is nothing left to guard.
    files: Files,
    guardian: Guardian,
}

/// What is on disk.
#[derive(Debug)]
struct Files {
    record: Record,
    path: PathBuf,
}

impl Instance {
    /// Records, then creates: there is no moment at which something exists that nobody would find.
    pub(crate) fn create() -> Result<Self, Error> {
        static COUNT: AtomicU64 = AtomicU64::new(0);

        let state = state_dir()?;
        let pid = std::process::id();
        let owner = Identity::of(pid)
            .ok_or_else(|| Error::Refused("/proc is needed to tell processes apart".to_owned()))?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let id = format!("{pid}-{now:x}-{count}");
        let record = Record {
            place: Place::here(),
            owner,
            directory: state.join(&id),
            keep: std::env::var_os(KEEP).is_some_and(|value| !value.is_empty() && value != "0"),
            cgroups: false,
            processes: Vec::new(),
        };
        let files = Files { record, path: state.join(format!("{id}{SUFFIX}")) };
        files.write()?;
        let directory = &files.record.directory;
        DirBuilder::new()
            .mode(0o700)
            .create(directory)
            .context(|| format!("creating {}", directory.display()))?;
        let guardian = Guardian::start(&files.path)?;
        Ok(Self { files, guardian })
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.files.record.directory
    }

    pub(crate) fn guardian_pid(&self) -> u32 {
        self.guardian.pid()
    }

    /// Adds a process, so that guardian and sweep know it.
    pub(crate) fn record(&mut self, identity: Identity, program: &Path) -> Result<(), Error> {
        // The name under which the system knows the program: links resolved.
        let program =
            program.canonicalize().context(|| format!("finding {}", program.display()))?;
        self.files.record.processes.push(Started { identity, program });
        self.files.write()
    }

    /// Makes a control group in every hierarchy and gives its path below each; it goes with the instance.
    pub(crate) fn make_cgroups(&mut self) -> Result<String, Error> {
        let name = cgroups::name(self.dir()).ok_or_else(|| {
            Error::Refused(format!("{} has no name for control groups", self.dir().display()))
        })?;
        self.files.record.cgroups = true;
        self.files.write()?;
        cgroups::make(&name)?;
        Ok(format!("/{name}"))
    }

    /// Takes a process out that has ended.
    pub(crate) fn forget(&mut self, identity: Identity) -> Result<(), Error> {
        self.files.record.processes.retain(|started| started.identity != identity);
        self.files.write()
    }
}

impl Files {
    fn write(&self) -> Result<(), Error> {
        self.record.write(&self.path)
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        let directory = &self.record.directory;
        if self.record.cgroups
            && let Some(name) = cgroups::name(directory)
        {
            cgroups::remove(&name);
        }
        if self.record.keep {
            // Nobody is left to tell if standard error is gone.
            writeln!(io::stderr(), "ccm-envtest: kept {}", directory.display()).ok();
        } else if let Err(err) = std::fs::remove_dir_all(directory)
            && err.kind() != io::ErrorKind::NotFound
        {
            // The record stays, so the next start tries again.
            writeln!(io::stderr(), "ccm-envtest: removing {}: {err}", directory.display()).ok();
            return;
        }
        std::fs::remove_file(&self.path).ok();
    }
}
