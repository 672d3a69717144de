//! What was typed of the endpoints: names, defaults and help.

#![expect(clippy::struct_field_names, reason = "fields bear the flags' names")]

use std::ffi::OsString;

use clap::{ArgAction, Args};

#[derive(Debug, Args)]
#[command(next_help_heading = "Secure serving flags")]
pub(in crate::app::flags) struct Serving {
    /// Address to serve HTTPS on; 0.0.0.0 or :: for all addresses of both families
    #[arg(long, value_name = "IP", default_value = "0.0.0.0")]
    pub(super) bind_address: String,

    /// Port to serve HTTPS on; 0 for no HTTPS at all
    #[arg(long, value_name = "PORT", default_value = "10258")]
    pub(super) secure_port: String,

    /// Directory to keep a self-signed certificate in, as cloud-controller-manager.crt and .key, and
    /// to use it from while it is valid; without it the certificate is made anew at each start. Of no
    /// effect with --tls-cert-file
    #[arg(long, value_name = "DIR", default_value = "", hide_default_value = true)]
    pub(super) cert_dir: OsString,

    /// Certificate to serve with, PEM, followed by those that lead to its authority; read again when
    /// it changes. Without it a self-signed one is made
    #[arg(long, value_name = "FILE", default_value = "", hide_default_value = true)]
    pub(super) tls_cert_file: OsString,

    /// Private key of --tls-cert-file, PEM; read again when it changes
    #[arg(long, value_name = "FILE", default_value = "", hide_default_value = true)]
    pub(super) tls_private_key_file: OsString,

    /// Certificate and key for clients that ask for certain names, which are the certificate's own
    /// where none are given; the flag may be given several times
    #[arg(long, value_name = "CERT,KEY[:NAMES]", action = ArgAction::Append)]
    pub(super) tls_sni_cert_key: Vec<String>,

    /// The oldest version of TLS to speak: `VersionTLS12` or `VersionTLS13`; `VersionTLS10` and
    /// `VersionTLS11` stand for `VersionTLS12`, which is the oldest there is. Empty: `VersionTLS12`
    #[arg(long, value_name = "VERSION", default_value = "", hide_default_value = true)]
    pub(super) tls_min_version: String,

    /// Cipher suites by Go's names, separated by commas; all that there are without it. As in Go
    /// they count for TLS 1.2: all suites of TLS 1.3 are always offered
    #[arg(long, value_name = "NAMES", action = ArgAction::Append)]
    pub(super) tls_cipher_suites: Vec<String>,

    /// Key exchanges by Go's numbers, separated by commas: 23 (P-256), 24 (P-384), 29 (X25519), 4588
    /// (`X25519MLKEM768`), 4587 (`SecP256r1MLKEM768`); all but the last without it
    #[arg(long, value_name = "NUMBERS", action = ArgAction::Append)]
    pub(super) tls_curve_preferences: Vec<String>,

    /// Serve HTTP/1.1 alone
    #[arg(
        long,
        value_name = "BOOL",
        default_value = "false",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true"
    )]
    pub(super) disable_http2_serving: String,

    /// Requests that one HTTP/2 connection may have under way; 0 stands for 100
    #[arg(long, value_name = "NUMBER", default_value = "0")]
    pub(super) http2_max_streams_per_connection: String,

    /// Share the port with other processes that ask for the same (`SO_REUSEPORT`)
    #[arg(
        long,
        value_name = "BOOL",
        default_value = "false",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true"
    )]
    pub(super) permit_port_sharing: String,

    /// Without effect: `SO_REUSEADDR` is always set, as Go sets it
    #[arg(
        long,
        value_name = "BOOL",
        default_value = "false",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true"
    )]
    pub(super) permit_address_sharing: String,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Authentication flags")]
pub(in crate::app::flags) struct Authentication {
    /// Kubeconfig file of whoever asks the API server whose a token is, and reads its settings of
    /// authentication; without it the credentials of --kubeconfig, or those of the pod (upstream:
    /// those of the pod, and otherwise no tokens are accepted)
    #[arg(long, value_name = "FILE", default_value = "", hide_default_value = true)]
    pub(super) authentication_kubeconfig: OsString,

