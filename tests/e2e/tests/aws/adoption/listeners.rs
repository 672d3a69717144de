//! Listeners that are to speak TLS and do not, by what the Go program makes of annotations. They go on
//! without it, which may end at the pods, until the Service's owner changes it.

use ccm_e2e::{Go, World, run};
use serde_json::json;

use super::{Case, adopt};

/// The certificate came later. The Go program tries to make a second listener for the port, at each
/// sync.
#[test]
fn a_certificate_for_a_port_that_is_served() {
    run(async {
        let world = World::aws(&[]).await;
        world.go_nodes(2, &[]).await;
        let certificate = world.cloud.certificate().await;
        let cases = [Case::network("tls", &[])
            .ports(&[443])
            .later("ssl-cert", json!(certificate))
            .left("443")
            .ends("listener 443 TLS")];
        adopt(&world, &Go::default(), &cases).await;
    });
}

/// The Go program takes what is behind the comma for a name that no port has.
#[test]
fn blanks_among_ports_that_speak_tls() {
    run(async {
        let world = World::aws(&[]).await;
        world.go_nodes(2, &[]).await;
        let certificate = world.cloud.certificate().await;
        let tls = [("ssl-cert", certificate.as_str()), ("ssl-ports", "443, 8443")];
        let cases = [
            Case::named("classic", &tls)
                .ports(&[80, 443, 8443])
                .left("8443")
                .ends("listener 8443 SSL"),
            Case::network("network", &tls)
                .ports(&[80, 443, 8443])
                .left("8443")
                .ends("listener 8443 TLS"),
        ];
        adopt(&world, &Go::default(), &cases).await;
    });
}
