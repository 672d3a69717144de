//! The `simcloud` program.

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::io;
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use simcloud::api::{Latency, PieceKind, RateLimit, Settings};
use simcloud::{Config, SimCloud, StartError, StateFileError, Token};
use thiserror::Error;
use tokio::signal::unix::{SignalKind, signal};
use tracing::level_filters::LevelFilter;

/// Holds the cloud's token where no file is given.
const TOKEN: &str = "SIMCLOUD_TOKEN";

/// Holds the control token where no file is given.
const CONTROL_TOKEN: &str = "SIMCLOUD_CONTROL_TOKEN";

/// A small cloud with an HTTP API, for demos and tests.
///
/// Tokens come from files or from the environment (`SIMCLOUD_TOKEN`, `SIMCLOUD_CONTROL_TOKEN`),
/// never from the command line, which everybody on the machine can read.
#[derive(Debug, Parser)]
#[command(name = "simcloud", version)]
struct Flags {
    /// Address to listen on; port 0 takes a free one
    #[arg(long, default_value = "127.0.0.1:0", value_name = "ADDRESS")]
    listen: SocketAddr,

    /// Allow an address other than a loopback one, although tokens travel in the clear
    #[arg(long)]
    allow_remote: bool,

    /// File with the tokens of the cloud's API, one a line: the token, or a name and the token
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,

    /// File with the token of the control API
    #[arg(long, value_name = "FILE")]
    control_token_file: Option<PathBuf>,

    /// File that keeps the state over a restart
    #[arg(long, value_name = "FILE")]
    state_file: Option<PathBuf>,

    /// IDs and names that one describe may carry, targets that one call may change, routes it may make
    #[arg(long, default_value_t = 100, value_name = "COUNT")]
    batch_limit: usize,

    /// Instances or pieces on one page of a list
    #[arg(long, default_value_t = 100, value_name = "COUNT")]
    page_limit: usize,

    /// Time that every call takes
    #[arg(long, default_value = "0ms", value_name = "DURATION", value_parser = millis)]
    latency: u64,

    /// Up to this much more, drawn for every call
    #[arg(long, default_value = "0ms", value_name = "DURATION", value_parser = millis)]
    latency_jitter: u64,

    /// Calls a second, reads and writes apart; 0 is no limit
    #[arg(long, default_value_t = 100.0, value_name = "COUNT")]
    rate: f64,

    /// Calls at once after a pause, reads and writes apart
    #[arg(long, default_value_t = 200, value_name = "COUNT")]
    burst: u32,

    /// For how long reads do not show a change
    #[arg(long, default_value = "0ms", value_name = "DURATION", value_parser = millis)]
    consistency_delay: u64,

    /// How long an instance is pending, stopping or terminating
    #[arg(long, default_value = "0ms", value_name = "DURATION", value_parser = millis)]
    transition_delay: u64,

    /// How long a terminated instance stays visible; 0s: it vanishes at once
    #[arg(long, default_value = "1h", value_name = "DURATION", value_parser = millis)]
    terminated_retention: u64,

    /// How long a load balancer is provisioning, or deleting
    #[arg(long, default_value = "0ms", value_name = "DURATION", value_parser = millis)]
    load_balancer_delay: u64,

    /// How long a target is registering, or draining
    #[arg(long, default_value = "0ms", value_name = "DURATION", value_parser = millis)]
    target_delay: u64,

    /// What chance is drawn from: jitter, shares of faults, UUIDs
    #[arg(long, default_value_t = 0, value_name = "NUMBER")]
    seed: u64,

    /// File to write the URL to once the cloud serves
    #[arg(long, value_name = "FILE")]
    print_address_file: Option<PathBuf>,

    /// What is logged on stderr: off, error, warn, info, debug or trace
    #[arg(long, default_value = "info", value_name = "LEVEL")]
    log_level: LevelFilter,
}

