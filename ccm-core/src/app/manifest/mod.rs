//! `cloud-controller-manager manifest`: what installs the program in a cluster.
//!
//! One file for `kubectl apply -f`. Rights and arguments follow from the flags and from what the
//! provider says that it needs, so that neither can be forgotten nor be too many.

mod moving;
mod objects;
mod order;
mod pod;
mod probes;
#[cfg(test)]
mod tests;
mod text;
mod workload;

use serde_json::Value;

use self::moving::Moving;
use super::flags::{Command, ManifestOptions, Options, Program, Workload};
use super::{NAME, VERSION, flags};
use crate::cloud::{BoxError, Registration};

/// A document of the file: an object, or its text where there are places to fill in.
#[derive(Clone, Debug)]
enum Document {
    Object(Value),
    Text(String),
}

/// The file, for a program that runs with the flags that were typed, and with those that a provider's
/// pods have where nobody typed them.
pub fn manifest(
    registration: &Registration,
    options: &Options,
    manifest: &ManifestOptions,
) -> Result<String, BoxError> {
    let name = format!("{}-cloud-controller-manager", registration.name);
    let mut text = format!(
        "# Installs the cloud-controller-manager for --cloud-provider={}: kubectl apply -f\n\
         # Places to fill in are marked FILL IN. Printed by `cloud-controller-manager manifest`.\n",
        registration.name
    );
    let moving = Moving::of(options)?;
    let args = pod::args(registration.name, &registration.install, &moving, &manifest.args);
    // Rights and probes are those of what the pods will be told, not of what was typed here.
    let options = &mut heard(&args)?;
    options.controllers = options.controllers.clone().without(&moving.migration.elsewhere);
    if options.leader_election.is_none() && manifest.workload == Workload::DaemonSet {
        text.push_str(
            "# Without leader election, only for a control plane of one node: each node's pod would do the same.\n",
        );
    }
    let mut documents = objects::rights(&name, options, registration, moving.migration.lease);
    documents.extend(objects::settings(&name, &registration.install, moving.text.as_deref()));
    documents.extend(workload::workload(&name, registration, options, manifest, &args));
    let comments = text::comments(manifest);
    for document in documents {
        text.push_str("---\n");
        match document {
            Document::Object(object) => {
                let printed = serde_saphyr::to_string(&order::Ordered(&object))?;
                // The comments are about pods.
                let has_pods = object.pointer("/spec/template").is_some();
                let comments = if has_pods { &comments[..] } else { &[] };
                text.push_str(&text::commented(&printed, comments));
            }
            Document::Text(document) => text.push_str(&document),
        }
        if !text.ends_with('\n') {
            text.push('\n');
        }
    }
    Ok(text)
}

/// What the pods understand.
fn heard(args: &[String]) -> Result<Options, BoxError> {
    let program = Program { name: NAME, version: VERSION, commit: None, providers: Vec::new() };
    match flags::parse(&program, std::iter::once(NAME).chain(args.iter().map(String::as_str))) {
        Ok(Command::Run(options)) => Ok(options),
        Ok(Command::Plan(..) | Command::Manifest(..)) => Err("the pods would not run".into()),
        // Whoever prints it says that it is an error.
        Err(exit) => Err(exit.text().trim_start_matches("error: ").to_owned().into()),
    }
}
