//! What `plan` takes besides the flags of the process, checked.

use std::io::IsTerminal;

use super::options::{FlagError, FlagErrors};
use super::typed;

/// How the plan is printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PlanOptions {
    /// In which form.
    pub output: Output,
    /// Whether the text has colours.
    pub colors: bool,
}

/// The form of a plan.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Output {
    /// For people.
    #[default]
    Text,
    /// For programs.
    Json,
}

impl TryFrom<typed::Plan> for PlanOptions {
    type Error = FlagErrors;

    fn try_from(flags: typed::Plan) -> Result<Self, Self::Error> {
        let mut errors = Vec::new();
        let mut refuse = |flag, value: &str, accepted| {
            errors.push(FlagError::Unusable { flag, value: value.to_owned(), accepted });
        };
        let output = match flags.output.as_str() {
            "text" => Output::Text,
            "json" => Output::Json,
            other => {
                refuse("--output", other, "text or json");
                Output::Text
            }
        };
        let colors = match flags.color.as_str() {
            "always" => true,
            "never" => false,
            "auto" => {
                let is_unwanted = std::env::var_os("NO_COLOR").is_some_and(|set| !set.is_empty());
                !is_unwanted && std::io::stdout().is_terminal()
            }
            other => {
                refuse("--color", other, "auto, always or never");
                false
            }
        };
        if errors.is_empty() { Ok(Self { output, colors }) } else { Err(FlagErrors(errors)) }
    }
}
