//! Ports that nobody uses at the moment.

use std::net::{Ipv4Addr, TcpListener};

use crate::error::{Context, Error};

/// Picks different ports by binding them all, then letting go.
///
/// Somebody else may take one before the program binds it. Neither program can be handed a bound socket, so whoever
/// starts them has to be ready to begin again.
pub(crate) fn pick<const N: usize>() -> Result<[u16; N], Error> {
    let mut held = Vec::with_capacity(N);
    let mut ports = [0; N];
    for port in &mut ports {
        let what = || "picking a port".to_owned();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context(what)?;
        *port = listener.local_addr().context(what)?.port();
        held.push(listener);
    }
    Ok(ports)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_differ_and_are_free() {
        let [a, b] = pick::<2>().unwrap();
        assert_ne!(a, b);
        let _listener = TcpListener::bind((Ipv4Addr::LOCALHOST, a)).unwrap();
    }
}
