//! How the endpoints are served.

use std::path::Path;

use ccm_e2e::{LONG, SOON, Setup, World, run, wait_until};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Writes a new pair for this name into `dir`, and gives the certificate.
fn pair(dir: &Path, name: &str) -> String {
    std::fs::create_dir_all(dir).unwrap();
    let made = rcgen::generate_simple_self_signed(vec![name.to_owned()]).unwrap();
    std::fs::write(dir.join("tls.crt"), made.cert.pem()).unwrap();
    std::fs::write(dir.join("tls.key"), made.signing_key.serialize_pem()).unwrap();
    made.cert.pem()
}

#[test]
fn a_certificate_is_followed_as_kubelets_replace_it() {
    run(async {
        let mut world = World::start().await;
        let dir = world.control_plane().dir().join("serving-certificates");
        let first = pair(&dir.join("..1"), "ccm.example.com");
        let second = pair(&dir.join("..2"), "ccm.example.com");
        let named = pair(&dir.join("named"), "named.example.com");
        std::os::unix::fs::symlink("..1", dir.join("..data")).unwrap();
        let at = |name: &str| dir.join("..data").join(name).display().to_string();
        let at_named = |name: &str| dir.join("named").join(name).display().to_string();
        let setup = Setup::new()
            .serving()
            .flag(format!("--tls-cert-file={}", at("tls.crt")))
            .flag(format!("--tls-private-key-file={}", at("tls.key")))
            .flag(format!("--tls-sni-cert-key={},{}", at_named("tls.crt"), at_named("tls.key")));
        let mut ccm = world.ccm(&setup);
        ccm.ask("/healthz").await;
        let asker = ccm.stranger();
        let first = asker.clone().by_name("ccm.example.com").trusting(&first);
        let second = asker.clone().by_name("ccm.example.com").trusting(&second);
        let named = asker.by_name("named.example.com").trusting(&named);
        assert_eq!(first.get("/healthz").await.unwrap().status, 200);
        assert_eq!(named.get("/healthz").await.unwrap().status, 200);
        second.get("/healthz").await.unwrap_err();

        std::fs::write(dir.join("..1/tls.key"), "broken").unwrap();
        wait_until("a word about the broken key", SOON, async || {
            let log = ccm.log();
            if log.contains("certificate not usable") { Ok(()) } else { Err(log.len()) }
        })
        .await;
        assert_eq!(first.get("/healthz").await.unwrap().status, 200, "the old one goes on");

        std::os::unix::fs::symlink("..2", dir.join("..new")).unwrap();
        std::fs::rename(dir.join("..new"), dir.join("..data")).unwrap();
        wait_until("the new certificate", LONG, async || {
            second.get("/healthz").await.map_err(|err| format!("{err:?}"))
        })
        .await;
        first.get("/healthz").await.unwrap_err();
        assert_eq!(named.get("/healthz").await.unwrap().status, 200);
        std::fs::remove_dir_all(dir).unwrap();
    });
}

#[test]
fn old_versions_of_tls_are_refused() {
    run(async {
        let world = World::start().await;
        let mut ccm = world.ccm(&Setup::new().serving().flag("--tls-min-version=VersionTLS11"));
        ccm.ask("/healthz").await;
        assert!(ccm.log().contains("the oldest version spoken is TLS 1.2"), "{}", ccm.log());

        // A client's first words in TLS 1.1: one suite, one kind of signature.
        let mut hello = vec![3, 2];
        hello.extend([7; 32]);
        hello.extend([0, 0, 2, 0xc0, 0x13, 1, 0, 0, 8, 0, 13, 0, 4, 0, 2, 4, 3]);
        let length = u8::try_from(hello.len()).unwrap();
        let mut wire = vec![22, 3, 1, 0, length + 4, 1, 0, 0, length];
        wire.extend(hello);
        let mut stream = TcpStream::connect(("127.0.0.1", ccm.port())).await.unwrap();
        stream.write_all(&wire).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        // An alert, fatal: protocol_version.
        assert_eq!((answer[0], &answer[5..7]), (21, &[2, 70][..]), "{answer:?}");
    });
}

#[test]
fn a_certificate_that_is_kept_is_used_again() {
    run(async {
        let mut world = World::start().await;
        let dir = world.control_plane().dir().join("kept");
        let setup = Setup::new().serving().flag(format!("--cert-dir={}", dir.display()));
        let mut kept = None;
        for _ in 0..2 {
            let mut ccm = world.ccm(&setup);
            ccm.ask("/healthz").await;
            let pem = std::fs::read_to_string(dir.join("cloud-controller-manager.crt")).unwrap();
            let pem = kept.get_or_insert(pem);
            let trusting = ccm.stranger().trusting(pem);
            assert_eq!(trusting.get("/healthz").await.unwrap().status, 200);
        }
        std::fs::remove_dir_all(dir).unwrap();
    });
}
