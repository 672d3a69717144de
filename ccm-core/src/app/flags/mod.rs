//! The command line: flags are what was typed, options are what was meant.
//!
//! Names, defaults and reading are those of the Go programs that this one replaces, so that
//! arguments that both know mean the same. What differs says so in the help.

mod completion;
pub(super) mod gates;
mod given;
mod go;
mod ignored;
mod manifest;
mod network;
mod options;
mod plan;
mod reference;
mod refused;
mod selection;
pub mod serving;
mod typed;

use std::ffi::OsString;
use std::io;
use std::io::Write;
use std::process::ExitCode;

use clap::FromArgMatches;

pub use self::given::Given;
pub(super) use self::go::duration as go_duration;
pub use self::manifest::{ManifestOptions, Workload};
pub use self::network::{NodeIpam, RouteController};
pub use self::options::{
    Cloud, Cluster, FlagError, FlagErrors, LeaderElection, LogFormat, Logging, MigrationFile,
    NodeController, NodeLifecycle, Options, Pace, ServiceController, VolumeController,
};
pub use self::plan::{Output, PlanOptions};
pub use self::reference::{manifest_reference, plan_reference, reference};
pub use self::selection::{CONTROLLERS, KnownController, Selection};
pub use self::serving::Serving;
pub use self::typed::Flags;

/// The word that asks for the plan, in front of all flags.
const PLAN: &str = "plan";

/// The word that asks for the manifest.
const MANIFEST: &str = "manifest";

/// The word that asks for a shell's completions.
const COMPLETION: &str = "completion";

/// The program whose command line this is.
#[derive(Clone, Debug)]
pub struct Program {
    /// Its name in usage and version.
    pub name: &'static str,
    /// Its version, as `0.1.0`.
    pub version: &'static str,
    /// The commit of its sources, where the build knew it.
    pub commit: Option<&'static str>,
    /// Values that `--cloud-provider` takes. Empty: any, somebody else will look at it.
    pub providers: Vec<&'static str>,
}

/// What the process is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Run the controllers.
    Run(Options),
    /// Say what they would do.
    Plan(Options, PlanOptions),
    /// Print what installs a program that runs so.
    Manifest(Options, ManifestOptions),
}

/// Reads a command line, the program's own name first, as [`std::env::args_os`] gives it.
///
/// An [`Exit`] is not always an error: help and version end the process too.
pub fn parse(
    program: &Program,
    args: impl IntoIterator<Item = impl Into<OsString>>,
) -> Result<Command, Exit> {
    let mut args: Vec<OsString> = args.into_iter().map(|arg| with_dashes(arg.into())).collect();
    if args.get(1).is_some_and(|arg| arg == COMPLETION) {
        return Err(completion::script(program, &args[2..]));
    }
    if args.get(1).is_some_and(|arg| arg == PLAN) {
        args.remove(1);
        let command = typed::plan_command(program.name, &program.providers);
        let (options, plan) = read(program, &args, command, |matches, _| {
            Ok(PlanOptions::try_from(typed::Plan::from_arg_matches(matches)?))
        })?;
        return Ok(Command::Plan(options, plan));
    }
    if args.get(1).is_some_and(|arg| arg == MANIFEST) {
        args.remove(1);
        let command = typed::manifest_command(program.name, &program.providers);
        let (options, manifest) = read(program, &args, command, |matches, command| {
            let flags = typed::Manifest::from_arg_matches(matches)?;
            Ok(ManifestOptions::new(flags, manifest::typed_args(command, matches)))
        })?;
        return Ok(Command::Manifest(options, manifest));
    }
    let command = typed::command(program.name, &program.providers);
    let (options, ()) = read(program, &args, command, |_, _| Ok(Ok(())))?;
    Ok(Command::Run(options))
}

