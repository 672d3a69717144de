//! `cargo xtask test`: everything that has to hold, one step after the other.

use std::io::{Read as _, Seek as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Instant;

use ccm_awscloud::AwsCloud;
use ccm_envtest::Binary;
use tokio::process::Command;

use crate::group::Group;
use crate::out::{Out, took};
use crate::signals::Signals;
use crate::{Error, build, demo, docs, in_cluster, manifests};

/// Tests that run at once. Many of them start an API server of their own, of 300 MiB.
const THREADS: usize = 6;

/// Tests that wait, at once, by themselves. Many have a fake AWS for themselves.
const WAITING_THREADS: usize = 14;

/// The same beside others: they have the time, and starve less.
const BESIDE_THREADS: usize = 10;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Only what needs no control plane: checks and unit tests
    #[arg(long)]
    fast: bool,
    /// Only the cloud-controller-manager as a pod on a real node; installs the Debian packages for it where it can
    #[arg(long, conflicts_with = "fast")]
    in_cluster: bool,
    /// Install no packages
    #[arg(long)]
    no_install: bool,
}

/// Runs everything; the first failure ends it, and so does a signal: what runs then ends with us.
pub(crate) async fn run(args: Args, out: Out) -> Result<(), Error> {
    let mut signals = Signals::listen()?;
    tokio::select! {
        done = all(args, out) => done,
        () = signals.next() => Err("interrupted".into()),
    }
}

async fn all(args: Args, out: Out) -> Result<(), Error> {
    let since = Instant::now();
    out.line(machine());
    let mut steps = Steps { out, count: 0, skipped: Vec::new() };
    // Where nobody looks, nobody minds. Elsewhere packages are for whoever has asked for the node.
    let install = !args.no_install && (args.in_cluster || in_cluster::is_forced());
    if args.in_cluster {
        steps.in_cluster(None, install).await?;
        steps.end(since);
        return Ok(());
    }

    steps.cargo("Format", &["fmt", "--all", "--check"]).await?;
    let clippy = ["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"];
    steps.cargo("Lints", &clippy).await?;
    // Together with others a crate may get features that it does not ask for.
    steps.cargo("The framework by itself", &["check", "--package=ccm-core"]).await?;
    steps.cargo("The provider by itself", &["check", "--package=ccm-provider-sim"]).await?;
    let bare = ["check", "--package=cloud-controller-manager", "--no-default-features"];
    steps.cargo("The program without providers", &bare).await?;
    let bare = ["check", "--package=simcloud", "--no-default-features"];
    steps.cargo("The simulated cloud's types alone", &bare).await?;
    steps.without_aws().await?;
    steps.rustdoc().await?;
    steps.book()?;
    steps.dependencies().await?;

    let programs = steps.programs().await?;
    steps.manifests(&programs)?;
    if args.fast {
        steps.tests("Unit tests", &["--lib", "--bins"], programs).await?;
    } else {
        steps.control_plane().await?;
        steps.aws().await?;
        steps.all_tests(programs.clone()).await?;
        steps.demo().await?;
        steps.in_cluster(Some(programs), install).await?;
    }
    steps.end(since);
    Ok(())
}

#[derive(Debug)]
struct Steps {
    out: Out,
    count: usize,
    skipped: Vec<String>,
}

impl Steps {
    fn begin(&mut self, title: &str) -> Instant {
        self.count += 1;
        self.out.heading(format_args!("{}. {title}", self.count));
        Instant::now()
    }

    fn done(&self, since: Instant) {
        self.out.ok(took(since.elapsed()));
    }

    /// What was begun last was skipped; it was said why.
    fn skip(&mut self, title: &str) {
        self.skipped.push(format!("{}. {title}", self.count));
    }

