//! Compiles the program for the image: static, and the same bytes wherever the sources lie.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::process::Command;

use super::NAME;
use crate::{Error, build};

/// Which providers the program has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Providers {
    /// AWS alone
    Aws,
    /// The simulated cloud alone
    Sim,
    /// Every provider: what a release has
    All,
}

impl Providers {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Aws => "aws",
            Self::Sim => "sim",
            Self::All => "all",
        }
    }

    /// The program's Cargo feature.
    fn feature(self) -> &'static str {
        match self {
            Self::Aws => "aws",
            Self::Sim => "sim",
            Self::All => "release",
        }
    }
}

/// What is compiled, from which sources.
#[derive(Clone, Debug)]
pub(super) struct Compile {
    /// The workspace's folder.
    pub(super) root: PathBuf,
    /// A target folder of its own: other builds have other flags.
    pub(super) target_dir: PathBuf,
    pub(super) target: String,
    pub(super) providers: Providers,
    pub(super) profile: String,
}

/// The profile of a program that is tried, and of which nobody asks whether another clone makes the same.
pub(super) const QUICK: &str = "quick";

impl Compile {
    /// A command of cargo in these sources.
    pub(super) fn cargo(&self, subcommand: &str) -> Command {
        let cargo = build::cargo();
        let mut command = Command::new(cargo.as_std().get_program());
        command.arg(subcommand).current_dir(&self.root).stdin(Stdio::null()).kill_on_drop(true);
        command
    }

    /// What chooses the crates that are linked.
    pub(super) fn selection(&self) -> [String; 5] {
        [
            "--locked".to_owned(),
            format!("--package={NAME}"),
            format!("--target={}", self.target),
            "--no-default-features".to_owned(),
            format!("--features={}", self.providers.feature()),
        ]
    }

    /// Compiles, and says where the program is. Cargo's own progress goes to stderr.
    pub(super) async fn run(&self, commit: &str) -> Result<PathBuf, Error> {
        let places = self.places()?;
        let mut command = self.cargo("build");
        for (name, _) in std::env::vars_os().filter(|(name, _)| changes_bytes(name)) {
            command.env_remove(name);
        }
        command
            .args(self.selection())
            .arg(format!("--profile={}", self.profile))
            .arg("--message-format=json-render-diagnostics")
            .env("CARGO_TARGET_DIR", &self.target_dir)
            .env("CARGO_ENCODED_RUSTFLAGS", rustc_flags(&places).join("\x1f"))
            .env(format!("CFLAGS_{}", self.target.replace('-', "_")), c_flags(&places).join(" "))
            .env("CCM_COMMIT", commit);
        let child = command.stdout(Stdio::piped()).spawn()?;
        let output = child.wait_with_output().await?;
        let built = build::executables(&output.stdout).remove(NAME);
        built.filter(|_| output.status.success()).ok_or_else(|| {
            format!("cargo could not build {NAME} for {} ({})", self.target, output.status).into()
        })
    }

    /// Folders that differ from one machine or clone to the next, and what they are called in the
    /// program. Where two fit, the later one is taken.
    fn places(&self) -> Result<Vec<(PathBuf, &'static str)>, Error> {
        let mut places = vec![
            (cargo_home()?.join("registry/src"), "/crates"),
            (sysroot(&self.root)?.join("lib/rustlib/src/rust"), "/rust"),
            (std::path::absolute(&self.target_dir)?, "/target"),
        ];
        // With its own path among the flags each clone would compile every crate anew, which is not
        // worth it for what is tried and thrown away.
        if self.profile != QUICK {
            places.insert(0, (self.root.canonicalize()?, "/ccm-rs"));
        }
        Ok(places)
    }
}

