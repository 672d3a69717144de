//! Builds programs with Go, once for all checkouts and processes of a user.
//!
//! The module's files are compiled in and written beside the result, so that a build needs no checkout and happens in a
//! folder without other Go files or a workspace around it.

use std::{
    ffi::OsString,
    fmt,
    fs::{File, TryLockError},
    io::{self, Write},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use crate::{
    binaries::{GO_MINIMUM, KUBERNETES_VERSION},
    error::{Context, Error},
    process::{POLL, command_line, tail},
};

/// Pause between two lines that say that a build still runs.
const PROGRESS: Duration = Duration::from_secs(15);

/// How the name of a program ends that is still being written.
const UNFINISHED: &str = ".unfinished";

/// Lines of Go's output in an error.
const TAIL_LINES: usize = 20;

/// A program, and what it is built from.
#[derive(Clone, Debug)]
pub(crate) struct Recipe {
    /// The file's name.
    pub(crate) name: &'static str,
    /// The folder in the cache. It names what is in it, so that another version is another folder.
    pub(crate) folder: String,
    /// Names and texts of the module's files.
    pub(crate) files: &'static [(&'static str, &'static str)],
    /// The Go package to build.
    pub(crate) package: &'static str,
    /// How long a build takes on two cores with nothing cached but the modules. Measured.
    pub(crate) build_time: Duration,
    /// What is to be said to somebody without Go.
    pub(crate) missing: fn(program: &'static str, reason: String) -> Error,
}

/// Go, and where what it builds is kept.
pub(crate) struct Toolchain {
    go: OsString,
    /// Before Go's own arguments: a test's Go is a script, which is run by the shell rather than by its own name
    /// because a file that was just written can be busy.
    script: Option<PathBuf>,
    cache: PathBuf,
}

impl Toolchain {
    /// Go from `PATH` and the user's cache folder; the recipe is what it is wanted for.
    pub(crate) fn of_this_user(recipe: &Recipe) -> Result<Self, Error> {
        let cache = cache_folder(|name| std::env::var_os(name))
            .map_err(|reason| (recipe.missing)(recipe.name, reason))?;
        Ok(Self { go: "go".into(), script: None, cache })
    }

    /// The program from the cache; builds it if it is not there.
    pub(crate) fn built(&self, recipe: &Recipe) -> Result<PathBuf, Error> {
        let folder = self.cache.join(&recipe.folder);
        let path = folder.join(recipe.name);
        if path.is_file() {
            return Ok(path);
        }
        self.check().map_err(|reason| (recipe.missing)(recipe.name, reason))?;

        std::fs::create_dir_all(&folder).context(|| format!("creating {}", folder.display()))?;
        let _lock = lock(&folder, recipe.name)?;
        // Somebody else may have built it while we waited.
        if !path.is_file() {
            self.build(recipe, &folder, &path)?;
        }
        Ok(path)
    }

    /// Go as it is installed: it is not to fetch another one, and not to listen to flags meant for other builds.
    fn command(&self) -> Command {
        let mut command = Command::new(&self.go);
        command
            .args(&self.script)
            .env("CGO_ENABLED", "0")
            .env("GOTOOLCHAIN", "local")
            .env("GOWORK", "off")
            .env("GO111MODULE", "on")
            .env("GOFLAGS", "")
            .stdin(Stdio::null());
        for name in ["GOOS", "GOARCH", "GOBIN", "GOEXPERIMENT"] {
            command.env_remove(name);
        }
        command
    }

    fn check(&self) -> Result<(), String> {
        let output = match self.command().args(["env", "GOVERSION"]).output() {
            Ok(output) => output,
            Err(err) if err.kind() == io::ErrorKind::NotFound => {
                return Err(
                    "it is not given, not in the cache, and there is no go on PATH".to_owned()
                );
            }
            Err(err) => return Err(format!("go can not be run: {err}")),
        };
        let version = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        if is_new_enough(&version) { Ok(()) } else { Err(format!("Go is {version:?}")) }
    }

    fn build(&self, recipe: &Recipe, folder: &Path, path: &Path) -> Result<(), Error> {
        let name = recipe.name;
        let module = folder.join("module");
        let write = |(name, text): &(&str, &str)| std::fs::write(module.join(name), text);
        std::fs::create_dir_all(&module)
            .and_then(|()| recipe.files.iter().try_for_each(write))
            .context(|| format!("writing into {}", module.display()))?;
        // Under another name until it is whole: a build that is cut off leaves nothing that looks like a program.
        // We hold the lock, so what is there under such a name is from a build that was cut off.
        remove_unfinished(folder);
        let unfinished = folder.join(format!("{name}.{}{UNFINISHED}", std::process::id()));
        let log = folder.join(format!("{name}.log"));
        let args = arguments(recipe.package, &unfinished);

        say(format_args!(
            "building {name} with Go, once, about {} on two cores, and as much again if modules have to be fetched",
            Rough(recipe.build_time)
        ));
        let since = Instant::now();
        let out = File::create(&log).context(|| format!("creating {}", log.display()))?;
        let child = self
            .command()
            .args(&args)
            .current_dir(&module)
            .stdout(Stdio::null())
            .stderr(out)
            .spawn();
        let mut running = Running(child.context(|| "starting go".to_owned())?);
        let mut said = since;
        let status = loop {
            if let Some(status) = running.0.try_wait().context(|| "waiting for go".to_owned())? {
                break status;
            }
            if said.elapsed() >= PROGRESS {
                said = Instant::now();
                say(format_args!("building {name}: {}", Rough(since.elapsed())));
            }
            wait_a_little();
        };
        if !status.success() {
            std::fs::remove_file(&unfinished).ok();
            return Err(Error::Build {
                program: name,
                status: status.to_string(),
                command: command_line(Path::new("go"), &args),
                output: tail(&log, TAIL_LINES),
            });
        }
        std::fs::rename(&unfinished, path).context(|| format!("creating {}", path.display()))?;
        say(format_args!("built {name} in {}: {}", Rough(since.elapsed()), path.display()));
        Ok(())
    }
}

/// `$XDG_CACHE_HOME/ccm-rs/envtest` or `~/.cache/ccm-rs/envtest`.
fn cache_folder(var: impl Fn(&str) -> Option<OsString>) -> Result<PathBuf, String> {
    let absolute = |name: &str| var(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let cache = absolute("XDG_CACHE_HOME")
        .or_else(|| absolute("HOME").map(|home| home.join(".cache")))
        .ok_or("neither XDG_CACHE_HOME nor HOME says where to keep it")?;
    Ok(cache.join("ccm-rs").join("envtest"))
}

/// `go1.26.8` and `go1.27rc1` are; `go1.25.9` and `devel` are not.
fn is_new_enough(version: &str) -> bool {
    let number = |text: &str| -> Option<(u32, u32)> {
        let (major, rest) = text.split_once('.')?;
        let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        Some((major.parse().ok()?, rest[..end].parse().ok()?))
    };
    let found = version.strip_prefix("go").and_then(number);
    found.is_some_and(|found| number(GO_MINIMUM).is_some_and(|minimum| found >= minimum))
}

/// One build at a time. The system lets go of the lock when we end, however we do.
fn lock(folder: &Path, name: &str) -> Result<File, Error> {
    let path = folder.join("lock");
    let what = || format!("locking {}", path.display());
    let file =
        File::options().write(true).create(true).truncate(false).open(&path).context(what)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            say(format_args!("waiting for {name}: another process is building"));
            file.lock().context(what)?;
        }
        Err(TryLockError::Error(err)) => return Err(err).context(what),
    }
    Ok(file)
}

fn remove_unfinished(folder: &Path) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().ends_with(UNFINISHED) {
            std::fs::remove_file(entry.path()).ok();
        }
    }
}

