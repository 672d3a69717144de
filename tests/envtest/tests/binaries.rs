//! The programs are what they are said to be, wherever they come from.

use std::process::Command;

use ccm_envtest::{
    Binary,
    binaries::{ETCD_VERSION, HELM_VERSION, KUBERNETES_VERSION},
};
use rstest::rstest;

#[rstest]
#[case::etcd(Binary::Etcd, &["--version"], ETCD_VERSION)]
#[case::apiserver(Binary::KubeApiserver, &["--version"], KUBERNETES_VERSION)]
#[ignore = "minutes when it has to be built"]
#[case::kubectl(Binary::Kubectl, &["version", "--client"], KUBERNETES_VERSION)]
#[ignore = "minutes when it has to be built"]
#[case::controller_manager(Binary::KubeControllerManager, &["--version"], KUBERNETES_VERSION)]
#[ignore = "minutes when it has to be built"]
#[case::helm(Binary::Helm, &["version", "--short"], HELM_VERSION)]
#[ignore = "minutes when it has to be built"]
#[case::scheduler(Binary::KubeScheduler, &["--version"], KUBERNETES_VERSION)]
#[ignore = "minutes when it has to be built"]
#[case::kubelet(Binary::Kubelet, &["--version"], KUBERNETES_VERSION)]
#[tokio::test]
async fn a_program_is_of_the_version(
    #[case] binary: Binary,
    #[case] args: &[&str],
    #[case] version: &str,
) {
    let path = binary.locate().await.unwrap();
    assert_eq!(path.file_name().and_then(|name| name.to_str()), Some(binary.name()));
    let output = Command::new(&path).args(args).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    // To the minor version: what is given may be another patch.
    let (minor, _) = version.rsplit_once('.').unwrap();
    assert!(output.status.success() && text.contains(minor), "{}: {text}", path.display());
}