/// Whether a variable of the user's would change the bytes, and is none that says where the compilers are: `CC_…` and
/// `CARGO_TARGET_…_LINKER` are needed to compile for another machine.
fn changes_bytes(name: &OsStr) -> bool {
    let name = name.to_string_lossy();
    let is_for_c = ["CFLAGS", "CXXFLAGS", "CPPFLAGS", "ASFLAGS", "LDFLAGS"].iter().any(|flags| {
        // Alone, for the machine that compiles, or for one target.
        let rest = name.strip_prefix("HOST_").or_else(|| name.strip_prefix("TARGET_"));
        let rest = rest.unwrap_or(&name).strip_prefix(flags);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('_'))
    });
    let is_for_crates = ["AWS_LC_SYS_", "CARGO_PROFILE_"].iter().any(|it| name.starts_with(it));
    // `.cargo/config.toml` sets the last, unless it is set.
    let is_for_rust = ["RUSTC_BOOTSTRAP", "K8S_OPENAPI_ENABLED_VERSION"].contains(&&*name);
    is_for_c || is_for_crates || is_for_rust || name.ends_with("RUSTFLAGS")
}

/// Cargo leaves these out of the hashes that become parts of symbols' names, because
/// `--remap-path-prefix` is among them: programs from two clones have the same symbols.
fn rustc_flags(places: &[(PathBuf, &str)]) -> Vec<String> {
    let remap =
        places.iter().map(|(from, to)| format!("--remap-path-prefix={}={to}", from.display()));
    ["-Ctarget-feature=+crt-static".to_owned()].into_iter().chain(remap).collect()
}

/// The sources in C write their names into the program, for the messages of failed assertions.
fn c_flags(places: &[(PathBuf, &str)]) -> Vec<String> {
    places.iter().map(|(from, to)| format!("-ffile-prefix-map={}={to}", from.display())).collect()
}

fn cargo_home() -> Result<PathBuf, Error> {
    let home = match std::env::var_os("CARGO_HOME") {
        Some(home) => PathBuf::from(home),
        None => {
            std::env::home_dir().ok_or("no home folder, and CARGO_HOME is not set")?.join(".cargo")
        }
    };
    Ok(std::path::absolute(home)?)
}

/// Where the compiler and its library are.
pub(super) fn sysroot(root: &Path) -> Result<PathBuf, Error> {
    said("rustc", &["--print=sysroot"], root).map(PathBuf::from)
}

/// What a program prints, without the blanks around it.
pub(super) fn said(program: &str, args: &[&str], folder: &Path) -> Result<String, Error> {
    let output = std::process::Command::new(program)
        .args(args)
        .current_dir(folder)
        .stdin(Stdio::null())
        .output()
        .map_err(|err| format!("{program}: {err}"))?;
    if !output.status.success() {
        let told = String::from_utf8_lossy(&output.stderr);
        return Err(format!("{program} {}: {}", args.join(" "), told.trim()).into());
    }
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_user_has_set_for_other_builds_is_left_out() {
        for name in [
            "CFLAGS",
            "HOST_CFLAGS",
            "TARGET_CXXFLAGS",
            "CFLAGS_x86_64_unknown_linux_gnu",
            "CFLAGS_x86_64-unknown-linux-gnu",
            "AWS_LC_SYS_NO_ASM",
            "AWS_LC_SYS_CFLAGS",
            "CARGO_PROFILE_RELEASE_LTO",
            "CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUSTFLAGS",
            "RUSTFLAGS",
        ] {
            assert!(changes_bytes(OsStr::new(name)), "{name}");
        }
        for name in [
            "PATH",
            "CARGO_HOME",
            "CC",
            "CC_aarch64_unknown_linux_gnu",
            "CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER",
            "CARGO_TARGET_DIR",
            "RUSTUP_TOOLCHAIN",
        ] {
            assert!(!changes_bytes(OsStr::new(name)), "{name}");
        }
    }

    #[test]
    fn no_flag_is_lost_on_the_way() {
        let places = [(PathBuf::from("/home/me/ccm"), "/ccm-rs"), (PathBuf::from("/t"), "/target")];
        assert_eq!(
            rustc_flags(&places),
            [
                "-Ctarget-feature=+crt-static",
                "--remap-path-prefix=/home/me/ccm=/ccm-rs",
                "--remap-path-prefix=/t=/target"
            ]
        );
        assert_eq!(
            c_flags(&places),
            ["-ffile-prefix-map=/home/me/ccm=/ccm-rs", "-ffile-prefix-map=/t=/target"]
        );
    }
}
