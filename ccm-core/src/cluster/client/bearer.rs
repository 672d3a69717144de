//! Bearer tokens from a file that is replaced now and then, as a pod's projected token is.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use http::{HeaderValue, Request, header};
use kube::client::Body;
use tokio::time::Instant;
use tower::{Layer, Service};
use tracing::debug;

/// As client-go. Kubelets replace a token when 20 % of its life, ten minutes at least, are left.
const REREAD: Duration = Duration::from_mins(1);

/// Adds `Authorization: Bearer …` to every request.
#[derive(Clone)]
pub(super) struct TokenFile(Arc<Shared>);

struct Shared {
    path: PathBuf,
    last: Mutex<(HeaderValue, Instant)>,
}

impl TokenFile {
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let last = Mutex::new((read(path)?, Instant::now()));
        Ok(Self(Arc::new(Shared { path: path.to_owned(), last })))
    }

    /// The token as last read. One that cannot be read again stays in use: some hand the file over
    /// at start and then remove it. <https://github.com/kubernetes/kubernetes/issues/68164>
    fn header(&self, now: Instant) -> HeaderValue {
        let mut last = self.0.last.lock().unwrap_or_else(PoisonError::into_inner);
        if now.saturating_duration_since(last.1) >= REREAD {
            last.1 = now;
            match read(&self.0.path) {
                Ok(header) => last.0 = header,
                Err(err) => {
                    debug!(path = %self.0.path.display(), error = %err, "token not read again");
                }
            }
        }
        last.0.clone()
    }
}

fn read(path: &Path) -> io::Result<HeaderValue> {
    let text = std::fs::read_to_string(path)?;
    // Those who write it by hand leave a newline at its end.
    let token = text.trim();
    if token.is_empty() {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "the token in it is empty"));
    }
    let mut header = HeaderValue::try_from(format!("Bearer {token}"))
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "there is no token in it"))?;
    header.set_sensitive(true);
    Ok(header)
}

impl<S> Layer<S> for TokenFile {
    type Service = Bearer<S>;

    fn layer(&self, inner: S) -> Bearer<S> {
        Bearer { token: self.clone(), inner }
    }
}

pub(super) struct Bearer<S> {
    token: TokenFile,
    inner: S,
}

impl<S: Service<Request<Body>>> Service<Request<Body>> for Bearer<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, ctx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(ctx)
    }

    fn call(&mut self, mut request: Request<Body>) -> S::Future {
        let header = self.token.header(Instant::now());
        request.headers_mut().insert(header::AUTHORIZATION, header);
        self.inner.call(request)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replaced_token_is_read_within_a_minute_and_a_removed_one_is_kept() {
        let dir = std::env::temp_dir().join(format!("ccm-bearer-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let path = dir.join("token");
        std::fs::write(&path, "first\n").unwrap();
        let token = TokenFile::open(&path).unwrap();
        let start = token.0.last.lock().unwrap().1;

        std::fs::write(&path, "second").unwrap();
        assert_eq!(token.header(start + REREAD / 2), "Bearer first");
        assert_eq!(token.header(start + REREAD), "Bearer second");

        std::fs::remove_dir_all(&dir).unwrap();
        assert_eq!(token.header(start + REREAD * 3), "Bearer second");
    }

    #[test]
    fn an_empty_file_is_no_token() {
        let path = std::env::temp_dir().join(format!("ccm-bearer-empty-{}", std::process::id()));
        std::fs::write(&path, "\n").unwrap();
        let err = TokenFile::open(&path).err().unwrap();
        std::fs::remove_file(&path).unwrap();
        assert_eq!(err.to_string(), "the token in it is empty");
    }
}
