//! Keeps the state file up to date. Changes that come while it writes are written together next.

use std::path::PathBuf;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::app::{App, Saved};
use crate::persist::{StateFileError, save};

/// Saves whenever there is something to save, and once more at the end.
pub(crate) async fn run(
    app: Arc<App>,
    path: PathBuf,
    stop: CancellationToken,
) -> Result<(), StateFileError> {
    let mut on_disk = 0;
    loop {
        let stopping = tokio::select! {
            () = app.dirty.notified() => false,
            () = stop.cancelled() => true,
        };
        let (revision, snapshot) = {
            let core = app.core();
            (core.revision, core.cloud.snapshot())
        };
        let mut result = Ok(());
        if revision > on_disk {
            let path = path.clone();
            result = tokio::task::spawn_blocking(move || save(&path, &snapshot))
                .await
                .expect("saving does not panic");
            match &result {
                Ok(()) => on_disk = revision,
                Err(error) => {
                    let error = report(error);
                    tracing::error!(error, "state not saved");
                }
            }
        }
        if let Some(saved) = &app.saved {
            saved.send_replace(Saved { revision, failed: result.is_err() });
        }
        if stopping {
            return result;
        }
    }
}

/// An error with its causes.
pub(crate) fn report(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