/// Without the version flags `/version` says v0.0.0-master, and clients complain.
fn arguments(package: &str, output: &Path) -> Vec<String> {
    const PACKAGE: &str = "k8s.io/component-base/version";
    let mut parts = KUBERNETES_VERSION.split('.');
    let (major, minor) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    vec![
        "build".to_owned(),
        "-mod=readonly".to_owned(),
        "-trimpath".to_owned(),
        "-ldflags".to_owned(),
        format!(
            "-s -w -X {PACKAGE}.gitVersion=v{KUBERNETES_VERSION} \
             -X {PACKAGE}.gitMajor={major} -X {PACKAGE}.gitMinor={minor}"
        ),
        "-o".to_owned(),
        output.display().to_string(),
        package.to_owned(),
    ]
}

/// A build that nobody waits for any more is ended.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

#[expect(clippy::disallowed_methods, reason = "on a thread for blocking work")]
fn wait_a_little() {
    std::thread::sleep(POLL);
}

/// Straight to standard error, past the test harness: minutes of silence look like a hang.
fn say(what: fmt::Arguments<'_>) {
    writeln!(io::stderr(), "ccm-envtest: {what}").ok();
}

/// `45 s`, `5 min`, `1 min 10 s`.
struct Rough(Duration);

impl fmt::Display for Rough {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.0.as_secs() / 60, self.0.as_secs() % 60) {
            (0, seconds) => write!(f, "{seconds} s"),
            (minutes, 0) => write!(f, "{minutes} min"),
            (minutes, seconds) => write!(f, "{minutes} min {seconds} s"),
        }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::the_oldest("go1.26", true)]
    #[case::a_patch("go1.26.8", true)]
    #[case::a_candidate("go1.27rc1", true)]
    #[case::next_major("go2.0", true)]
    #[case::too_old("go1.25.9", false)]
    #[case::no_release("devel go1.27-abc", false)]
    #[case::nothing("", false)]
    fn go_is_new_enough_or_not(#[case] version: &str, #[case] want: bool) {
        assert_eq!(is_new_enough(version), want);
    }

    #[rstest]
    #[case::as_set(&[("XDG_CACHE_HOME", "/c"), ("HOME", "/h")], Some("/c/ccm-rs/envtest"))]
    #[case::by_default(&[("HOME", "/h")], Some("/h/.cache/ccm-rs/envtest"))]
    #[case::relative_does_not_count(&[("XDG_CACHE_HOME", "c"), ("HOME", "/h")], Some("/h/.cache/ccm-rs/envtest"))]
    #[case::nowhere(&[], None)]
    fn the_cache_is_the_users(#[case] vars: &[(&str, &str)], #[case] want: Option<&str>) {
        let found = cache_folder(|name| {
            vars.iter().find(|(known, _)| *known == name).map(|(_, value)| value.into())
        });
        assert_eq!(found.ok().as_deref(), want.map(Path::new));
    }

    const RECIPE: Recipe = Recipe {
        name: "program",
        folder: String::new(),
        files: &[("go.mod", "module x\n")],
        package: "example.org/program",
        build_time: Duration::from_secs(1),
        missing: |program, reason| Error::Missing { program, reason },
    };

    /// A Go that notes each call and takes a while.
    fn fake(name: &str, version: &str, build: &str) -> (Toolchain, PathBuf) {
        let folder =
            std::env::temp_dir().join(format!("ccm-envtest-go-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let (script, calls) = (folder.join("go"), folder.join("calls"));
        let text = format!(
            "[ \"$1\" = env ] && echo {version} && exit\necho \"$*\" >>{}\nsleep 0.2\n\
             while [ \"$1\" != -o ]; do shift; done\n{build}\n",
            calls.display()
        );
        std::fs::write(&script, text).unwrap();
        let cache = folder.join("cache");
        (Toolchain { go: "/bin/sh".into(), script: Some(script), cache }, folder)
    }

    #[test]
    fn two_who_need_it_at_once_build_it_once() {
        let (toolchain, folder) = fake("once", "go1.26.8", "echo program >\"$2\"");
        let paths = std::thread::scope(|scope| {
            let build = || toolchain.built(&RECIPE).unwrap();
            let running = [scope.spawn(build), scope.spawn(build), scope.spawn(build)];
            running.map(|thread| thread.join().unwrap())
        });
        assert!(paths.iter().all(|path| std::fs::read_to_string(path).unwrap() == "program\n"));
        let calls = std::fs::read_to_string(folder.join("calls")).unwrap();
        assert_eq!(calls.lines().count(), 1, "{calls}");
        assert!(calls.ends_with(" example.org/program\n"), "{calls}");

        let left = std::fs::read_dir(paths[0].parent().unwrap()).unwrap().flatten();
        let mut left: Vec<_> = left.map(|entry| entry.file_name()).collect();
        left.sort();
        assert_eq!(left, ["lock", "module", "program", "program.log"]);
        let module = paths[0].with_file_name("module").join("go.mod");
        assert_eq!(std::fs::read_to_string(module).unwrap(), "module x\n");
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn a_build_that_fails_leaves_no_program_and_says_what_go_said() {
        let (toolchain, folder) =
            fake("fails", "go1.26.8", "echo half >\"$2\"; echo no space >&2; exit 1");
        let err = toolchain.built(&RECIPE).unwrap_err();
        let Error::Build { output, command, .. } = &err else { panic!("{err}") };
        assert_eq!(output, "no space");
        assert!(command.starts_with("go build -mod=readonly -trimpath "), "{command}");
        let kept = std::fs::read_dir(&toolchain.cache).unwrap().flatten();
        let names: Vec<_> = kept.map(|entry| entry.file_name()).collect();
        assert!(names.iter().all(|name| !name.to_string_lossy().ends_with(UNFINISHED)));
        assert!(!names.iter().any(|name| name == "program"), "{names:?}");
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn without_a_fit_go_the_error_says_what_is_needed() {
        let (old, folder) = fake("old", "go1.25.9", "exit 1");
        let err = old.built(&RECIPE).unwrap_err();
        assert!(
            matches!(&err, Error::Missing { reason, .. } if reason.contains("go1.25.9")),
            "{err}"
        );
        let none = Toolchain { go: folder.join("nothing").into(), script: None, ..old };
        let err = none.built(&RECIPE).unwrap_err();
        assert!(err.to_string().contains("there is no go on PATH. Install Go 1.26"), "{err}");
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn the_build_sets_the_version() {
        let args = arguments("k8s.io/kubernetes/cmd/kube-apiserver", Path::new("/out"));
        let flags = args.iter().find(|arg| arg.contains("-X")).unwrap();
        assert!(flags.contains("version.gitVersion=v1.36.3"), "{flags}");
        assert!(flags.contains("version.gitMajor=1") && flags.contains("version.gitMinor=36"));
        assert!(
            args.ends_with(&["/out".to_owned(), "k8s.io/kubernetes/cmd/kube-apiserver".to_owned()])
        );
    }
}
