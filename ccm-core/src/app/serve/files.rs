//! Files that others replace while the process runs.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use sha2::{Digest as _, Sha256};
use tokio::task::spawn_blocking;
use tokio::time::sleep;

/// From one look to the next. Contents are compared, so a swapped symbolic link, as kubelets make
/// them, is seen like any other change; a few files of a few KiB cost nothing. Upstream's watches
/// fall back to a look each minute.
pub(super) const LOOK: Duration = Duration::from_secs(5);

/// What a file has, or why it cannot be read.
pub(super) type Content = Result<Vec<u8>, io::Error>;

/// Some files, and what was last in them: digests, because they hold keys.
pub(super) struct Files {
    paths: Vec<PathBuf>,
    seen: Option<Vec<Option<Digest>>>,
}

type Digest = [u8; 32];

impl Files {
    pub(super) fn new(paths: Vec<PathBuf>) -> Self {
        Self { paths, seen: None }
    }

    /// What the files have now, in their order.
    pub(super) async fn read(&mut self) -> Vec<Content> {
        let paths = self.paths.clone();
        let read = move || paths.iter().map(std::fs::read).collect::<Vec<_>>();
        let contents = spawn_blocking(read).await.unwrap_or_else(|err| {
            self.paths.iter().map(|_| Err(io::Error::other(err.to_string()))).collect()
        });
        self.seen = Some(seen(&contents));
        contents
    }

    /// Waits until a file has changed since they were last read, and gives them all. May be dropped
    /// and called again.
    pub(super) async fn changed(&mut self) -> Vec<Content> {
        if self.paths.is_empty() {
            std::future::pending::<()>().await;
        }
        loop {
            sleep(LOOK).await;
            let before = self.seen.take();
            let contents = self.read().await;
            if before != Some(seen(&contents)) {
                return contents;
            }
        }
    }
}

fn seen(contents: &[Content]) -> Vec<Option<Digest>> {
    contents.iter().map(|content| Some(Sha256::digest(content.as_ref().ok()?).into())).collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use tokio::time::timeout;

    use super::*;

    #[tokio::test]
    async fn a_swapped_link_is_a_change() {
        let dir = std::env::temp_dir().join(format!("ccm-files-{}", std::process::id()));
        for (folder, text) in [("a", "old"), ("b", "new")] {
            std::fs::create_dir_all(dir.join(folder)).unwrap();
            std::fs::write(dir.join(folder).join("tls.crt"), text).unwrap();
        }
        symlink(dir.join("a"), dir.join("data")).unwrap();
        let mut files = Files::new(vec![dir.join("data/tls.crt")]);
        assert_eq!(files.read().await[0].as_ref().unwrap(), b"old");

        tokio::time::pause();
        timeout(LOOK * 10, files.changed()).await.expect_err("nothing has changed");
        symlink(dir.join("b"), dir.join("new")).unwrap();
        std::fs::rename(dir.join("new"), dir.join("data")).unwrap();
        let contents = timeout(LOOK * 10, files.changed()).await.expect("a change");
        assert_eq!(contents[0].as_ref().unwrap(), b"new");

        std::fs::remove_dir_all(&dir).unwrap();
        let contents = timeout(LOOK * 10, files.changed()).await.expect("a change");
        contents[0].as_ref().unwrap_err();
    }
}
