//! What can go wrong, told so that a developer knows what to do next.

use std::{fmt, io, time::Duration};

use crate::api::Refusal;

/// Why there is no fake AWS, or why it did not do what it was asked.
///
/// `Debug` prints what a report would: nearly every caller is a test that unwraps.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// It is not installed and cannot be.
    #[error(
        "no moto: {reason}. Install Python 3.10 or newer with its venv and pip modules (on Debian: \
         python3-venv); PyPI is asked for the packages once, then they are cached"
    )]
    Missing {
        /// What stands in the way.
        reason: String,
    },
    /// Python was there and did not install it.
    #[error("installing moto failed ({status}): {command}\n{output}")]
    Install {
        /// How the command ended.
        status: String,
        /// The command, as one would type it.
        command: String,
        /// The last lines that it wrote.
        output: String,
    },
    /// It ended, or did not come up.
    #[error("the fake AWS {what}\n{log}")]
    Process {
        /// What became of it.
        what: String,
        /// The last lines that it wrote.
        log: String,
    },
    /// It did not come up in time.
    #[error("the fake AWS was not ready within {waited:?}\n{log}")]
    NotReady {
        /// How long it was given.
        waited: Duration,
        /// The last lines that it wrote.
        log: String,
    },
    /// A file or a process could not be handled.
    #[error("{what}: {source}")]
    Io {
        /// What was tried.
        what: String,
        /// What the system said.
        source: io::Error,
    },
    /// The control side was asked for something that it does not do.
    #[error("{path} was answered {status}: {text}")]
    Control {
        /// What was asked.
        path: String,
        /// The HTTP status.
        status: u16,
        /// What it said.
        text: String,
    },
    /// AWS refused what the operator asked for.
    #[error("{call}: {refusal}")]
    Refused {
        /// The service and the method.
        call: String,
        /// The error.
        refusal: Refusal,
    },
    /// There was no answer, or it was not what was expected.
    #[error("{what}: {source:?}")]
    Transport {
        /// What was asked.
        what: String,
        /// What the client said.
        source: reqwest::Error,
    },
    /// The answer has another shape.
    #[error("{what}: {source}")]
    Json {
        /// Whose answer.
        what: String,
        /// Where it differs.
        source: serde_json::Error,
    },
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
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
