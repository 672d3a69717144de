//! The simulated cloud, as a process of its own.

use std::{
    io::Read,
    net::SocketAddr,
    path::Path,
    time::{Duration, Instant},
};

use ccm_envtest::{ControlPlane, Process};
use simcloud::console::Console;
use tokio::{fs, time::sleep};

use crate::Error;

const PATIENCE: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(20);

/// A running cloud.
#[derive(Debug)]
pub(crate) struct Cloud {
    pub(crate) process: Process,
    pub(crate) console: Console,
    pub(crate) address: SocketAddr,
    /// What lets a cloud-controller-manager in.
    pub(crate) token: String,
}

impl Cloud {
    /// Starts one on loopback, with a token for the cloud-controller-manager and one for us.
    pub(crate) async fn start(
        control_plane: &mut ControlPlane,
        program: &Path,
    ) -> Result<Self, Error> {
        let [token, operator, control] = [secret()?, secret()?, secret()?];
        let dir = control_plane.dir().join("cloud");
        fs::create_dir(&dir).await?;
        // The directory is its owner's alone, and so are these.
        let tokens = format!("ccm {token}\noperator {operator}\n");
        fs::write(dir.join("tokens"), tokens).await?;
        fs::write(dir.join("operator.token"), &operator).await?;
        fs::write(dir.join("control.token"), &control).await?;
        let url = dir.join("url");
        let args = [
            format!("--token-file={}", dir.join("tokens").display()),
            format!("--control-token-file={}", dir.join("control.token").display()),
            format!("--print-address-file={}", url.display()),
        ];
        let mut process = control_plane.start_beside("simcloud", program, &args)?;
        let since = Instant::now();
        let url = loop {
            match fs::read_to_string(&url).await {
                Ok(text) if text.ends_with('\n') => break text.trim().to_owned(),
                Ok(_) | Err(_) => {}
            }
            process.expect_running()?;
            if since.elapsed() > PATIENCE {
                return Err(process.not_ready(PATIENCE, "it has no address".to_owned()).into());
            }
            sleep(POLL).await;
        };
        let address = url.trim_start_matches("http://").parse()?;
        let console = Console::new(url, operator, control)?;
        Ok(Self { process, console, address, token })
    }
}

fn secret() -> Result<String, Error> {
    let mut bytes = [0; 16];
    std::fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(format!("{:032x}", u128::from_ne_bytes(bytes)))
}
