//! The cloud-controller-manager: the framework with the providers of this build.

use std::process::ExitCode;

fn main() -> ExitCode {
    ccm_core::app::main(vec![
        #[cfg(feature = "aws")]
        ccm_provider_aws::registration(),
        #[cfg(feature = "sim")]
        ccm_provider_sim::registration(),
    ])
}
