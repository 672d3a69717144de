//! What is no command line at all: flags that nobody knows, told together, and what clap refuses.

use std::ffi::OsString;

use clap::error::{ContextKind, ContextValue, ErrorKind};

use super::{Exit, Program};

/// Reads what it can: flags that nobody knows are taken out, and what is to be said of each is given, so
/// that a command line of another program is put right in one go.
pub(super) fn known(
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

/// What clap refuses, in the words of this command line, behind what was refused before.
pub(super) fn refused(
    program: &Program,
    args: &[OsString],
    before: Vec<String>,
    err: &clap::Error,
) -> Exit {
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

pub(super) fn hint(program: &Program) -> String {
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
