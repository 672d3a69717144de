//! The files of the image beside the program.

use pem::{EncodeConfig, LineEnding, Pem};
use webpki_root_certs::TLS_SERVER_ROOT_CERTS;

use super::NAME;
use super::layer::{File, Files};
use super::linked::Linked;
use super::{licences, sbom};
use crate::Error;

/// Who the program runs as: the number that images without a distribution have in common.
pub(super) const USER: u32 = 65532;

/// Where clients of the program look for the authorities that they believe. They also read other
/// files in the folder, so one more authority can be mounted beside.
pub(super) const CERTIFICATES: &str = "etc/ssl/certs/ca-certificates.crt";

/// The page with what Rust's standard library passes on, beside the other licences.
pub(super) const STD_NOTICES: &str = "COPYRIGHT-rust-std.html";

/// What the licence of the program, of its parts, and the list of them are below.
pub(super) fn documents() -> String {
    format!("usr/share/doc/{NAME}")
}

/// Everything but the program.
pub(super) fn files(linked: &Linked, licence: &str) -> Result<Files, Error> {
    let documents = documents();
    Ok([
        ("etc/group".to_owned(), File::text(format!("root:x:0:\nnonroot:x:{USER}:\n"))),
        // The C library takes names from the machine's file first, then from DNS. Its other sources
        // would have to be loaded, and there is nothing to load.
        (
            "etc/nsswitch.conf".to_owned(),
            File::text("passwd: files\ngroup: files\nhosts: files dns\n"),
        ),
        (
            "etc/passwd".to_owned(),
            File::text(format!(
                "root:x:0:0:root:/:/sbin/nologin\nnonroot:x:{USER}:{USER}:nonroot:/:/sbin/nologin\n"
            )),
        ),
        (CERTIFICATES.to_owned(), File::text(certificates())),
        (format!("{documents}/{STD_NOTICES}"), File::text(linked.std_notices.clone())),
        (format!("{documents}/LICENSE"), File::text(licence)),
        (format!("{documents}/THIRD-PARTY-LICENSES.txt"), File::text(licences::gather(linked)?)),
        (format!("{documents}/sbom.cdx.json"), File::text(sbom::write(linked)?)),
    ]
    .into())
}

/// Mozilla's authorities for servers, as pinned in `Cargo.lock`.
fn certificates() -> String {
    let lines = EncodeConfig::new().set_line_ending(LineEnding::LF);
    let certificates = TLS_SERVER_ROOT_CERTS.iter();
    let certificates = certificates.map(|it| Pem::new("CERTIFICATE", it.as_ref()));
    pem::encode_many_config(&certificates.collect::<Vec<_>>(), lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bundle_holds_every_authority() {
        let bundle = pem::parse_many(certificates()).unwrap();
        assert!(bundle.len() > 100, "{}", bundle.len());
        let whole = bundle.iter().zip(TLS_SERVER_ROOT_CERTS);
        assert!(whole.clone().count() == TLS_SERVER_ROOT_CERTS.len());
        assert!(whole.into_iter().all(|(pem, der)| pem.contents() == der.as_ref()));
    }
}
