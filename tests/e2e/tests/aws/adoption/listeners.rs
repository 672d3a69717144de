//! Listeners that are to be others than the Go program has made. There is no way to leave them that its
//! owner would want, so the takeover puts them right, in place; the plan says so before.

use ccm_e2e::{Aws, Go, World, run};
use serde_json::json;

use super::classic::certificate;
use super::{Case, LONG, Takeover, adopt, quiet};

/// Lays these out and takes them over, which makes these calls and changes no other lines than those about
/// the ports.
async fn put_right(world: &World<Aws>, cases: &[Case], calls: &[&str], ports: &[&str]) {
    let takeover = Takeover::of(world, &Go::default()).await;
    takeover.lay_out(cases).await;
    let planned = takeover.planned().await;
    assert_eq!(planned.len(), calls.len(), "{planned:?}");
    let before = world.cloud.lines().await;
    let _ccm = world.ccm(&takeover.setup);
    world.all_ready(LONG).await;
    quiet(world).await;
    let mut done = world.cloud.changed(0).await;
    done.sort();
    assert_eq!(done, calls);
    let after = world.cloud.lines().await;
    let gone = before.iter().filter(|line| !after.contains(line));
    let come = after.iter().filter(|line| !before.contains(line));
    for line in gone.chain(come) {
        // With the first change comes our mark.
        let is_expected = line.contains(": tags ") || ports.iter().any(|it| line.contains(it));
        assert!(is_expected, "{line}");
    }
    takeover.changed(cases).await;
    takeover.comes_back(cases).await;
}

/// The certificate came later. The Go program tries to make a second listener for the port, at each
/// sync.
#[test]
fn a_certificate_for_a_port_that_is_served() {
    run(async {
        let world = World::aws(&[]).await;
        world.go_nodes(2, &[]).await;
        let certificate = certificate(&world).await;
        let cases = [Case::network("tls", &[]).ports(&[443]).later("ssl-cert", json!(certificate))];
        put_right(&world, &cases, &["AddTags ", "ModifyListener "], &["listener 443 "]).await;
    });
}

/// The Go program takes what is behind the comma for a name that no port has. Such a port goes on without
/// TLS, which may end at the pods, until its owner changes the Service.
#[test]
fn blanks_among_ports_that_speak_tls() {
    run(async {
        let world = World::aws(&[]).await;
        world.go_nodes(2, &[]).await;
        let certificate = certificate(&world).await;
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
