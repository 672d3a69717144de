//! A name server that knows one name.

use std::net::{Ipv4Addr, SocketAddr};

use tokio::net::UdpSocket;
use tokio::task::JoinHandle;

use crate::Error;

/// The length of the header that questions and answers begin with.
const HEADER: usize = 12;

/// An IPv4 address, of the Internet.
const TYPE_A: [u8; 4] = [0, 1, 0, 1];

/// A running server, which ends with this.
#[derive(Debug)]
pub(super) struct Names(JoinHandle<()>);

impl Names {
    /// Answers at `address` that `name` is this machine, and that no other name is anything.
    pub(super) async fn serve(address: Ipv4Addr, name: &'static str) -> Result<Self, Error> {
        let at = SocketAddr::from((address, 53));
        let socket = UdpSocket::bind(at).await.map_err(|err| format!("{at}: {err}"))?;
        Ok(Self(tokio::spawn(async move {
            let mut question = [0; 512];
            while let Ok((length, from)) = socket.recv_from(&mut question).await {
                if let Some(answer) = answer(&question[..length], name) {
                    // Whoever asks asks again.
                    drop(socket.send_to(&answer, from).await);
                }
            }
        })))
    }
}

impl Drop for Names {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// <https://www.rfc-editor.org/rfc/rfc1035#section-4>
fn answer(message: &[u8], known: &str) -> Option<Vec<u8>> {
    let id = message.get(..2)?;
    let (name, end) = question(message)?;
    let kind = message.get(end..end + 4)?;
    let is_known = name.eq_ignore_ascii_case(known);
    // Of another kind there is nothing, and of another name not even that.
    let answers = u8::from(is_known && kind == TYPE_A);
    let code = if is_known { 0 } else { 3 };
    let mut answer = Vec::from(id);
    answer.extend([0x81, 0x80 | code, 0, 1, 0, answers, 0, 0, 0, 0]);
    answer.extend(message.get(HEADER..end + 4)?);
    if answers == 1 {
        let name_is_above = [0xc0, 0x0c];
        answer.extend(name_is_above.iter().chain(&TYPE_A).chain(&[0, 0, 0, 60, 0, 4]));
        answer.extend(Ipv4Addr::LOCALHOST.octets());
    }
    Some(answer)
}

/// The name that is asked for, and where it ends.
fn question(message: &[u8]) -> Option<(String, usize)> {
    let mut labels = Vec::new();
    let mut at = HEADER;
    loop {
        let length = usize::from(*message.get(at)?);
        at += 1;
        if length == 0 {
            return Some((labels.join("."), at));
        }
        labels.push(std::str::from_utf8(message.get(at..at + length)?).ok()?);
        at += length;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_name_has_one_address() {
        let ask = |name: &[u8], kind: u8| {
            let mut message = vec![7, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
            message.extend(name);
            message.extend([0, kind, 0, 1]);
            answer(&message, "a.test").unwrap()
        };
        assert!(ask(b"\x01A\x04test\0", 1).ends_with(&[0, 4, 127, 0, 0, 1]));
        let of_another_kind = ask(b"\x01a\x04test\0", 28);
        assert_eq!((of_another_kind[3] & 15, of_another_kind[7]), (0, 0));
        let of_another_name = ask(b"\x01b\x04test\0", 1);
        assert_eq!((of_another_name[3] & 15, of_another_name[7]), (3, 0));
        assert!(answer(b"short", "a.test").is_none());
    }
}
