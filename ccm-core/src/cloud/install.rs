//! What a provider's manifest has besides what every provider's has.

/// Folder of the configuration file in the container: the `ConfigMap`.
pub const CONFIG_FOLDER: &str = "/etc/cloud-controller-manager/config";

/// Folder of the credentials in the container: the `Secret`.
pub const SECRET_FOLDER: &str = "/etc/cloud-controller-manager/secret";

/// What an operator fills in.
#[derive(Clone, Copy, Debug, Default)]
pub struct Install {
    /// The configuration file. `None`: the provider reads none.
    pub config: Option<Sample>,
    /// The file with credentials. `None`: the provider needs none.
    pub secret: Option<Sample>,
    /// The variable that leads the provider, or its SDK, to the file with credentials, where the
    /// configuration file does not.
    pub secret_env: Option<&'static str>,
    /// Flags without which the program would not start, where nobody gave them.
    pub args: &'static [&'static str],
    /// Controllers, by their canonical names, that do not run because the provider lacks what they
    /// need: their rights are not granted.
    pub lacks: &'static [&'static str],
}

/// A file as it stands in the manifest.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    /// Its name.
    pub file: &'static str,
    /// Its text, with a comment at each place that is filled in. Works as it is where that can be.
    pub text: &'static str,
}
