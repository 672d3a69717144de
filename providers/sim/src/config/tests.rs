use std::env;
use std::fs;
use std::process;
use std::sync::atomic::{AtomicUsize, Ordering};

use proptest::prelude::*;
use rstest::rstest;

use super::*;

const TOKEN: &str = "sEcReT-1";

fn read(text: &str) -> Result<Config, ConfigError> {
    read_at(Path::new("/etc/sim.yaml"), text.as_bytes())
}

fn read_at(path: &Path, bytes: &[u8]) -> Result<Config, ConfigError> {
    Config::read(Some(&ConfigFile { path: path.to_owned(), bytes: bytes.to_owned() }))
}

/// A folder of this test's own that goes away with it.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let (process, number) = (process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let path = env::temp_dir().join(format!("ccm-provider-sim-{process}-{number}"));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn with(self, file: &str, text: &str) -> Self {
        fs::write(self.0.join(file), text).unwrap();
        self
    }

    fn read(&self, text: &str) -> Result<Config, ConfigError> {
        read_at(&self.0.join("sim.yaml"), text.as_bytes())
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).ok();
    }
}

#[test]
fn the_least_that_is_needed() {
    let config = read("endpoint: http://127.0.0.1:8080\ntoken: sEcReT-1\n").unwrap();
    assert_eq!(
        config.endpoint.url("/v1/instances:describe").as_str(),
        "http://127.0.0.1:8080/v1/instances:describe"
    );
    assert_eq!(config.token.expose_secret(), TOKEN);
    assert!(config.authorities.is_none());
    assert_eq!(config.cluster_id, None);
    assert_eq!(config.batch_limit.get(), 100);
    assert_eq!((&*config.route_table, config.legacy_volume_field), ("main", None));
}

#[test]
fn all_that_can_be_said_in_json() {
    let certificate = include_str!("tests/authority.pem");
    let folder = Folder::new().with("token", "  sEcReT-1\n").with("ca.pem", certificate);
    let config = folder.read(
        r#"{"endpoint": "https://cloud.example:8443/", "tokenFile": "token", "caFile": "ca.pem",
            "clusterID": "demo", "batchLimit": 7}"#,
    );
    let config = config.unwrap();
    assert_eq!(config.endpoint.url("/v1").as_str(), "https://cloud.example:8443/v1");
    assert_eq!(config.token.expose_secret(), TOKEN);
    assert_eq!(format!("{:?}", config.authorities), "Some(Authorities(1))");
    assert_eq!(config.cluster_id.as_deref(), Some("demo"));
    assert_eq!(config.batch_limit.get(), 7);
}

#[test]
fn the_token_is_not_shown() {
    let config = read("endpoint: http://[::1]:8080\ntoken: sEcReT-1\n").unwrap();
    assert!(!format!("{config:?}").contains(TOKEN), "{config:?}");
}

#[rstest]
#[case("http://127.0.0.1:8080", true)]
#[case("http://127.0.0.53", true)]
#[case("http://[::1]:8080/", true)]
#[case("http://localhost:8080", true)]
#[case("https://localhost", true)]
#[case("https://10.0.0.1", false)]
#[case("https://127.example", false)]
fn endpoints(#[case] url: &str, #[case] is_loopback: bool) {
    assert_eq!(Endpoint::parse(url).unwrap().is_loopback(), is_loopback);
}

#[test]
fn no_file_is_not_an_empty_file() {
    let err = Config::read(None).unwrap_err();
    assert_eq!(
        err.to_string(),
        "--cloud-config: must be given: a file with the keys \"endpoint\" and \"token\" or \
         \"tokenFile\" of a running simcloud"
    );
}

