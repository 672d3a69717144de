//! How kube-apiserver is started, and when it is ready.

use std::{path::Path, time::Duration};

use kube::{Client, core::Request};
use tokio::time::timeout;

use crate::{
    access::Credentials,
    audit,
    certificates::{Certificates, write_private},
    control_plane::Options,
    error::{Context, Error},
    instance::Instance,
    process::{Launch, Process},
};

/// How long one look may take.
const PROBE: Duration = Duration::from_secs(5);

pub(crate) fn start(
    program: &Path,
    args: &[String],
    instance: &mut Instance,
) -> Result<Process, Error> {
    Process::start(&Launch { name: "kube-apiserver", program, args }, instance)
}

pub(crate) fn args(
    options: &Options,
    certificates: &Certificates,
    dir: &Path,
    etcd_url: &str,
    secure_port: u16,
) -> Vec<String> {
    let file = |flag: &str, path: &Path| format!("--{flag}={}", path.display());
    let mut args = vec![
        format!("--etcd-servers={etcd_url}"),
        "--bind-address=127.0.0.1".to_owned(),
        "--advertise-address=127.0.0.1".to_owned(),
        format!("--secure-port={secure_port}"),
        // A loopback address is not valid in Endpoints.
        "--endpoint-reconciler-type=none".to_owned(),
        "--authorization-mode=Node,RBAC".to_owned(),
        "--allow-privileged=true".to_owned(),
        "--service-cluster-ip-range=10.96.0.0/16".to_owned(),
        // Without it a shutdown waits a minute for watches to end, which they do not.
        "--shutdown-watch-termination-grace-period=1s".to_owned(),
        file("client-ca-file", &certificates.ca_file),
        file("tls-cert-file", &certificates.server_file),
        file("tls-private-key-file", &certificates.server_key_file),
        // Without these `extension-apiserver-authentication` is incomplete, and whoever reads it warns at each resync.
        file("requestheader-client-ca-file", &certificates.front_proxy_ca_file),
        "--requestheader-allowed-names=front-proxy-client".to_owned(),
        "--requestheader-username-headers=X-Remote-User".to_owned(),
        "--requestheader-group-headers=X-Remote-Group".to_owned(),
        "--requestheader-extra-headers-prefix=X-Remote-Extra-".to_owned(),
        // Tokens of service accounts: signed and checked with one pair of keys.
        "--service-account-issuer=https://kubernetes.default.svc.cluster.local".to_owned(),
        file("service-account-key-file", &certificates.service_account_public_key_file),
        file("service-account-signing-key-file", &certificates.service_account_key_file),
    ];
    if options.audit {
        args.extend([
            file("audit-policy-file", &dir.join(audit::POLICY_FILE)),
            file("audit-log-path", &dir.join(audit::LOG_FILE)),
            // Requests do not wait for the file. A batch is one event and is written at once.
            "--audit-log-mode=batch".to_owned(),
            // Beyond this many waiting events the API server drops some, and counts would be wrong.
            "--audit-log-batch-buffer-size=200000".to_owned(),
            // One file, whatever its size.
            "--audit-log-maxsize=0".to_owned(),
        ]);
    }
    args.extend(options.apiserver_args.iter().cloned());
    args
}

/// What lets it reach kubelets.
pub(crate) fn kubelet_args(
    certificates: &Certificates,
    dir: &Path,
    client: Credentials,
) -> Result<Vec<String>, Error> {
    let Credentials::Certificate { certificate_pem, key_pem } = client else {
        return Err(Error::Refused("a kubelet takes certificates".to_owned()));
    };
    let certificate = write_private(dir, "kubelet-client.crt", &certificate_pem)?;
    let key = write_private(dir, "kubelet-client.key", &key_pem)?;
    Ok(vec![
        format!("--kubelet-client-certificate={}", certificate.display()),
        format!("--kubelet-client-key={}", key.display()),
        format!("--kubelet-certificate-authority={}", certificates.ca_file.display()),
        // Names of nodes are nowhere to be looked up.
        "--kubelet-preferred-address-types=InternalIP".to_owned(),
    ])
}

/// Whether it says that it is ready.
pub(crate) async fn ready(probe: &Client) -> Result<(), Error> {
    let what = || "asking /readyz".to_owned();
    let request = Request::new("").get("readyz", &kube::api::GetParams::default());
    let request = request.map_err(kube::Error::BuildRequest).context(what)?;
    match timeout(PROBE, probe.request_text(request)).await {
        Ok(answer) => answer.context(what).map(drop),
        Err(_) => Err(Error::Timeout { what: "an answer to /readyz".to_owned(), waited: PROBE }),
    }
}