    /// Says that all is well, as far as it was looked at.
    fn end(&self, since: Instant) {
        self.out.line("");
        let passed = self.count - self.skipped.len();
        if passed > 0 {
            let steps = if passed == 1 { "step" } else { "steps" };
            self.out.ok(format_args!("{passed} {steps}, in {}", took(since.elapsed())));
        }
        for title in &self.skipped {
            self.out.line(format_args!("SKIPPED: {title}"));
        }
    }

    async fn cargo(&mut self, title: &str, args: &[&str]) -> Result<(), Error> {
        let mut cargo = build::cargo();
        cargo.args(args);
        self.command(title, cargo).await
    }

    async fn command(&mut self, title: &str, command: Command) -> Result<(), Error> {
        let since = self.begin(title);
        let line = line(&command);
        self.out.line(&line);
        let status = Group::start(command)?.ended().await?;
        if !status.success() {
            return Err(format!("step {}, {title}: {line} ({status})", self.count).into());
        }
        self.done(since);
        Ok(())
    }

    /// Who wants the simulated cloud alone need not wait for the SDK of AWS, which takes minutes.
    async fn without_aws(&mut self) -> Result<(), Error> {
        let since = self.begin("The usual build, which has no SDK of AWS");
        let mut tree = build::cargo();
        tree.args([
            "tree",
            "--package=cloud-controller-manager",
            "--edges=normal",
            "--prefix=none",
        ]);
        let tree = tree.kill_on_drop(true).output().await?;
        if !tree.status.success() {
            return Err(format!("cargo tree: {}", String::from_utf8_lossy(&tree.stderr)).into());
        }
        let tree = String::from_utf8_lossy(&tree.stdout);
        if let Some(line) = tree.lines().find(|line| is_of_aws(line)) {
            return Err(
                format!("cloud-controller-manager has {line} without its feature `aws`").into()
            );
        }
        self.done(since);
        Ok(())
    }

    async fn rustdoc(&mut self) -> Result<(), Error> {
        let mut cargo = build::cargo();
        cargo.args(["doc", "--workspace", "--no-deps"]).env("RUSTDOCFLAGS", "-D warnings");
        self.command("Documentation of the code", cargo).await
    }

    fn book(&mut self) -> Result<(), Error> {
        let since = self.begin("The book");
        docs::run(&docs::Args { check: true }, self.out)?;
        self.done(since);
        Ok(())
    }

    /// Licences, sources and duplicates. The advisories are not looked at: their database is a
    /// repository that not everybody can reach.
    async fn dependencies(&mut self) -> Result<(), Error> {
        let mut version = build::cargo();
        let version = version.args(["deny", "--version"]).output().await;
        if version.is_ok_and(|version| version.status.success()) {
            let check = ["deny", "check", "bans", "licenses", "sources"];
            return self.cargo("Dependencies", &check).await;
        }
        self.begin("Dependencies");
        self.out.line(
            "SKIPPED: cargo-deny is not installed; `cargo install --locked cargo-deny` installs it",
        );
        self.skip("Dependencies");
        Ok(())
    }

    /// Builds what the tests run, because cargo builds only the programs of a test's own package.
    async fn programs(&mut self) -> Result<PathBuf, Error> {
        let since = self.begin("Programs");
        let built = build::programs(&build::PROGRAMS, &build::EVERY_PROVIDER).await?;
        let program = built.values().next().and_then(|program| program.parent());
        let folder = program.ok_or("cargo built nothing")?.to_owned();
        self.done(since);
        Ok(folder)
    }

    fn manifests(&mut self, programs: &Path) -> Result<(), Error> {
        let since = self.begin("What is applied to a cluster");
        manifests::check(&programs.join("cloud-controller-manager"), self.out)?;
        self.done(since);
        Ok(())
    }

    async fn control_plane(&mut self) -> Result<(), Error> {
        let since = self.begin("etcd, kube-apiserver and clients, built unless they are there");
        for binary in [Binary::Etcd, Binary::KubeApiserver, Binary::Kubectl, Binary::Helm] {
            self.out.line(binary.locate().await?.display());
        }
        self.done(since);
        Ok(())
    }