#[rstest]
#[case::an_empty_file("", r#", key "endpoint": is missing: the URL of a running simcloud"#)]
#[case::only_a_comment(
    "# nothing\n",
    r#", key "endpoint": is missing: the URL of a running simcloud"#
)]
#[case::no_endpoint("token: t", r#", key "endpoint": is missing: the URL of a running simcloud"#)]
#[case::an_endpoint_without_a_value(
    "token: t\nendpoint:\n",
    r#", key "endpoint": is missing: the URL of a running simcloud"#
)]
#[case::not_a_url(
    "token: t\nendpoint: cloud.example",
    r#", line 2, key "endpoint": must be https://<host>, with a port where it is not 443: relative URL without a base"#,
)]
#[case::an_empty_url(
    "token: t\nendpoint: ''",
    r#", line 2, key "endpoint": must be https://<host>, with a port where it is not 443: relative URL without a base"#,
)]
#[case::another_scheme(
    "token: t\nendpoint: ftp://cloud.example",
    r#", line 2, key "endpoint": must be https://<host>, with a port where it is not 443, not ftp:"#,
)]
#[case::no_scheme(
    "token: t\nendpoint: localhost:8080",
    r#", line 2, key "endpoint": must be https://<host>, with a port where it is not 443, not localhost:"#,
)]
#[case::a_readable_token(
    "endpoint: http://10.0.0.1:8080\ntoken: t",
    r#", line 1, key "endpoint": must be https://<host>, with a port where it is not 443: the token would be readable on the way; http:// is for loopback addresses"#,
)]
#[case::looks_like_loopback(
    "endpoint: http://127.0.0.1.example\ntoken: t",
    r#", line 1, key "endpoint": must be https://<host>, with a port where it is not 443: the token would be readable on the way; http:// is for loopback addresses"#,
)]
#[case::a_user(
    "endpoint: https://sEcReT-1@cloud.example\ntoken: t",
    r#", line 1, key "endpoint": must be https://<host>, with a port where it is not 443, without a user: the token has a key of its own"#,
)]
#[case::a_path(
    "endpoint: https://cloud.example/v1\ntoken: t",
    r#", line 1, key "endpoint": must be https://<host>, with a port where it is not 443, and nothing behind"#,
)]
#[case::a_query(
    "endpoint: https://cloud.example?token=sEcReT-1\ntoken: t",
    r#", line 1, key "endpoint": must be https://<host>, with a port where it is not 443, and nothing behind"#,
)]
#[case::no_token(
    "endpoint: https://cloud.example",
    r#", key "token": is missing: give it or "tokenFile""#
)]
#[case::two_tokens(
    "endpoint: https://cloud.example\ntoken: sEcReT-1\ntokenFile: token",
    r#", line 3, key "tokenFile": stands beside "token": give one of them"#
)]
#[case::an_empty_token(
    "endpoint: https://cloud.example\ntoken: ''",
    r#", line 2, key "token": is empty"#
)]
#[case::a_token_with_a_blank(
    "endpoint: https://cloud.example\ntoken: name sEcReT-1",
    r#", line 2, key "token": holds blanks or characters that are not ASCII"#
)]
#[case::no_such_token_file(
    "endpoint: https://cloud.example\ntokenFile: /no/such/file",
    r#", line 2, key "tokenFile": cannot read /no/such/file: No such file or directory (os error 2)"#,
)]
#[case::a_relative_token_file(
    "endpoint: https://cloud.example\ntokenFile: no-such-file",
    r#", line 2, key "tokenFile": cannot read /etc/no-such-file: No such file or directory (os error 2)"#,
)]
#[case::no_such_authorities(
    "endpoint: https://cloud.example\ntoken: t\ncaFile: /no/such/file",
    r#", line 3, key "caFile": cannot read /no/such/file: No such file or directory (os error 2)"#
)]
#[case::an_empty_cluster_id(
    "endpoint: https://cloud.example\ntoken: t\nclusterID: ''",
    r#", line 3, key "clusterID": is empty: give an ID or leave it out"#
)]
#[case::no_batch(
    "endpoint: https://cloud.example\ntoken: t\nbatchLimit: 0",
    r#", line 3, key "batchLimit": must be a whole number above 0, not "0""#
)]
#[case::a_duration_for_seconds(
    "endpoint: https://cloud.example\ntoken: t\nlagSeconds: 2s",
    r#", line 3, key "lagSeconds": must be a whole number from 0 to 300, not "2s""#
)]
#[case::a_word_for_a_number(
    "endpoint: https://cloud.example\ntoken: t\nbatchLimit: many",
    r#", line 3, key "batchLimit": must be a whole number above 0, not "many""#
)]
#[case::no_table(
    "endpoint: https://cloud.example\ntoken: t\nrouteTable: ''",
    r#", line 3, key "routeTable": must be the name of a table, not """#
)]
#[case::no_field(
    "endpoint: https://cloud.example\ntoken: t\nlegacyVolumeField: spec.cinder",
    r#", line 3, key "legacyVolumeField": must be the name of a field of a PersistentVolume, such as "cinder", not "spec.cinder""#
)]
#[case::a_typo(
    "endpoint: https://cloud.example\ntokenfile: token",
    r#", line 2, key "tokenfile": there is no such key; there are endpoint, token, tokenFile, caFile, clusterID, batchLimit, lagSeconds, routeTable, legacyVolumeField"#,
)]
#[case::a_forgotten_colon_does_not_show_the_token(
    "{endpoint: https://cloud.example, token-sEcReT-1}",
    ", line 1: there is no such key; there are endpoint, token, tokenFile, caFile, clusterID, batchLimit, lagSeconds, routeTable, legacyVolumeField"
)]
#[case::twice(
    "endpoint: https://cloud.example\ntoken: t\ntoken: u",
    r#", line 3, key "token": the key is there twice"#
)]
#[case::a_list_for_a_text(
    "token: t\nendpoint: [https://cloud.example]",
    r#", line 2: this is not YAML of the form "key: value""#
)]
#[case::a_mapping_for_a_token(
    "endpoint: https://cloud.example\ntoken:\n  value: sEcReT-1",
    r#", line 3: this is not YAML of the form "key: value""#
)]
#[case::a_bare_text("token:sEcReT-1", r#", line 1: this is not YAML of the form "key: value""#)]
#[case::a_list("- token: sEcReT-1", r#", line 1: this is not YAML of the form "key: value""#)]
#[case::not_yaml(
    "endpoint: \"https://\ntoken: sEcReT-1",
    r#", line 2: this is not YAML of the form "key: value""#
)]
#[case::half_of_json(
    r#"{"endpoint": "https://cloud.example","#,
    r#", line 1: this is not YAML of the form "key: value""#
)]
#[case::two_documents(
    "endpoint: https://cloud.example\ntoken: t\n---\ntoken: sEcReT-1",
    ", line 4: there is more than one document"
)]
#[case::ini("[Global]\ntoken = sEcReT-1", r#", line 1: this is not YAML of the form "key: value""#)]
fn mistakes(#[case] text: &str, #[case] want: &str) {
    let err = read(text).unwrap_err().in_file(Path::new("/etc/sim.yaml")).to_string();
    assert_eq!(err, format!("--cloud-config /etc/sim.yaml{want}"));
    assert!(!err.contains(TOKEN));
}

