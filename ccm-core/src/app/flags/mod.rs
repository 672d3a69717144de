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
mod selection;
pub mod serving;
mod typed;

use std::ffi::OsString;
use std::io;
use std::io::Write;
use std::process::ExitCode;

use clap::FromArgMatches;
use clap::error::{ContextKind, ContextValue, ErrorKind};

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
    let (matches, unknown) = known(program, args, &mut command)?;
    let read = Flags::from_arg_matches(&matches).and_then(|mut flags| {
        flags.given = Given::new(&command, &matches);
        flags.warnings = ignored::warnings(&matches);
        Ok((flags, more(&matches, &command)?))
    });
    let (mut flags, more) = read.map_err(|err| refused(program, args, unknown.clone(), &err))?;
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
            let hint = (!unknown.is_empty()).then(|| hint(program));
            let errors = [options.err(), more.err()].into_iter().flatten();
            let errors = errors.flat_map(|errors| errors.0).map(|err| format!("error: {err}"));
            let lines: Vec<String> = unknown.into_iter().chain(errors).chain(hint).collect();
            Err(Exit::failed(lines.join("\n")))
        }
    }
}

/// Reads what it can: flags that nobody knows are taken out, and what is to be said of each is given, so
/// that a command line of another program is put right in one go.
fn known(
    program: &Program,
    args: &[OsString],
    command: &mut clap::Command,
) -> Result<(clap::ArgMatches, Vec<String>), Exit> {
    let (mut args, mut unknown) = (args.to_vec(), Vec::new());
    loop {
        match command.try_get_matches_from_mut(&args) {
            Ok(matches) => return Ok((matches, unknown)),
            Err(err) => match take_unknown(&mut args, &err) {
                Some(said) => unknown.push(said),
                None => return Err(refused(program, &args, unknown, &err)),
            },
        }
    }
}

/// Takes the flag out that nobody knows, with the argument behind it where that looks like its value.
fn take_unknown(args: &mut Vec<OsString>, err: &clap::Error) -> Option<String> {
    if err.kind() != ErrorKind::UnknownArgument {
        return None;
    }
    let flag = context(err, ContextKind::InvalidArg)?;
    let is_long = flag.starts_with("--");
    let is_it = |text: &str| match text.strip_prefix(flag) {
        Some(rest) if is_long => rest.is_empty() || rest.starts_with('='),
        Some(_) => !text.starts_with("--"),
        None => false,
    };
    let place = args.iter().skip(1).position(|arg| arg.to_str().is_some_and(is_it))? + 1;
    let said = unknown(flag, context(err, ContextKind::SuggestedArg), args);
    let has_value = is_long && args[place].to_str() == Some(flag);
    args.remove(place);
    let is_value = |arg: &OsString| arg.to_str().is_none_or(|text| !text.starts_with('-'));
    if has_value && args.get(place).is_some_and(is_value) {
        args.remove(place);
    }
    Some(said)
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

/// What clap refuses, in the words of this command line, behind what was refused before.
fn refused(program: &Program, args: &[OsString], before: Vec<String>, err: &clap::Error) -> Exit {
    let said = err.render().to_string();
    let text = match err.kind() {
        ErrorKind::DisplayHelp if before.is_empty() => {
            return Exit::asked_for(said.trim_end().to_owned());
        }
        ErrorKind::DisplayHelp => None,
        ErrorKind::UnknownArgument => Some(match context(err, ContextKind::InvalidArg) {
            Some(arg) => unknown(arg, context(err, ContextKind::SuggestedArg), args),
            None => said,
        }),
        _ => Some(said),
    };
    // The rest is usage and tips.
    let what = text.map(|text| text.split("\n\n").next().unwrap_or_default().to_owned());
    let lines: Vec<String> = before.into_iter().chain(what).chain([hint(program)]).collect();
    Exit::failed(lines.join("\n"))
}

fn hint(program: &Program) -> String {
    format!("Run '{} --help' for all flags.", program.name)
}

fn context(err: &clap::Error, kind: ContextKind) -> Option<&str> {
    match err.get(kind) {
        Some(ContextValue::String(text)) => Some(text),
        _ => None,
    }
}

fn unknown(flag: &str, nearest: Option<&str>, args: &[OsString]) -> String {
    if let Some(nearest) = nearest {
        return format!("error: unknown flag {flag}; did you mean {nearest}?");
    }
    let mut typed = args.iter().filter_map(|arg| arg.to_str());
    match typed.find(|arg| arg.starts_with(flag) && !arg.starts_with("--") && *arg != flag) {
        Some(arg) => format!(
            "error: unknown flag {flag} in {arg}; a flag of more than one letter takes two \
             dashes: -{arg}"
        ),
        None => format!("error: unknown flag {flag}"),
    }
}
