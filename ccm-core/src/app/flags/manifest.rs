//! What `manifest` takes besides the flags that the program shall run with, checked.

use clap::parser::ValueSource;

use super::options::{FlagError, FlagErrors};
use super::typed;

/// What is to be installed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ManifestOptions {
    /// The image's name in the cluster.
    pub image: String,
    /// What runs its pods.
    pub workload: Workload,
    /// The flags that were typed, as they were typed, to be the pods' arguments.
    pub args: Vec<String>,
}

/// What runs the pods.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Workload {
    /// One on each node of the control plane.
    DaemonSet,
    /// Two, on two of them.
    Deployment,
}

impl ManifestOptions {
    /// Whether the image's name is the cluster's, and not the one that stands where nobody said any.
    pub fn says_image(&self) -> bool {
        self.image != typed::IMAGE
    }

    pub(super) fn new(flags: typed::Manifest, args: Vec<String>) -> Result<Self, FlagErrors> {
        let mut errors = Vec::new();
        let mut refuse = |flag, value: &str, accepted| {
            errors.push(FlagError::Unusable { flag, value: value.to_owned(), accepted });
        };
        let workload = match flags.workload.as_str() {
            "daemonset" => Workload::DaemonSet,
            "deployment" => Workload::Deployment,
            other => {
                refuse("--workload", other, "daemonset or deployment");
                Workload::DaemonSet
            }
        };
        if flags.image.is_empty() || flags.image.contains(char::is_whitespace) {
            refuse("--image", &flags.image, "an image's name, such as registry.example.com/ccm:v1");
        }
        if errors.is_empty() {
            Ok(Self { image: flags.image, workload, args })
        } else {
            Err(FlagErrors(errors))
        }
    }
}

/// The flags that were typed, but for those of `manifest` itself, each as one word.
pub(super) fn typed_args(command: &clap::Command, matches: &clap::ArgMatches) -> Vec<String> {
    let mut args = Vec::new();
    for arg in command.get_arguments() {
        let id = arg.get_id().as_str();
        let is_typed = matches.value_source(id) == Some(ValueSource::CommandLine);
        let Some(long) = arg.get_long().filter(|_| is_typed) else { continue };
        if arg.get_help_heading() == Some("Manifest flags") {
            continue;
        }
        let places = matches.indices_of(id).into_iter().flatten();
        let values = matches.get_raw(id).into_iter().flatten();
        let typed = values.map(|value| format!("--{long}={}", value.display()));
        args.extend(places.zip(typed));
    }
    args.sort();
    args.into_iter().map(|(_, arg)| arg).collect()
}