/// Reads the flags of every command, and what `more` makes of its own.
fn read<T>(
    program: &Program,
    args: &[OsString],
    mut command: clap::Command,
    more: impl FnOnce(&clap::ArgMatches, &clap::Command) -> clap::error::Result<Result<T, FlagErrors>>,
) -> Result<(Options, T), Exit> {
    let (matches, unknown) = refused::known(program, args, &mut command)?;
    let read = Flags::from_arg_matches(&matches).and_then(|mut flags| {
        flags.given = Given::new(&command, &matches);
        flags.warnings = ignored::warnings(&matches);
        Ok((flags, more(&matches, &command)?))
    });
    let (mut flags, more) =
        read.map_err(|err| refused::refused(program, args, unknown.clone(), &err))?;
    if is_another_version(&flags.global.version) {
        flags.warnings.push(format!(
            "--version={}: has no effect: the program says its own version",
            flags.global.version
        ));
    } else if unknown.is_empty()
        && let Some(text) = version(program, &flags.global.version)?
    {
        return Err(Exit::asked_for(text));
    }
    flags.providers.clone_from(&program.providers);
    match (Options::try_from(flags), more) {
        (Ok(options), Ok(more)) if unknown.is_empty() => Ok((options, more)),
        (options, more) => {
            let hint = (!unknown.is_empty()).then(|| refused::hint(program));
            let errors = [options.err(), more.err()].into_iter().flatten();
            let errors = errors.flat_map(|errors| errors.0).map(|err| format!("error: {err}"));
            let lines: Vec<String> = unknown.into_iter().chain(errors).chain(hint).collect();
            Err(Exit::failed(lines.join("\n")))
        }
    }
}

/// Why the process ends before it has begun: what to say, where, and how to end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exit {
    text: String,
    stream: Stream,
    code: u8,
}

/// Where a text goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// What was asked for.
    Stdout,
    /// What went wrong.
    Stderr,
}

impl Exit {
    fn asked_for(text: String) -> Self {
        Self { text, stream: Stream::Stdout, code: 0 }
    }

    /// Upstream too ends with 1, not with the 2 of many other programs.
    fn failed(text: String) -> Self {
        Self { text, stream: Stream::Stderr, code: 1 }
    }

    /// What to say; does not end in a line break.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Where to say it.
    pub fn stream(&self) -> Stream {
        self.stream
    }

    /// The process's exit code.
    pub fn code(&self) -> u8 {
        self.code
    }

    /// Says it. The return value is for `main`.
    pub fn emit(&self) -> ExitCode {
        let said = match self.stream {
            Stream::Stdout => writeln!(io::stdout(), "{}", self.text),
            Stream::Stderr => writeln!(io::stderr(), "{}", self.text),
        };
        // A reader that has gone (`--help | head`) has read what it wanted.
        drop(said);
        ExitCode::from(self.code)
    }
}

/// `--leader_elect` is `--leader-elect`, as in all Kubernetes programs.
fn with_dashes(arg: OsString) -> OsString {
    let Some(text) = arg.to_str().filter(|text| text.starts_with("--")) else {
        return arg;
    };
    match text.split_once('=') {
        Some((name, value)) => format!("{}={value}", name.replace('_', "-")).into(),
        None => text.replace('_', "-").into(),
    }
}

/// Whether `--version` is that which the Go programs shall say that they are. Nothing else comes of it.
fn is_another_version(typed: &str) -> bool {
    typed.strip_prefix('v').is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
}

/// What `--version` asks for, if anything.
fn version(program: &Program, typed: &str) -> Result<Option<String>, Exit> {
    let Program { name, version, commit, .. } = program;
    let commit = commit.unwrap_or("unknown");
    if typed == "raw" {
        return Ok(Some(format!(
            "{name} version={version} commit={commit} os={} arch={}",
            std::env::consts::OS,
            std::env::consts::ARCH
        )));
    }
    match go::boolean(typed) {
        Some(true) => Ok(Some(format!("{name} v{version} (commit {commit})"))),
        Some(false) => Ok(None),
        None => Err(Exit::failed(format!(
            "error: {}",
            FlagError::Unusable {
                flag: "--version",
                value: typed.to_owned(),
                accepted: "true, false or raw",
            }
        ))),
    }
}
