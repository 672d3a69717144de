//! `cloud-controller-manager manifest`: what installs the program in a cluster.
//!
//! One file for `kubectl apply -f`. Rights and arguments follow from the flags and from what the
//! provider says that it needs, so that neither can be forgotten nor be too many.

mod objects;
mod order;
mod pod;
mod probes;
#[cfg(test)]
mod tests;
mod text;
mod workload;

use serde_json::Value;

use super::flags::{ManifestOptions, Options, Workload};
use crate::cloud::{BoxError, Registration};

/// A document of the file: an object, or its text where there are places to fill in.
#[derive(Clone, Debug)]
enum Document {
    Object(Value),
    Text(String),
}

/// The file.
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
    if options.leader_election.is_none() && manifest.workload == Workload::DaemonSet {
        text.push_str(
            "# Without leader election, only for a control plane of one node: each node's pod would do the same.\n",
        );
    }
    let mut documents = objects::rights(&name, options, registration);
    documents.extend(objects::settings(&name, &registration.install));
    documents.extend(workload::workload(&name, registration, options, manifest));
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
