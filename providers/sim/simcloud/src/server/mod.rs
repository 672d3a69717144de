//! The cloud as a server.

mod app;
mod call;
mod control;
mod problem;
mod routes;
mod saver;
mod tokens;
mod wire;

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::get;
use secrecy::SecretString;
use thiserror::Error;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::api::{PieceKind, Settings, path};
use crate::calls::CallBook;
use crate::persist;
use crate::persist::StateFileError;
use crate::settings;
use crate::state::Cloud;

pub use tokens::{BadToken, Token};

use app::{App, Core};
use problem::Problem;
use tokens::TokenBook;
use wire::{Wire, Wires};

/// How long calls may take to end when the cloud stops.
const GRACE: Duration = Duration::from_secs(5);

/// The largest body: a `batchCreate` to its limit, with tags and labels.
const MAX_BODY: usize = 64 << 20;

/// What a cloud is started with.
#[derive(Clone, Debug)]
pub struct Config {
    /// Address to listen on; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Whether the address may be other than a loopback one.
    pub allow_remote: bool,
    /// Tokens of the cloud's API.
    pub tokens: Vec<Token>,
    /// The token of the control API.
    pub control_token: SecretString,
    /// Where the state is kept; without it, the cloud forgets everything when it stops.
    pub state_file: Option<PathBuf>,
    /// How the cloud behaves at first.
    pub settings: Settings,
    /// What chance is drawn from.
    pub seed: u64,
    /// Calls that the log keeps.
    pub call_log_capacity: usize,
}

impl Config {
    /// A cloud on a free port of the loopback, with this one token, called `default`.
    pub fn new(token: impl Into<String>, control_token: impl Into<String>) -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            allow_remote: false,
            tokens: vec![Token::new("default", token)],
            control_token: SecretString::from(control_token.into()),
            state_file: None,
            settings: Settings::default(),
            seed: 0,
            call_log_capacity: 100_000,
        }
    }
}

/// Why a cloud does not start.
#[derive(Debug, Error)]
pub enum StartError {
    /// Tokens would travel in the clear.
    #[error("{0} is not a loopback address, and remote callers are not allowed")]
    Remote(SocketAddr),
    /// The address is taken, or not ours.
    #[error("cannot listen on {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A token cannot be used.
    #[error(transparent)]
    Token(#[from] BadToken),
    /// The control token is empty, or a token of the cloud's API as well.
    #[error("the control token must not be empty, and none of the other tokens")]
    ControlToken,
    /// A setting makes no sense; the text names it.
    #[error("{0}")]
    Setting(String),
    /// The state file cannot be used.
    #[error(transparent)]
    StateFile(#[from] StateFileError),
}

/// The cloud.
#[derive(Debug)]
pub struct SimCloud;

/// A cloud that runs. Dropping it ends it without waiting for anybody.
#[derive(Debug)]
pub struct Running {
    /// Where it listens.
    pub address: SocketAddr,
    task: JoinHandle<io::Result<()>>,
    saver: Option<JoinHandle<Result<(), StateFileError>>>,
    closing: DropGuard,
    wires: DropGuard,
    saving: DropGuard,
}

impl SimCloud {
    /// Starts a cloud on the current runtime; it serves when this returns.
    pub async fn start(config: Config) -> Result<Running, StartError> {
        let app = Arc::new(build(&config)?);
        let listener = listen(&config).await?;
        let address = listener
            .local_addr()
            .map_err(|source| StartError::Listen { address: config.listen, source })?;

        let wires = CancellationToken::new();
        let saving = CancellationToken::new();
        let saver = config
            .state_file
            .map(|path| tokio::spawn(saver::run(Arc::clone(&app), path, saving.clone())));
        let service = router(Arc::clone(&app)).into_make_service_with_connect_info::<Wire>();
        let serving = axum::serve(Wires::new(listener, wires.clone()), service)
            .with_graceful_shutdown(app.closing.clone().cancelled_owned());
        let task = tokio::spawn(serving.into_future());
        tracing::info!(%address, "serving");
        Ok(Running {
            address,
            closing: app.closing.clone().drop_guard(),
            task,
            saver,
            wires: wires.drop_guard(),
            saving: saving.drop_guard(),
        })
    }
}

fn build(config: &Config) -> Result<App, StartError> {
    settings::check(&config.settings).map_err(|bad| StartError::Setting(bad.to_string()))?;
    let mut tokens = TokenBook::default();
    for token in &config.tokens {
        tokens.add(token.clone())?;
    }
    let control = secrecy::ExposeSecret::expose_secret(&config.control_token);
    if control.is_empty() || tokens.name_of(control).is_some() {
        return Err(StartError::ControlToken);
    }
    let cloud = match &config.state_file {
        None => Cloud::new(config.seed),
        Some(path) => {
            let cloud = persist::load(path, config.seed)?;
            // A file that cannot be written is better found now than after the first change.
            persist::save(path, &cloud.snapshot())?;
            let load_balancers = cloud.pieces.len(PieceKind::LoadBalancer);
            tracing::info!(instances = cloud.fleet.len(), load_balancers, "state loaded");
            cloud
        }
    };
    let calls = CallBook::new(config.call_log_capacity);
    let core = Core::new(cloud, config.settings.clone(), tokens, calls, config.seed);
    Ok(App::new(core, config.control_token.clone(), config.state_file.is_some()))
}

async fn listen(config: &Config) -> Result<TcpListener, StartError> {
    let address = config.listen;
    if !address.ip().is_loopback() && !config.allow_remote {
        return Err(StartError::Remote(address));
    }
    TcpListener::bind(address).await.map_err(|source| StartError::Listen { address, source })
}

fn router(app: Arc<App>) -> Router {
    Router::new()
        .merge(routes::router())
        .merge(control::router())
        .route(path::HEALTH, get(|| async { "ok\n" }))
        .fallback(async || Problem::unknown_path())
        .method_not_allowed_fallback(async || Problem::method_not_allowed())
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .with_state(app)
}

impl Running {
    /// The address as the start of a URL.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Takes no more calls, lets those in flight end, saves and ends. Calls that hang are cut at
    /// once, others after five seconds.
    pub async fn stop(self) -> Result<(), StateFileError> {
        let Self { mut task, saver, closing, wires, saving, .. } = self;
        drop(closing);
        if tokio::time::timeout(GRACE, &mut task).await.is_err() {
            tracing::warn!("calls cut that did not end");
            task.abort();
        }
        drop(wires);
        drop(saving);
        if let Some(saver) = saver {
            saver.await.expect("saving does not panic")?;
        }
        tracing::info!("stopped");
        Ok(())
    }
}