    /// The fake AWS is installed before the tests, which would all wait for it.
    async fn aws(&mut self) -> Result<(), Error> {
        let since = self.begin("The fake AWS, installed unless it is there");
        let cloud = AwsCloud::start().await?;
        self.out.line(format_args!("answers at {}", cloud.url()));
        self.done(since);
        Ok(())
    }

    async fn tests(&mut self, title: &str, what: &[&str], programs: PathBuf) -> Result<(), Error> {
        // More than there are cores: they wait for most of their time.
        let cores = std::thread::available_parallelism().map_or(THREADS, std::num::NonZero::get);
        let threads = THREADS.min(cores + 4);
        let mut cargo = build::cargo();
        cargo
            .args(["test", "--workspace"])
            .args(what)
            .env("CCM_BIN_DIR", programs)
            .env("RUST_TEST_THREADS", threads.to_string());
        self.command(title, cargo).await
    }

    /// All tests, and beside them those of the AWS provider that wait for what a cloud takes its time with, on
    /// fakes that they share or have for themselves: both wait more than they compute.
    async fn all_tests(&mut self, programs: PathBuf) -> Result<(), Error> {
        // So that neither waits for the other's compiler.
        self.cargo("Tests, built", &["test", "--workspace", "--no-run"]).await?;
        // With the features of the whole workspace: otherwise the SDK would be compiled once more.
        let fake = ["test", "--workspace", "--test=fake"];
        self.cargo(
            "The AWS provider's tests on the fake, built",
            &[&fake[..], &["--no-run"]].concat(),
        )
        .await?;
        let mut cargo = build::nice_cargo();
        cargo.args(fake).env("RUST_TEST_THREADS", BESIDE_THREADS.to_string());
        let beside = Beside::start(cargo)?;
        let tested = self.tests("Tests", &[], programs).await;

        let since = self.begin("The AWS provider against the fake, begun with the tests before");
        // Waited for in any case: what it has found is of interest, too.
        let ended = beside.end().await;
        tested?;
        if let Some(Failure { what, tests }) = ended? {
            // Times are a part of what they look at, and on a slow machine they may have starved. What is
            // wrong is wrong without the others, too.
            let which = if tests.is_empty() { "all".to_owned() } else { tests.len().to_string() };
            self.out.line(format_args!("{what}; {which} of them once more, by themselves"));
            let mut cargo = build::cargo();
            cargo.args(fake).env("RUST_TEST_THREADS", WAITING_THREADS.to_string());
            if !tests.is_empty() {
                cargo.args(["--", "--exact"]).args(tests);
            }
            return self.command("The AWS provider against the fake, alone", cargo).await;
        }
        self.done(since);
        Ok(())
    }

    /// The programs are those of all tests, or built for this one.
    async fn in_cluster(&mut self, programs: Option<PathBuf>, install: bool) -> Result<(), Error> {
        const TITLE: &str = "In a cluster, on a real node";
        let since = self.begin(TITLE);
        match in_cluster::run(programs, install, self.out).await? {
            in_cluster::Outcome::Passed => self.done(since),
            in_cluster::Outcome::Skipped => self.skip(TITLE),
        }
        Ok(())
    }

    async fn demo(&mut self) -> Result<(), Error> {
        let since = self.begin("The demo");
        demo::run(demo::Args { once: true }, self.out).await?;
        self.done(since);
        Ok(())
    }
}

/// A command that runs beside others, which speaks when it has ended.
#[derive(Debug)]
struct Beside {
    line: String,
    said: std::fs::File,
    group: Group,
}

impl Beside {
    fn start(mut command: Command) -> Result<Self, Error> {
        let line = line(&command);
        let said = tempfile::tempfile()?;
        command.stdin(Stdio::null()).stdout(said.try_clone()?).stderr(said.try_clone()?);
        Ok(Self { line, said, group: Group::start(command)? })
    }

