//! Flags of the Go programs that mean nothing here: accepted, so that a command line goes on
//! working, and warned about, so that nobody counts on them.

use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches};

use super::go;

/// Heading of these flags in help and book.
pub(super) const HEADING: &str = "Flags without effect";

/// How a flag takes its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Takes {
    /// `--flag`, `--flag=true` or `--flag=false`.
    Boolean,
    /// `--flag=value` or `--flag value`.
    Value,
}

use Takes::{Boolean, Value};

const RESYNC: &str = "nothing is read from the cluster again that the watch has told";
const ENCODING: &str = "the API server is asked for JSON";
const LOG: &str = "the log goes to stderr, line by line, at once";
const WEBHOOKS: &str = "there are no webhooks";

/// Name, value, why it has no effect.
const IGNORED: [(&str, Takes, &str); 36] = [
    ("add-dir-header", Boolean, LOG),
    ("alsologtostderr", Boolean, LOG),
    (
        "concurrent-node-status-updates",
        Value,
        "what the cloud says of many nodes comes in one answer; see --concurrent-node-syncs",
    ),
    ("external-cloud-volume-plugin", Value, "volumes are the business of CSI drivers"),
    ("kube-api-content-type", Value, ENCODING),
    ("log-backtrace-at", Value, LOG),
    ("log-dir", Value, LOG),
    ("log-file", Value, LOG),
    ("log-file-max-size", Value, LOG),
    ("log-flush-frequency", Value, LOG),
    ("log-json-info-buffer-size", Value, LOG),
    ("log-json-split-stream", Boolean, LOG),
    ("log-text-info-buffer-size", Value, LOG),
    ("log-text-split-stream", Boolean, LOG),
    ("logtostderr", Boolean, LOG),
    ("min-resync-period", Value, RESYNC),
    ("node-sync-period", Value, "it has none in the Go programs either"),
    ("one-output", Boolean, LOG),
    ("skip-headers", Boolean, LOG),
    ("skip-log-headers", Boolean, LOG),
    ("stderrthreshold", Value, LOG),
    ("vmodule", Value, "verbosity is for the whole program: -v"),
    ("webhook-bind-address", Value, WEBHOOKS),
    ("webhook-cert-dir", Value, WEBHOOKS),
    ("webhook-disable-http2-serving", Boolean, WEBHOOKS),
    ("webhook-http2-max-streams-per-connection", Value, WEBHOOKS),
    ("webhook-permit-address-sharing", Boolean, WEBHOOKS),
    ("webhook-permit-port-sharing", Boolean, WEBHOOKS),
    ("webhook-secure-port", Value, WEBHOOKS),
    ("webhook-tls-cert-file", Value, WEBHOOKS),
    ("webhook-tls-cipher-suites", Value, WEBHOOKS),
    ("webhook-tls-curve-preferences", Value, WEBHOOKS),
    ("webhook-tls-min-version", Value, WEBHOOKS),
    ("webhook-tls-private-key-file", Value, WEBHOOKS),
    ("webhook-tls-sni-cert-key", Value, WEBHOOKS),
    ("webhooks", Value, WEBHOOKS),
];

/// Adds these flags to the command.
pub(super) fn augment(command: clap::Command) -> clap::Command {
    command.args(IGNORED.iter().map(|&(name, takes, why)| {
        let arg = Arg::new(name)
            .long(name)
            .help(format!("Without effect: {why}"))
            .help_heading(HEADING)
            .action(ArgAction::Append);
        match takes {
            Boolean => arg
                .value_name("BOOL")
                .num_args(0..=1)
                .require_equals(true)
                .default_missing_value("true"),
            Value => arg.value_name("VALUE"),
        }
    }))
}

/// Flags of ours that ask for what is not there. By their names in the matches.
const UNHEARD: [(&str, &str); 2] = [
    ("contention_profiling", "there are no profiles"),
    ("permit_address_sharing", "SO_REUSEADDR is always set, as Go sets it"),
];

/// What front proxies say in which header, which counts where their authorities are given here.
const OF_FRONT_PROXIES: [&str; 5] = [
    "requestheader_allowed_names",
    "requestheader_extra_headers_prefix",
    "requestheader_group_headers",
    "requestheader_uid_headers",
    "requestheader_username_headers",
];

/// One warning for each flag that was typed and has no effect.
pub(super) fn warnings(matches: &ArgMatches) -> Vec<String> {
    let is_typed = |name: &str| matches.value_source(name) == Some(ValueSource::CommandLine);
    let typed = IGNORED.iter().filter(|(name, ..)| is_typed(name));
    let ignored = typed.map(|(name, _, why)| (*name, *why));
    let is_on = |name: &str| {
        matches.get_one::<String>(name).and_then(|text| go::boolean(text)).unwrap_or_default()
    };
    let unheard = UNHEARD.into_iter().filter(|(name, _)| is_on(name));
    let authorities = matches.get_raw("requestheader_client_ca_file").into_iter().flatten();
    let has_authorities = authorities.into_iter().any(|path| !path.is_empty());
    let of_front_proxies =
        OF_FRONT_PROXIES.into_iter().filter(|name| !has_authorities && is_typed(name));
    let why =
        "without --requestheader-client-ca-file all settings of front proxies are the cluster's";
    let all = ignored.chain(unheard).chain(of_front_proxies.map(|name| (name, why)));
    all.map(|(name, why)| format!("--{} has no effect: {why}", name.replace('_', "-"))).collect()
}
