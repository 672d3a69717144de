//! The floors of `cargo xtask bench`: bare clients that send what has to be sent and nothing else.
//! Whatever a controller does, it cannot be cheaper than this against the same API server.

mod cloud;
mod nodes;
mod services;
mod share;

use std::fmt::Display;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use kube::api::PatchParams;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use serde_json::Value;

/// Whatever went wrong.
type Error = Box<dyn std::error::Error>;

/// By what we are known, to the API server and to the cloud.
const NAME: &str = "bench-floor";

/// The floors of the benchmarks.
#[derive(Parser)]
struct Cli {
    #[command(subcommand)]
    of: Of,
}

#[derive(Subcommand)]
enum Of {
    Nodes(nodes::Flags),
    Services(services::Flags),
}

/// What all of them are told.
#[derive(Args)]
struct Common {
    /// Credentials.
    #[arg(long)]
    kubeconfig: PathBuf,
    /// Objects seen to at once.
    #[arg(long)]
    concurrency: usize,
}

impl Common {
    async fn client(&self) -> Result<Client, Error> {
        let kubeconfig = Kubeconfig::read_from(&self.kubeconfig)?;
        let options = KubeConfigOptions::default();
        let mut config = Config::from_custom_kubeconfig(kubeconfig, &options).await?;
        config.default_retry = false;
        Ok(Client::try_from(config)?)
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    let done = match Cli::parse().of {
        Of::Nodes(flags) => nodes::run(flags).await,
        Of::Services(flags) => services::run(flags).await,
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(err) => {
            complain(format_args!("error: {err}"));
            ExitCode::FAILURE
        }
    }
}

/// Says what went wrong; the log is shown when the benchmark fails.
fn complain(text: impl Display) {
    use std::io::Write;
    let _ = writeln!(std::io::stderr(), "{text}");
}

fn params() -> PatchParams {
    PatchParams { field_manager: Some(NAME.to_owned()), ..PatchParams::default() }
}

/// Sends a write, of whose answer no more is wanted than the metadata.
async fn send(client: &Client, mut request: http::Request<Vec<u8>>) -> Result<(), kube::Error> {
    let only_metadata = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1";
    let accept = http::HeaderValue::from_static(only_metadata);
    request.headers_mut().insert(http::header::ACCEPT, accept);
    client.request::<Value>(request).await.map(|_| ())
}