#[test]
fn what_is_not_text_is_refused() {
    let err = read_at(Path::new("sim.yaml"), b"token: \xff").unwrap_err();
    assert_eq!(err.to_string(), "--cloud-config: the file is not UTF-8");
}

#[rstest]
#[case::empty("token", " \n", "line 2, key \"tokenFile\": the file is empty")]
#[case::a_name_too(
    "token",
    "provider sEcReT-1\n",
    "line 2, key \"tokenFile\": the file holds blanks or characters that are not ASCII"
)]
#[case::a_key(
    "caFile",
    "-----BEGIN EC PRIVATE KEY-----\nAAAA\n-----END EC PRIVATE KEY-----\n",
    "line 2, key \"caFile\": the file holds no certificates in PEM form"
)]
#[case::no_pem("caFile", "", "line 2, key \"caFile\": the file holds no certificates in PEM form")]
fn mistakes_in_other_files(#[case] file: &str, #[case] text: &str, #[case] want: &str) {
    let folder = Folder::new().with(file, text);
    let rest = if file == "token" { "tokenFile: token" } else { "caFile: caFile\ntoken: t" };
    let err = folder.read(&format!("endpoint: https://cloud.example\n{rest}")).unwrap_err();
    assert_eq!(err.to_string(), format!("--cloud-config, {want}"));
}

