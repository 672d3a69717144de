use std::collections::HashMap;

use rstest::rstest;

use super::*;

const AGENT: &str = "cloud-controller-manager/v0.0.0 (linux/amd64) ccm-rs";
const SECRET: &str = "VerySecret";

/// A directory of a test's own, gone with the value.
struct Dir(PathBuf);

impl Dir {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("ccm-client-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        std::fs::write(&path, text).unwrap();
        path
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).unwrap();
    }
}

fn load(
    kubeconfig: Option<&Path>,
    master: Option<&str>,
    env: &[(&str, &str)],
    service_account: &Path,
) -> Result<ClusterConfig, ConfigError> {
    let env: HashMap<&str, &str> = env.iter().copied().collect();
    let get = |name: &str| env.get(name).map(|text| (*text).to_owned());
    let around = Surroundings { env: &get, service_account, option: "--kubeconfig" };
    ClusterConfig::load_from(kubeconfig, master, AGENT, &around)
}

fn certificate() -> String {
    rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap().cert.pem()
}

fn kubeconfig(cluster: &str, user: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: c\n\
         contexts: [{{name: c, context: {{cluster: k, user: u}}}}]\n\
         clusters: [{{name: k, cluster: {{{cluster}}}}}]\n\
         users: [{{name: u, user: {{{user}}}}}]\n"
    )
}

#[rstest]
#[case::as_kubelets_set_it("10.96.0.1", "443", "https://10.96.0.1:443/")]
#[case::ipv6("fd00::1", "6443", "https://[fd00::1]:6443/")]
#[case::by_name("api.example.org", "6443", "https://api.example.org:6443/")]
fn a_pod_finds_its_server(#[case] host: &str, #[case] port: &str, #[case] want: &str) {
    let pod = Dir::new(&format!("pod-{port}-{}", host.len()));
    pod.write("ca.crt", &certificate());
    pod.write("token", SECRET);
    pod.write("namespace", "kube-system");
    let env = [
        ("KUBERNETES_SERVICE_HOST", host),
        ("KUBERNETES_SERVICE_PORT", port),
        ("HTTPS_PROXY", "http://proxy:3128"),
    ];
    // An empty flag is a flag not given.
    let config = load(Some(Path::new("")), Some(""), &env, &pod.0).unwrap();
    assert_eq!(config.server().to_string(), want);
    assert_eq!(config.base.default_namespace, "kube-system");
    assert_eq!(
        config.base.root_cert_file,
        Some(pod.0.join("ca.crt")),
        "or a new CA needs a restart"
    );
    assert_eq!(config.token_file, Some(pod.0.join("token")));
    assert_eq!(config.base.proxy_url, Some(Uri::from_static("http://proxy:3128")));
    assert!(!format!("{config:?}").contains(SECRET));
}

#[rstest]
#[case::no_pod(&[], "KUBERNETES_SERVICE_HOST is not set")]
#[case::half_a_pod(&[("KUBERNETES_SERVICE_HOST", "10.96.0.1")], "KUBERNETES_SERVICE_PORT is not set")]
#[case::no_service_account(
    &[("KUBERNETES_SERVICE_HOST", "10.96.0.1"), ("KUBERNETES_SERVICE_PORT", "443")],
    "/nowhere/ca.crt: No such file or directory (os error 2)",
)]
fn outside_a_pod_the_error_says_what_is_missing(
    #[case] env: &[(&str, &str)],
    #[case] missing: &str,
) {
    let err = load(None, None, env, Path::new("/nowhere")).unwrap_err().to_string();
    assert!(err.contains("--kubeconfig"), "{err}");
    assert!(err.ends_with(missing), "{err}");
}

