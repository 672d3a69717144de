//! kubectl, as a person has it.

use std::path::{Path, PathBuf};

use ccm_envtest::Binary;
use ccm_node::Error;
use tokio::process::Command;

#[derive(Debug)]
pub(crate) struct Kubectl {
    program: PathBuf,
    kubeconfig: PathBuf,
}

impl Kubectl {
    pub(crate) async fn new(kubeconfig: &Path) -> Result<Self, Error> {
        let program = Binary::Kubectl.locate().await?;
        Ok(Self { program, kubeconfig: kubeconfig.to_owned() })
    }

    /// What it printed. An error if it does not succeed.
    pub(crate) async fn run(&self, args: &[&str]) -> Result<String, Error> {
        let output = Command::new(&self.program)
            .args(args)
            .env("KUBECONFIG", &self.kubeconfig)
            .kill_on_drop(true)
            .output()
            .await?;
        let printed = String::from_utf8_lossy(&output.stdout).into_owned();
        if output.status.success() {
            return Ok(printed);
        }
        let said = String::from_utf8_lossy(&output.stderr);
        Err(format!("kubectl {}: {}", args.join(" "), said.trim()).into())
    }
}
