//! `cargo xtask kubectl`: a kubectl that is fit for the demo's API server, for who has none.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::process::Command;

use ccm_envtest::Binary;

use crate::Error;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// What kubectl is given
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARGS")]
    args: Vec<OsString>,
}

/// Becomes kubectl.
pub(crate) async fn run(args: Args) -> Result<(), Error> {
    let kubectl = Binary::Kubectl.locate().await?;
    Err(Command::new(kubectl).args(args.args).exec().into())
}
