//! How failures are passed on: errors as one line for logs, panics from task to task.

use std::error::Error;
use std::fmt;

/// An error and all its causes, outermost first, each said once.
///
/// Our own errors leave their source to the chain; kube's repeat it in their text. Both come out
/// right. Errors are logged as `error = %Chain(&err)`: passed as `&dyn Error`, the JSON format
/// would keep the outermost message alone.
#[derive(Debug)]
pub struct Chain<'a>(pub &'a (dyn Error + 'a));

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut said = self.0.to_string();
        f.write_str(&said)?;
        let mut cause = self.0.source();
        while let Some(err) = cause {
            let text = err.to_string();
            if !said.ends_with(&text) {
                write!(f, ": {text}")?;
                said = text;
            }
            cause = err.source();
        }
        Ok(())
    }
}

/// The text, cut where it is longer than `limit` bytes: what users write has hardly a bound, and what is
/// said of it has.
pub(crate) fn cut(mut text: String, limit: usize) -> String {
    if text.len() > limit {
        let mut end = limit.saturating_sub('…'.len_utf8());
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        text.truncate(end);
        text.push('…');
    }
    text
}

/// Passes a subtask's panic on to the task that waits for it, so that it ends the process as that of
/// any task does.
pub(crate) fn propagate(ended: Result<(), tokio::task::JoinError>) {
    if let Err(err) = ended
        && let Ok(panic) = err.try_into_panic()
    {
        std::panic::resume_unwind(panic);
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("lease not renewed")]
    struct Quiet(#[source] Repeating);

    #[derive(Debug, thiserror::Error)]
    #[error("request failed: {0}")]
    struct Repeating(#[source] io::Error);

    #[test]
    fn every_cause_is_said_once() {
        let err = Quiet(Repeating(io::Error::other("connection refused")));
        assert_eq!(
            Chain(&err).to_string(),
            "lease not renewed: request failed: connection refused"
        );
    }

    #[test]
    fn an_error_without_a_cause_is_its_text() {
        assert_eq!(Chain(&io::Error::other("disk full")).to_string(), "disk full");
    }
}