    /// Waits for its end, and prints all that it said.
    async fn end(self) -> Result<Option<Failure>, Error> {
        let Self { line, mut said, group } = self;
        let status = group.ended().await?;
        said.rewind()?;
        let mut all = Vec::new();
        said.read_to_end(&mut all)?;
        let mut stdout = std::io::stdout().lock();
        writeln!(stdout, "{line}")?;
        stdout.write_all(&all)?;
        Ok((!status.success()).then(|| Failure {
            what: format!("{line} ({status})"),
            tests: failed(&String::from_utf8_lossy(&all)),
        }))
    }
}

/// How a command with tests has failed.
#[derive(Debug)]
struct Failure {
    what: String,
    /// Those that have failed; empty where it did not get as far as to say so.
    tests: Vec<String>,
}

/// The tests that have failed, by what `cargo test` has said; none unless it has gone through all of them.
fn failed(said: &str) -> Vec<String> {
    if !said.lines().any(|line| line.starts_with("test result: FAILED")) {
        return Vec::new();
    }
    let name = |line: &str| {
        let line = line.strip_prefix("test ")?.strip_suffix(" ... FAILED")?;
        // One that is to panic says so behind its name.
        Some(line.split(" - ").next().unwrap_or(line).to_owned())
    };
    said.lines().filter_map(name).collect()
}

/// Whether a crate is a part of the SDK of AWS. Their library for cryptography is not.
fn is_of_aws(krate: &str) -> bool {
    krate.starts_with("aws-") && !krate.starts_with("aws-lc-")
}

/// The command as one would type it.
pub(crate) fn line(command: &Command) -> String {
    let command = command.as_std();
    let set = command.get_envs().filter_map(|(name, value)| Some((name, value?)));
    let set = set.map(|(name, value)| format!("{}='{}' ", name.display(), value.display()));
    let args = command.get_args().map(|arg| format!(" {}", arg.display()));
    let program = Path::new(command.get_program()).file_name().unwrap_or(command.get_program());
    set.chain([program.display().to_string()]).chain(args).collect()
}

/// What there is to work with, for whoever reads a log of a failure.
fn machine() -> String {
    let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    let memory = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let available = memory.lines().find_map(|line| line.strip_prefix("MemAvailable:"));
    let kib = available.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    let gib = kib.map_or_else(|| "?".to_owned(), |kib| (kib / 1024 / 1024).to_string());
    format!("{cores} cores, {gib} GiB of memory available")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sdk_of_aws_is_known_by_its_crates() {
        for krate in ["aws-sdk-ec2 v1.1.0", "aws-config v1.8.0", "aws-smithy-http v0.62.0"] {
            assert!(is_of_aws(krate), "{krate}");
        }
        for krate in ["aws-lc-rs v1.13.0", "aws-lc-sys v0.29.0", "kube v5.0.0"] {
            assert!(!is_of_aws(krate), "{krate}");
        }
    }

    #[test]
    fn tests_that_have_failed_are_known_by_their_names() {
        let said = "\
running 3 tests
test cases::lags ... FAILED
test cases::holds ... ok
test cases::panics - should panic ... FAILED

failures:
    cases::lags

test result: FAILED. 1 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out
";
        assert_eq!(failed(said), ["cases::lags", "cases::panics"]);
        let (cut_off, _) = said.split_once("test result").expect("it is there");
        assert!(failed(cut_off).is_empty(), "the others were not run");
    }

    #[test]
    fn a_failed_command_can_be_pasted() {
        let mut command = Command::new("/somewhere/cargo");
        command.args(["doc", "--no-deps"]).env("RUSTDOCFLAGS", "-D warnings");
        assert_eq!(line(&command), "RUSTDOCFLAGS='-D warnings' cargo doc --no-deps");
    }
}
