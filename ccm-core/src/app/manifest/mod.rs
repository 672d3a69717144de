//! `cloud-controller-manager manifest`: what installs the program in a cluster.
//!
//! One file for `kubectl apply -f`. Rights and arguments follow from the flags and from what the
//! provider says that it needs, so that neither can be forgotten nor be too many.

mod objects;
mod workload;

use serde_json::Value;

use super::flags::{ManifestOptions, Options};
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
    let mut documents = objects::rights(options, registration);
    documents.extend(objects::settings(&name, &registration.install));
    documents.extend(workload::workload(&name, registration, manifest));
    for document in documents {
        text.push_str("---\n");
        match document {
            Document::Object(object) => text.push_str(&serde_saphyr::to_string(&object)?),
            Document::Text(document) => text.push_str(&document),
        }
        if !text.ends_with('\n') {
            text.push('\n');
        }
    }
    Ok(text)
}