#[rstest]
#[case::by_itself(
    None,
    "server: 'https://10.0.0.1:6443', tls-server-name: api",
    "https://10.0.0.1:6443/",
    Some("api")
)]
#[case::overridden(
    Some("https://10.0.0.2:6443"),
    "server: 'https://10.0.0.1:6443', tls-server-name: api",
    "https://10.0.0.2:6443/",
    None
)]
#[case::without_a_scheme(
    Some("10.0.0.2:8080"),
    "server: 'https://10.0.0.1:6443'",
    "http://10.0.0.2:8080/",
    None
)]
#[case::without_a_scheme_but_with_tls(
    Some("10.0.0.2:6443"),
    "insecure-skip-tls-verify: true",
    "https://10.0.0.2:6443/",
    None
)]
fn a_kubeconfig_names_the_server_and_master_overrides_it(
    #[case] master: Option<&str>,
    #[case] cluster: &str,
    #[case] server: &str,
    #[case] tls_name: Option<&str>,
) {
    let dir = Dir::new(&format!("file-{}", cluster.len() + master.map_or(0, str::len)));
    let path = dir.write("kubeconfig", &kubeconfig(cluster, &format!("token: {SECRET}")));
    let config = load(Some(&path), master, &[], Path::new("/nowhere")).unwrap();
    assert_eq!(config.server().to_string(), server);
    assert_eq!(config.base.tls_server_name.as_deref(), tls_name);
    assert!(!format!("{config:?}").contains(SECRET));
}

#[test]
fn a_certificate_authority_beside_the_kubeconfig_is_found_and_read_again() {
    let dir = Dir::new("ca");
    let ca = dir.write("ca.pem", &certificate());
    let path = dir
        .write("kubeconfig", &kubeconfig("server: 'https://h', certificate-authority: ca.pem", ""));
    let config = load(Some(&path), None, &[], Path::new("/nowhere")).unwrap();
    assert_eq!(config.base.root_cert.as_ref().map(Vec::len), Some(1));
    assert_eq!(config.base.root_cert_file, Some(ca));
}

#[test]
fn master_alone_is_enough() {
    let config = load(None, Some("http://127.0.0.1:8080"), &[], Path::new("/nowhere")).unwrap();
    assert_eq!(config.server().to_string(), "http://127.0.0.1:8080/");
}

/// A proxy in the kubeconfig is meant for this cluster: the environment does not take it back.
#[test]
fn a_proxy_in_the_kubeconfig_wins() {
    let dir = Dir::new("proxy");
    let path =
        dir.write("kubeconfig", &kubeconfig("server: 'https://h', proxy-url: 'http://p:1'", ""));
    let env = [("NO_PROXY", "*"), ("HTTPS_PROXY", "http://other:2")];
    let config = load(Some(&path), None, &env, Path::new("/nowhere")).unwrap();
    assert_eq!(config.base.proxy_url, Some(Uri::from_static("http://p:1")));
}

#[rstest]
#[case::not_yaml(
    "users: [{name: u, user: {token: VerySecret}}]\ncontexts: {{{",
    "--kubeconfig: {path}: not a kubeconfig: see line 2, column 11"
)]
#[case::wrong_type(
    "users:\n- {name: u, user: {token: [VerySecret]}}",
    "--kubeconfig: {path}: not a kubeconfig: see line 2, column 27"
)]
#[case::empty("", "--kubeconfig: {path}: no current-context")]
#[case::no_such_context(
    "current-context: gone",
    "--kubeconfig: {path}: context \"gone\" does not exist"
)]
#[case::no_such_cluster(
    "current-context: c\ncontexts: [{name: c, context: {cluster: gone, user: u}}]",
    "--kubeconfig: {path}: cluster \"gone\" does not exist"
)]
#[case::no_server(&kubeconfig("", ""), "--kubeconfig: {path}: the cluster has no server")]
#[case::odd_server(
    &kubeconfig("server: 'ftp://me:VerySecret@h'", ""), "--kubeconfig: {path}: \"h\" is not a server's URL",
)]
#[case::bad_base64(
    &kubeconfig("server: 'https://h', certificate-authority-data: '***'", ""),
    "--kubeconfig: {path}: certificate-authority-data is not base64",
)]
#[case::no_certificate(
    &kubeconfig("server: 'https://h', certificate-authority-data: bm9uZQ==", ""),
    "--kubeconfig: {path}: the certificate authority is not a PEM certificate",
)]
#[case::no_certificate_file(
    &kubeconfig("server: 'https://h', certificate-authority: /nowhere/ca", ""),
    "--kubeconfig: cannot read /nowhere/ca",
)]
#[case::proxy_with_a_password(
    &kubeconfig("server: 'https://h', proxy-url: 'socks5://me:VerySecret@p'", ""),
    "--kubeconfig: {path}: proxy-url: only http:// and https:// proxies are supported",
)]
fn a_bad_kubeconfig_is_described_without_being_quoted(#[case] text: &str, #[case] want: &str) {
    let dir = Dir::new(&format!("bad-{}-{}", text.len(), want.len()));
    let path = dir.write("kubeconfig", text);
    let err = load(Some(&path), None, &[], Path::new("/nowhere")).unwrap_err();
    assert_eq!(err.to_string(), want.replace("{path}", &path.display().to_string()));
    assert!(!format!("{err:?}").contains(SECRET));
}