/// A line of a configuration, right or wrong.
fn line() -> impl Strategy<Value = String> {
    let key = prop_oneof![
        5 => prop::sample::select(vec![
            "endpoint", "token", "tokenFile", "caFile", "clusterID", "batchLimit", "lagSeconds",
            "routeTable", "legacyVolumeField",
        ])
        .prop_map(str::to_owned),
        1 => "\\PC{0,12}",
    ];
    let value = prop_oneof![
        Just("http://127.0.0.1:8080".to_owned()),
        Just("-9223372036854775809".to_owned()),
        "[ -~]{0,20}",
        "\\PC{0,20}",
        Just("&a [*a, *a]".to_owned()),
        Just("!!binary x".to_owned()),
    ];
    let colon = prop::sample::select(vec![": ", ":", " ", ": |\n  ", ": >\n", ":\t"]);
    (key, colon, value).prop_map(|(key, colon, value)| format!("{key}{colon}{value}\n"))
}

/// What is said of a mistake: one line, without the token, with the line of the file where there is one.
fn is_helpful(outcome: Result<Config, ConfigError>, lines: usize) -> Result<(), TestCaseError> {
    let Err(err) = outcome else { return Ok(()) };
    let said = err.to_string();
    prop_assert!(!said.is_empty() && !said.contains(TOKEN), "{said:?}");
    if let Some((_, rest)) = said.split_once("line ") {
        let number: String = rest.chars().take_while(char::is_ascii_digit).collect();
        if let Ok(number) = number.parse::<usize>() {
            prop_assert!((1..=lines + 1).contains(&number), "{said:?} of {lines} lines");
        }
    }
    Ok(())
}

proptest! {
    #[test]
    fn no_bytes_are_too_odd_to_be_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let lines = bytes.iter().filter(|byte| matches!(byte, b'\n' | b'\r')).count();
        is_helpful(read_at(Path::new("/nowhere/sim.yaml"), &bytes), lines)?;
    }

    #[test]
    fn no_lines_are_too_odd_to_be_read_or_refused(lines in prop::collection::vec(line(), 0..8)) {
        let text = lines.concat();
        let count = text.chars().filter(|&c| matches!(c, '\n' | '\r' | '\u{85}' | '\u{2028}' | '\u{2029}')).count();
        is_helpful(read_at(Path::new("/nowhere/sim.yaml"), text.as_bytes()), count)?;
    }

    /// What makes no sense to a key is told with the key and the line, wherever it stands.
    #[test]
    fn a_wrong_number_is_told_with_its_key_and_line(
        before in 0_usize..20,
        key in prop::sample::select(vec!["batchLimit", "lagSeconds"]),
        value in "-[0-9]{1,30}|[a-z]{1,9}|[0-9]{1,5}\\.[0-9]{1,5}",
    ) {
        let comments = "# about nothing\n".repeat(before);
        let text = format!("endpoint: http://127.0.0.1:1\ntoken: {TOKEN}\n{comments}{key}: \"{value}\"\n");
        let said = read(&text).unwrap_err().to_string();
        prop_assert!(said.contains(key) && said.contains(&format!("line {}", before + 3)), "{said}");
    }
}