    /// How long the API server's answer about a token is good for; 0 to ask each time
    #[arg(long, value_name = "DURATION", default_value = "10s")]
    pub(super) authentication_token_webhook_cache_ttl: String,

    /// Do not read the authorities of clients and of front proxies from the cluster
    #[arg(
        long,
        value_name = "BOOL",
        default_value = "false",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true"
    )]
    pub(super) authentication_skip_lookup: String,

    /// Go on without those authorities where the cluster refuses to show them; otherwise the process
    /// ends
    #[arg(
        long,
        value_name = "BOOL",
        default_value = "false",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true"
    )]
    pub(super) authentication_tolerate_lookup_failure: String,

    /// Authorities whose certificates say who a client is, PEM; read again when it changes. Without
    /// it the cluster's: `client-ca-file` of the `ConfigMap` kube-system/extension-apiserver-authentication
    #[arg(long, value_name = "FILE", default_value = "", hide_default_value = true)]
    pub(super) client_ca_file: OsString,

    /// Authorities of front proxies, PEM; read again when it changes. Without it all settings of
    /// front proxies are the cluster's, and the other --requestheader flags have no effect
    #[arg(long, value_name = "FILE", default_value = "", hide_default_value = true)]
    pub(super) requestheader_client_ca_file: OsString,

    /// Common names of front proxies' certificates, separated by commas; any without it
    #[arg(long, value_name = "NAMES", action = ArgAction::Append)]
    pub(super) requestheader_allowed_names: Vec<String>,

    /// Headers in which a front proxy names the user, the first that is there counts
    #[arg(
        long,
        value_name = "HEADERS",
        default_value = "x-remote-user",
        action = ArgAction::Append
    )]
    pub(super) requestheader_username_headers: Vec<String>,

    /// Headers in which a front proxy gives the user's UID; none without it
    #[arg(long, value_name = "HEADERS", action = ArgAction::Append)]
    pub(super) requestheader_uid_headers: Vec<String>,

    /// Headers in which a front proxy names the user's groups
    #[arg(
        long,
        value_name = "HEADERS",
        default_value = "x-remote-group",
        action = ArgAction::Append
    )]
    pub(super) requestheader_group_headers: Vec<String>,

    /// Beginnings of headers in which a front proxy says more about the user
    #[arg(
        long,
        value_name = "PREFIXES",
        default_value = "x-remote-extra-",
        action = ArgAction::Append
    )]
    pub(super) requestheader_extra_headers_prefix: Vec<String>,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Authorization flags")]
pub(in crate::app::flags) struct Authorization {
    /// Kubeconfig file of whoever asks the API server what a client may do; without it the
    /// credentials of --kubeconfig, or those of the pod (upstream: those of the pod, and otherwise
    /// everything is forbidden)
    #[arg(long, value_name = "FILE", default_value = "", hide_default_value = true)]
    pub(super) authorization_kubeconfig: OsString,

    /// How long the answer that a client may is good for; 0 to ask each time
    #[arg(long, value_name = "DURATION", default_value = "10s")]
    pub(super) authorization_webhook_cache_authorized_ttl: String,

    /// How long the answer that a client may not is good for; 0 to ask each time
    #[arg(long, value_name = "DURATION", default_value = "10s")]
    pub(super) authorization_webhook_cache_unauthorized_ttl: String,

    /// Paths that everybody may ask for, separated by commas; a trailing * stands for any rest
    #[arg(
        long,
        value_name = "PATHS",
        default_value = "/healthz,/readyz,/livez",
        action = ArgAction::Append
    )]
    pub(super) authorization_always_allow_paths: Vec<String>,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Debugging flags")]
pub(in crate::app::flags) struct Debugging {
    /// Serve /debug/flags/v, which changes the log's verbosity while the process runs (upstream:
    /// true, and Go's profiles besides, which there are none of here)
    #[arg(
        long,
        value_name = "BOOL",
        default_value = "false",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true"
    )]
    pub(super) profiling: String,

    /// Without effect: there are no profiles
    #[arg(
        long,
        value_name = "BOOL",
        default_value = "false",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true"
    )]
    pub(super) contention_profiling: String,
}