/// The server is that of `--master`; all else is the file's, and so are its mistakes.
#[rstest]
#[case::in_the_file(
    "--kubeconfig",
    Some("https://h"),
    "server: 'https://k', certificate-authority-data: '***'",
    "--kubeconfig: {path}: certificate-authority-data is not base64"
)]
#[case::in_the_address(
    "--kubeconfig",
    Some("ftp://h"),
    "server: 'https://k'",
    "--master: \"ftp://h\" is not a server's URL"
)]
#[case::of_another_option(
    "--authentication-kubeconfig",
    None,
    "server: 'https://k', proxy-url: 'socks5://p'",
    "--authentication-kubeconfig: {path}: proxy-url: only http:// and https:// proxies are supported"
)]
fn a_mistake_is_laid_to_whom_it_is_of(
    #[case] option: &'static str,
    #[case] master: Option<&str>,
    #[case] cluster: &str,
    #[case] want: &str,
) {
    let dir = Dir::new(&format!("whose-{}-{}", option.len(), cluster.len()));
    let path = dir.write("kubeconfig", &kubeconfig(cluster, ""));
    let around = Surroundings { env: &|_| None, service_account: Path::new("/nowhere"), option };
    let err = ClusterConfig::load_from(Some(&path), master, AGENT, &around).unwrap_err();
    assert_eq!(err.to_string(), want.replace("{path}", &path.display().to_string()));
}

#[test]
fn a_missing_kubeconfig_is_named() {
    let path = Path::new("/nowhere/kubeconfig");
    let err = load(Some(path), None, &[], Path::new("/nowhere")).unwrap_err();
    assert_eq!(err.to_string(), "--kubeconfig: cannot read /nowhere/kubeconfig");
    assert_eq!(err.source().unwrap().to_string(), "No such file or directory (os error 2)");
}

#[rstest]
#[case::no_token_file("tokenFile: /nowhere/token", "tokenFile: cannot read /nowhere/token")]
#[case::key_without_certificate(
    "client-key-data: VmVyeVNlY3JldA==",
    "cannot make Kubernetes client \"node-controller\": "
)]
#[case::not_a_key(
    "client-certificate-data: bm9uZQ==, client-key-data: VmVyeVNlY3JldA==",
    "cannot make Kubernetes client \"node-controller\": "
)]
#[case::a_plugin_that_says_nonsense(
    "exec: {apiVersion: client.authentication.k8s.io/v1, command: echo, args: ['{VerySecret'], interactiveMode: Never}",
    "cannot make Kubernetes client \"node-controller\": the credential plugin's output is not an ExecCredential"
)]
#[case::a_plugin_that_fails(
    "exec: {apiVersion: client.authentication.k8s.io/v1, command: sh, args: ['-c', 'echo VerySecret; exit 3'], interactiveMode: Never}",
    "cannot make Kubernetes client \"node-controller\": the credential plugin failed with exit status: 3"
)]
fn credentials_that_cannot_be_used_are_described_without_being_quoted(
    #[case] user: &str,
    #[case] want: &str,
) {
    let dir = Dir::new(&format!("user-{}", user.len()));
    let path = dir.write("kubeconfig", &kubeconfig("server: 'https://h'", user));
    let config = load(Some(&path), None, &[], Path::new("/nowhere")).unwrap();
    let err = config.client("node-controller").err().unwrap();
    assert!(err.to_string().starts_with(want), "{err}");
    assert!(!format!("{err:?} {err}").contains(SECRET), "{err:?}");
}
