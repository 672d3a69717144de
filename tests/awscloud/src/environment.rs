//! The virtual environment with moto in it.

use std::{
    ffi::OsStr,
    fs::File,
    io,
    path::{Path, PathBuf},
    process::{Command, ExitStatus, Stdio},
    time::Instant,
};

use crate::{
    cache::{self, say},
    error::{Context, Error},
};

/// All packages, each with its version.
const REQUIREMENTS: &str = include_str!("../server/requirements.txt");

/// The oldest Python that the packages run on.
const OLDEST: (u32, u32) = (3, 10);

/// Lines of a command's output in an error.
const TAIL_LINES: usize = 20;

/// The Python to run the server with; installs the packages if they are not there.
pub(crate) fn python(cache: &Path) -> Result<PathBuf, Error> {
    installed(cache, OsStr::new("python3"))
}

fn installed(cache: &Path, python: &OsStr) -> Result<PathBuf, Error> {
    let version = version_of(python).map_err(|reason| Error::Missing { reason })?;
    // A virtual environment belongs to the Python that made it.
    let name = format!("moto-{}", cache::hash([REQUIREMENTS, &version]));
    let folder = cache::filled(cache, &name, |folder| {
        let log = cache.join(format!("{name}.log"));
        install(python, folder, &log)
    })?;
    Ok(interpreter(&folder))
}

fn interpreter(folder: &Path) -> PathBuf {
    folder.join("bin").join("python")
}

fn version_of(python: &OsStr) -> Result<String, String> {
    let script = "import sys; print('%d.%d.%d' % sys.version_info[:3], sys.base_prefix)";
    let output = match Command::new(python).args(["-I", "-c", script]).output() {
        Ok(output) => output,
        Err(err) if err.kind() == io::ErrorKind::NotFound => {
            return Err("it is not in the cache, and there is no python3 on PATH".to_owned());
        }
        Err(err) => return Err(format!("python3 can not be run: {err}")),
    };
    let version = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    if is_new_enough(&version) { Ok(version) } else { Err(format!("Python is {version:?}")) }
}

fn is_new_enough(version: &str) -> bool {
    let mut parts = version.split('.').map(|part| part.parse::<u32>().ok());
    matches!((parts.next(), parts.next()), (Some(Some(major)), Some(Some(minor))) if (major, minor) >= OLDEST)
}

fn install(python: &OsStr, folder: &Path, log: &Path) -> Result<(), Error> {
    say(format_args!("installing moto from PyPI, once, about 20 s"));
    let since = Instant::now();
    let requirements = folder.join("requirements.txt");
    File::create(log).context(|| format!("creating {}", log.display()))?;
    let mut venv = Command::new(python);
    venv.args(["-I", "-m", "venv"]).arg(folder);
    run(&mut venv, log)?;
    std::fs::write(&requirements, REQUIREMENTS)
        .context(|| format!("writing {}", requirements.display()))?;
    let mut pip = Command::new(interpreter(folder));
    pip.args([
        "-I",
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "--no-input",
    ])
    .arg("--requirement")
    .arg(&requirements);
    run(&mut pip, log)?;
    say(format_args!("installed moto in {} s: {}", since.elapsed().as_secs(), folder.display()));
    Ok(())
}

fn run(command: &mut Command, log: &Path) -> Result<(), Error> {
    let what = || format!("opening {}", log.display());
    let out = File::options().append(true).open(log).context(what)?;
    let err = out.try_clone().context(what)?;
    let status: ExitStatus = command
        .stdin(Stdio::null())
        .stdout(out)
        .stderr(err)
        .status()
        .context(|| format!("running {command:?}"))?;
    if status.success() {
        return Ok(());
    }
    Err(Error::Install {
        status: status.to_string(),
        command: format!("{command:?}").replace('"', ""),
        output: tail(log, TAIL_LINES),
    })
}

/// The last lines of a log, as far as they are text.
pub(crate) fn tail(log: &Path, count: usize) -> String {
    let text = std::fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::the_oldest("3.10.0 /usr", true)]
    #[case::newer("3.14.1 /usr", true)]
    #[case::too_old("3.9.21 /usr", false)]
    #[case::nothing("", false)]
    fn python_is_new_enough_or_not(#[case] version: &str, #[case] want: bool) {
        assert_eq!(is_new_enough(version), want);
    }

    #[test]
    fn every_package_has_its_version() {
        assert!(REQUIREMENTS.lines().all(|line| line.contains("==")), "{REQUIREMENTS}");
        assert!(REQUIREMENTS.lines().any(|line| line.starts_with("moto==")));
    }

    #[test]
    fn without_python_the_error_says_what_to_install() {
        let cache = std::env::temp_dir().join("ccm-awscloud-nowhere");
        let err = installed(&cache, OsStr::new("/nowhere/python3")).unwrap_err();
        let text = err.to_string();
        assert!(text.contains("no python3 on PATH. Install Python 3.10"), "{text}");
    }

    #[test]
    fn a_failed_install_says_what_was_said_and_leaves_nothing() {
        let cache = std::env::temp_dir().join(format!("ccm-awscloud-pip-{}", std::process::id()));
        std::fs::create_dir_all(&cache).unwrap();
        let python = cache.join("python3");
        let script =
            "#!/bin/sh\n[ \"$2\" = -c ] && echo 3.12.0 && exit\necho no network >&2; exit 1\n";
        std::fs::write(&python, script).unwrap();
        std::fs::set_permissions(&python, std::fs::Permissions::from_mode(0o755)).unwrap();
        let err = installed(&cache, python.as_os_str()).unwrap_err();
        let Error::Install { output, command, .. } = &err else { panic!("{err}") };
        assert_eq!(output, "no network");
        assert!(command.contains("-m venv"), "{command}");
        let left = std::fs::read_dir(&cache).unwrap().flatten();
        assert!(!left.into_iter().any(|entry| entry.path().is_dir()));
        std::fs::remove_dir_all(cache).unwrap();
    }
}
