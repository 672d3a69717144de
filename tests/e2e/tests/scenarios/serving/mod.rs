//! The HTTPS endpoints: who may ask for what, how they are served, what they say.

mod access;
mod pages;
mod tls;

use ccm_e2e::{Answer, Asker, Ccm, SOON, Setup, World, wait_until};

/// One that serves, with these flags, and knows whose certificates count.
async fn serving(world: &World, flags: &[&str]) -> Ccm {
    let setup = flags.iter().fold(Setup::new().serving(), |setup, flag| setup.flag(*flag));
    let mut ccm = world.ccm(&setup);
    ccm.ask("/metrics").await;
    ccm
}

/// Waits until the path is answered with this status.
async fn answered(asker: &Asker, path: &str, status: u16) -> Answer {
    wait_until(&format!("{status} from {path}"), SOON, async || {
        let answer = asker.get(path).await.map_err(|err| format!("{err:?}"))?;
        if answer.status == status { Ok(answer) } else { Err(format!("{answer:?}")) }
    })
    .await
}
