//! Every gap that is said to be corrected is, has a test and a line in the book.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use ccm_awscloud::{AwsCloud, Correction};
use tokio::process::Command;

/// Writes the book's table instead of comparing it.
const WRITE: &str = "CCM_AWSCLOUD_WRITE_DOCS";

const BEGIN: &str = "<!-- Written by `CCM_AWSCLOUD_WRITE_DOCS=1 cargo test -p ccm-awscloud`. -->\n";
const END: &str = "<!-- End of what is written. -->\n";

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn tests() -> PathBuf {
    root().join("tests/corrections")
}

/// Runs Python's tests of this pattern; their output when they fail.
async fn run(cloud: &AwsCloud, pattern: &str) -> Result<(), String> {
    let output = Command::new(cloud.python())
        .args(["-B", "-m", "unittest", "discover", "-k", pattern])
        .current_dir(tests())
        .env("AWSCLOUD_URL", cloud.url())
        .kill_on_drop(true)
        .output()
        .await
        .unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    if output.status.success() { Ok(()) } else { Err(text) }
}

#[tokio::test]
async fn boto3_finds_what_aws_would_do() {
    let cloud = AwsCloud::start().await.unwrap();
    if let Err(text) = run(&cloud, "test").await {
        panic!("{text}\n{}", cloud.log());
    }
}

/// A minute long: run it after a change of a correction or of moto's version.
#[tokio::test]
#[ignore = "starts a fake for each correction"]
async fn no_test_passes_without_its_correction() {
    let corrections = crate::console("all").await.corrections().await.unwrap();
    let mut idle = Vec::new();
    for correction in &corrections {
        let cloud = AwsCloud::start_without(&[&correction.name]).await.unwrap();
        if run(&cloud, &test_of(correction)).await.is_ok() {
            idle.push(&correction.name);
        }
    }
    assert!(idle.is_empty(), "moto does without them: {idle:?}");
}

fn test_of(correction: &Correction) -> String {
    format!("test_{}", correction.name.replace('-', "_"))
}

#[tokio::test]
async fn every_correction_has_a_test() {
    let mut texts = String::new();
    for entry in std::fs::read_dir(tests()).unwrap().flatten() {
        if entry.path().extension().is_some_and(|extension| extension == "py") {
            texts.push_str(&std::fs::read_to_string(entry.path()).unwrap());
        }
    }
    let corrections = crate::console("all").await.corrections().await.unwrap();
    let lacks =
        |correction: &&Correction| !texts.contains(&format!("def {}(", test_of(correction)));
    let missing: Vec<_> = corrections.iter().filter(lacks).map(|found| &found.name).collect();
    assert!(missing.is_empty(), "without a test: {missing:?}");
}

#[tokio::test]
async fn the_book_has_every_correction() {
    let corrections = crate::console("all").await.corrections().await.unwrap();
    let path = root().join("../../docs/src/reference/aws-fake.md");
    let page = std::fs::read_to_string(&path).unwrap();
    let (before, rest) = page.split_once(BEGIN).unwrap();
    let (found, after) = rest.split_once(END).unwrap();
    let want = table(&corrections);
    if std::env::var_os(WRITE).is_some() {
        std::fs::write(&path, format!("{before}{BEGIN}{want}{END}{after}")).unwrap();
    } else {
        assert_eq!(found, want, "the page is stale: run the tests with {WRITE}=1");
    }
}

fn table(corrections: &[Correction]) -> String {
    let mut text = String::new();
    let mut area = "";
    for correction in corrections {
        if correction.area != area {
            area = &correction.area;
            write!(
                text,
                "\n### {area}\n\n| Name | moto alone | AWS, and this fake |\n| --- | --- | --- |\n"
            )
            .unwrap();
        }
        let Correction { name, moto, aws, .. } = correction;
        writeln!(text, "| `{name}` | {moto} | {aws} |").unwrap();
    }
    text.push('\n');
    text
}