#[derive(Debug, Error)]
enum Failure {
    #[error("cannot read the token file {}", path.display())]
    TokenFile { path: PathBuf, source: io::Error },
    #[error("line {line} of the token file {} must be a token, or a name and a token", path.display())]
    TokenLine { path: PathBuf, line: usize },
    #[error("no {what}: give {flag} or set {variable}")]
    NoToken { what: &'static str, flag: &'static str, variable: &'static str },
    #[error("the cloud does not start")]
    Start(#[from] StartError),
    #[error("cannot write the address to {}", path.display())]
    AddressFile { path: PathBuf, source: io::Error },
    #[error("cannot say on stdout that the cloud is ready")]
    Stdout(#[source] io::Error),
    #[error("cannot wait for signals")]
    Signals(#[source] io::Error),
    #[error("cannot start the runtime")]
    Runtime(#[source] io::Error),
    #[error("the cloud stopped, and its last state is lost")]
    Stop(#[from] StateFileError),
}

fn main() -> ExitCode {
    let flags = Flags::parse();
    tracing_subscriber::fmt()
        .with_writer(io::stderr)
        .with_max_level(flags.log_level)
        .with_ansi(false)
        .init();
    match run(flags) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            // Where stderr is gone, the exit code has to do.
            let _ = writeln!(io::stderr(), "simcloud: {}", chain(&failure));
            ExitCode::FAILURE
        }
    }
}

fn run(flags: Flags) -> Result<(), Failure> {
    let address_file = flags.print_address_file.clone();
    let config = config(flags)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        // Enough to be busy elsewhere while the state is written, and no more.
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(Failure::Runtime)?;
    runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate()).map_err(Failure::Signals)?;
        let mut interrupt = signal(SignalKind::interrupt()).map_err(Failure::Signals)?;
        let running = SimCloud::start(config).await?;
        announce(&running.url(), address_file.as_deref())?;
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        running.stop().await?;
        Ok(())
    })
}

fn config(flags: Flags) -> Result<Config, Failure> {
    let rate = RateLimit { per_second: flags.rate, burst: flags.burst };
    let load_balancer_delay =
        BTreeMap::from([(PieceKind::LoadBalancer, flags.load_balancer_delay)]);
    let settings = Settings {
        batch_limit: flags.batch_limit,
        page_limit: flags.page_limit,
        latency: Latency { fixed_ms: flags.latency, jitter_ms: flags.latency_jitter },
        read_rate: rate,
        write_rate: rate,
        consistency_delay_ms: flags.consistency_delay,
        transition_delay_ms: flags.transition_delay,
        terminated_retention_ms: flags.terminated_retention,
        creation_delay_ms: load_balancer_delay.clone(),
        deletion_delay_ms: load_balancer_delay,
        target_delay_ms: flags.target_delay,
        ..Settings::default()
    };
    let tokens = match &flags.token_file {
        Some(path) => read_tokens(path)?,
        None => vec![Token::new("default", from_environment("token", "--token-file", TOKEN)?)],
    };
    let control_token = match &flags.control_token_file {
        Some(path) => read(path)?.trim().to_owned(),
        None => from_environment("control token", "--control-token-file", CONTROL_TOKEN)?,
    };
    Ok(Config {
        listen: flags.listen,
        allow_remote: flags.allow_remote,
        tokens,
        state_file: flags.state_file,
        settings,
        seed: flags.seed,
        ..Config::new("", control_token)
    })
}

fn from_environment(
    what: &'static str,
    flag: &'static str,
    variable: &'static str,
) -> Result<String, Failure> {
    let value = env::var(variable).unwrap_or_default();
    if value.is_empty() { Err(Failure::NoToken { what, flag, variable }) } else { Ok(value) }
}

/// One token a line: the first may stand without a name and is then called `default`.
fn read_tokens(path: &Path) -> Result<Vec<Token>, Failure> {
    let text = read(path)?;
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let tokens = lines.map(|(index, line)| {
        let words: Vec<_> = line.split_whitespace().collect();
        match words[..] {
            [secret] => Ok(Token::new("default", secret)),
            [name, secret] => Ok(Token::new(name, secret)),
            _ => Err(Failure::TokenLine { path: path.to_owned(), line: index + 1 }),
        }
    });
    let tokens = tokens.collect::<Result<Vec<_>, _>>()?;
    if tokens.is_empty() {
        return Err(Failure::TokenLine { path: path.to_owned(), line: 1 });
    }
    Ok(tokens)
}

fn read(path: &Path) -> Result<String, Failure> {
    fs::read_to_string(path).map_err(|source| Failure::TokenFile { path: path.to_owned(), source })
}

/// Says where the cloud is: to whoever reads the file, and to whoever reads stdout.
fn announce(url: &str, file: Option<&Path>) -> Result<(), Failure> {
    if let Some(path) = file {
        let mut beside = path.as_os_str().to_owned();
        beside.push(".tmp");
        fs::write(&beside, format!("{url}\n"))
            .and_then(|()| fs::rename(&beside, path))
            .map_err(|source| Failure::AddressFile { path: path.to_owned(), source })?;
    }
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "simcloud ready on {url}")
        .and_then(|()| stdout.flush())
        .map_err(Failure::Stdout)
}

fn millis(text: &str) -> Result<u64, String> {
    let duration: Duration = text.parse::<humantime::Duration>().map_err(|e| e.to_string())?.into();
    u64::try_from(duration.as_millis()).map_err(|_| "too long".to_owned())
}

/// An error with its causes, each once.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let said = error.to_string();
        if !text.ends_with(&said) {
            text = format!("{text}: {said}");
        }
        cause = error.source();
    }
    text
}
