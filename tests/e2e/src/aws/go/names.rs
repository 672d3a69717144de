//! Names of what the Go program makes.

use sha1::{Digest as _, Sha1};
use sha2::Sha256;

use super::asked::Asked;

/// Of the load balancer, of either kind.
pub(super) fn load_balancer(uid: &str) -> String {
    let name = format!("a{}", uid.replace('-', ""));
    name.chars().take(32).collect()
}

/// Of the security group of a Network Load Balancer.
pub(super) fn network_group(cluster_name: &str, asked: &Asked) -> String {
    let Asked { namespace, name, uid, .. } = asked;
    let hash = Sha256::digest(format!("{cluster_name}{name}{namespace}{uid}"));
    short(asked, &hash)
}

/// Of a target group. `traits`: port, node port, protocol, kind of target, protocol and interval of the
/// health check, one behind the other.
pub(super) fn target_group(cluster: &str, asked: &Asked, traits: &str) -> String {
    let Asked { namespace, name, .. } = asked;
    let hash = Sha1::digest(format!("{cluster}{namespace}{name}{traits}"));
    short(asked, &hash)
}

fn short(asked: &Asked, hash: &[u8]) -> String {
    let part = |text: &str| -> String {
        text.chars().filter(char::is_ascii_alphanumeric).take(8).collect()
    };
    let hash: Vec<_> = hash.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("k8s-{}-{}-{}", part(&asked.namespace), part(&asked.name), hash[..5].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Those that the Go program was seen to make.
    #[test]
    fn names_are_those_of_the_go_program() {
        let asked = Asked {
            namespace: "shop".to_owned(),
            name: "web-frontend".to_owned(),
            uid: "0a1b2c3d-1111-2222-3333-444455556666".to_owned(),
            ..Asked::default()
        };
        assert_eq!(load_balancer(&asked.uid), "a0a1b2c3d11112222333344445555666");
        assert_eq!(network_group("demo", &asked), "k8s-shop-webfront-d436b2bab8");
        for (traits, hash) in [
            ("44331443TCPinstanceTCP30", "257615cf7f"),
            ("44331443TCPinstanceHTTP10", "7aa77d9d40"),
            ("44331443TLSinstanceTCP30", "5ca3bb1fef"),
            ("5330053UDPinstanceTCP30", "d0a482e321"),
        ] {
            let name = target_group("demo", &asked, traits);
            assert_eq!(name, format!("k8s-shop-webfront-{hash}"));
        }
    }
}
