//! What can go wrong, told so that a developer knows what to do next.

use std::{error::Error as _, fmt, io, path::PathBuf, time::Duration};

/// Why the control plane is not there, or did not do what it was asked.
///
/// `Debug` prints the same text as a report would, cause by cause: nearly every caller is a test that unwraps,
/// and a log's last lines with escaped line ends help nobody.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A program is neither given nor can it be built.
    #[error(
        "no {program}: {reason}. Install Go {go} or newer (it is built once, then cached), \
         or set KUBEBUILDER_ASSETS to a folder with etcd, kube-apiserver and kubectl",
        go = crate::binaries::GO_MINIMUM
    )]
    Missing {
        /// The file's name, `kube-apiserver` for example.
        program: &'static str,
        /// What stands in the way.
        reason: String,
    },

    /// A program that can only be built, and is not.
    #[error(
        "no {program}: {reason}. Install Go {go} or newer (it is built once, then cached)",
        go = crate::binaries::GO_MINIMUM
    )]
    MissingPeer {
        /// The file's name.
        program: &'static str,
        /// What stands in the way.
        reason: String,
    },

    /// `KUBEBUILDER_ASSETS` is set to a folder that lacks a program which has to be there.
    #[error(
        "KUBEBUILDER_ASSETS is {folder}, which has no {program}: put it there, or unset the variable to have it built",
        folder = folder.display()
    )]
    Assets {
        /// The file's name.
        program: &'static str,
        /// The variable's value.
        folder: PathBuf,
        #[source]
        /// What the system said.
        source: io::Error,
    },

    /// Go was there and could not build a program.
    #[error("building {program} failed ({status}): {command}\n{output}")]
    Build {
        /// The file's name.
        program: &'static str,
        /// How Go ended.
        status: String,
        /// The command, as one would type it.
        command: String,
        /// The last lines Go wrote.
        output: String,
    },

    /// A program ended while it was still needed.
    #[error("{program} ended ({status})\n{run}")]
    Exited {
        /// `etcd` or `kube-apiserver`.
        program: &'static str,
        /// How it ended.
        status: String,
        /// How it was run and what it said.
        run: Box<Run>,
    },

    /// A program runs and did not become ready in time.
    #[error("{program} was not ready within {waited:?}: {last}\n{run}")]
    NotReady {
        /// `etcd` or `kube-apiserver`.
        program: &'static str,
        /// How long it was given.
        waited: Duration,
        /// The last answer.
        last: String,
        /// How it was run and what it said.
        run: Box<Run>,
    },

    /// Something awaited did not come about.
    #[error("{what} did not happen within {waited:?}")]
    Timeout {
        /// What was waited for.
        what: String,
        /// How long.
        waited: Duration,
    },

    /// It can not be done in this state, or with this value.
    #[error("{0}")]
    Refused(String),

    /// A file or a process could not be handled.
    #[error("{what}")]
    Io {
        /// What was tried.
        what: String,
        #[source]
        /// What the system said.
        source: io::Error,
    },

    /// The API server refused, or was not reached.
    #[error("{what}")]
    Api {
        /// What was tried.
        what: String,
        #[source]
        /// What kube said.
        source: Box<kube::Error>,
    },

    /// Our own kubeconfig could not be read back.
    #[error("kubeconfig")]
    Kubeconfig(#[from] kube::config::KubeconfigError),

    /// A certificate could not be made.
    #[error("certificate")]
    Certificate(#[from] rcgen::Error),

    /// Text that should be JSON is not.
    #[error("{what}")]
    Json {
        /// Whose text.
        what: String,
        #[source]
        /// Where it stops being JSON.
        source: serde_json::Error,
    },
}

/// What helps to find out why a program did not do what it should.
#[derive(Clone, Debug)]
pub struct Run {
    /// The command, as one would type it.
    pub command: String,
    /// The whole log; gone with the directory unless `CCM_ENVTEST_KEEP` is set.
    pub log: PathBuf,
    /// The last lines of the log.
    pub tail: String,
}

impl fmt::Display for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "  command: {}", self.command)?;
        write!(f, "  log: {}", self.log.display())?;
        for line in self.tail.lines() {
            write!(f, "\n  | {line}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")?;
        let mut cause = self.source();
        while let Some(err) = cause {
            write!(f, ": {err}")?;
            cause = err.source();
        }
        Ok(())
    }
}

impl Error {
    /// Whether somebody else took a port between our picking it and the program's binding it.
    pub(crate) fn is_port_taken(&self) -> bool {
        matches!(self, Self::Exited { run, .. } if run.tail.contains("address already in use"))
    }
}

/// Says what was tried, which the error of the system does not know.
pub(crate) trait Context<T> {
    /// Wraps the error; `what` is only put together when there is one.
    fn context(self, what: impl FnOnce() -> String) -> Result<T, Error>;
}

impl<T> Context<T> for io::Result<T> {
    fn context(self, what: impl FnOnce() -> String) -> Result<T, Error> {
        self.map_err(|source| Error::Io { what: what(), source })
    }
}

impl<T> Context<T> for rustix::io::Result<T> {
    fn context(self, what: impl FnOnce() -> String) -> Result<T, Error> {
        self.map_err(|source| Error::Io { what: what(), source: source.into() })
    }
}

impl<T> Context<T> for kube::Result<T> {
    fn context(self, what: impl FnOnce() -> String) -> Result<T, Error> {
        self.map_err(|source| Error::Api { what: what(), source: Box::new(source) })
    }
}

impl<T> Context<T> for serde_json::Result<T> {
    fn context(self, what: impl FnOnce() -> String) -> Result<T, Error> {
        self.map_err(|source| Error::Json { what: what(), source })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_unwrap_prints_names_every_cause_once() {
        let err = Err::<(), _>(io::Error::other("disk is full"))
            .context(|| "writing the record".to_owned())
            .unwrap_err();
        assert_eq!(format!("{err:?}"), "writing the record: disk is full");
    }

    #[test]
    fn a_missing_program_says_what_to_install_or_set() {
        let err = Error::Missing { program: "etcd", reason: "go is not on PATH".into() };
        let text = err.to_string();
        for part in ["no etcd", "go is not on PATH", "Go 1.26", "KUBEBUILDER_ASSETS"] {
            assert!(text.contains(part), "{part} not in {text}");
        }
    }
}
