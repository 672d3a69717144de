//! `cloud-controller-manager completion bash`: what a shell needs to complete the flags.

use std::io;

use clap_complete::{Shell, generate};

use super::{COMPLETION, Exit, MANIFEST, PLAN, Program, typed};

/// The script for the shell that `args` names; nothing else may stand there.
pub(super) fn script(program: &Program, args: &[impl AsRef<std::ffi::OsStr>]) -> Exit {
    let shell = match args {
        [shell] => shell.as_ref().to_str().and_then(|name| name.parse::<Shell>().ok()),
        _ => None,
    };
    let Some(shell) = shell else {
        return Exit::failed(format!(
            "error: {COMPLETION} takes the name of a shell: bash, elvish, fish, powershell or zsh\n\
             Add `source <({} {COMPLETION} bash)` to ~/.bashrc, for example.",
            program.name
        ));
    };
    let mut command = typed::command(program.name, &program.providers)
        .subcommand(typed::plan_command(program.name, &program.providers).name(PLAN))
        .subcommand(typed::manifest_command(program.name, &program.providers).name(MANIFEST))
        .subcommand(
            clap::Command::new(COMPLETION)
                .arg(clap::Arg::new("shell").value_parser(clap::value_parser!(Shell))),
        );
    let mut text = Vec::new();
    generate(shell, &mut command, program.name, &mut text as &mut dyn io::Write);
    Exit::asked_for(String::from_utf8_lossy(&text).trim_end().to_owned())
}
