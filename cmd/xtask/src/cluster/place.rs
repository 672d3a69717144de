//! Where it is said which process holds a cluster.

use std::fs::{File, TryLockError};
use std::io::Write as _;
use std::path::PathBuf;

use ccm_envtest::Identity;

use crate::Error;

/// Root's, whatever `HOME` is, and gone with a reboot as the cluster is.
const FOLDER: &str = "/run/ccm-rs/cluster";

/// The folder. A file in it is locked as long as the holder lives, however it ends.
#[derive(Debug)]
pub(super) struct Place(PathBuf);

/// Who has the lock now.
#[derive(Debug)]
pub(super) enum Taken {
    /// Nobody had it.
    ByUs(Lock),
    /// A cluster is up, comes up or goes down.
    ByAnother,
}

/// The lock, which goes with this.
#[derive(Debug)]
pub(super) struct Lock(File);

impl Place {
    pub(super) fn find() -> Result<Self, Error> {
        // Who is not root has no cluster, and could not end root's.
        if !rustix::process::geteuid().is_root() {
            return Err("a cluster with a real node is root's".into());
        }
        Self::at(PathBuf::from(FOLDER))
    }

    fn at(folder: PathBuf) -> Result<Self, Error> {
        std::fs::create_dir_all(&folder).map_err(|err| format!("{}: {err}", folder.display()))?;
        Ok(Self(folder))
    }

    /// Takes the lock if nobody has it.
    pub(super) fn take(&self) -> Result<Taken, Error> {
        let path = self.0.join("holder");
        let file = File::options().write(true).create(true).truncate(false).open(&path);
        let file = file.map_err(|err| format!("opening {}: {err}", path.display()))?;
        match file.try_lock() {
            Ok(()) => Ok(Taken::ByUs(Lock(file))),
            Err(TryLockError::WouldBlock) => Ok(Taken::ByAnother),
            Err(TryLockError::Error(err)) => {
                Err(format!("locking {}: {err}", path.display()).into())
            }
        }
    }

    /// Who has the lock, as it has said of itself. What an earlier one has said stays until then, so whoever is named
    /// need not run any more.
    pub(super) fn holder(&self) -> Result<Identity, Error> {
        let text = std::fs::read_to_string(self.0.join("holder"))?;
        let holder = text.trim().parse().ok();
        holder.ok_or_else(|| "it is just being brought up or taken down".into())
    }

    /// Why the last one ended by itself.
    pub(super) fn ended(&self) -> PathBuf {
        self.0.join("ended")
    }
}

impl Lock {
    /// Says that this process is the holder.
    pub(super) fn is_ours(&mut self) -> Result<(), Error> {
        let us = Identity::of(std::process::id()).ok_or("/proc does not know this process")?;
        self.0.set_len(0)?;
        writeln!(self.0, "{us}")?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place() -> (tempfile::TempDir, Place) {
        let folder = tempfile::tempdir().unwrap();
        let place = Place::at(folder.path().join("cluster")).unwrap();
        (folder, place)
    }

    #[test]
    fn one_has_it_and_says_who_it_is() {
        let (_folder, place) = place();
        let Taken::ByUs(mut lock) = place.take().unwrap() else { panic!("nobody has it") };
        lock.is_ours().unwrap();
        assert!(matches!(place.take().unwrap(), Taken::ByAnother));
        assert_eq!(place.holder().unwrap().pid(), std::process::id());
        drop(lock);
        assert!(matches!(place.take().unwrap(), Taken::ByUs(_)));
    }

    /// Otherwise a folder that cannot be read would be a cluster that never ends.
    #[test]
    fn what_cannot_be_looked_at_is_not_held() {
        let (folder, place) = place();
        std::fs::create_dir(folder.path().join("cluster/holder")).unwrap();
        assert!(place.take().unwrap_err().to_string().contains("opening"));
        assert!(Place::at("/dev/null/cluster".into()).is_err());
    }

    #[test]
    fn whoever_has_got_the_number_since_is_not_asked_to_end() {
        let (_folder, place) = place();
        let another = format!("{} 1\n", std::process::id());
        std::fs::write(place.0.join("holder"), another).unwrap();
        assert!(!place.holder().unwrap().ask_to_end().unwrap());
        std::fs::write(place.0.join("holder"), "").unwrap();
        assert!(place.holder().is_err());
    }
}
