//! What an instance consists of, on disk: so that whoever comes later can take it away.
//!
//! Lines of words, since a shell has to read them too (`guardian.sh`).

use std::{
    fmt,
    path::{Path, PathBuf},
    str::FromStr,
};

use crate::{
    error::{Context, Error},
    process::Identity,
};

/// First line; a record of another version is left alone.
const HEADER: &str = "ccm-envtest 1";

/// How a record's file name ends.
pub(crate) const SUFFIX: &str = ".record";

/// What is added to the name while the file is being written.
pub(crate) const NEW_SUFFIX: &str = ".new";

/// Where process IDs mean something: one boot of one machine, one process namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) boot: String,
    pub(crate) namespace: String,
}

impl Place {
    pub(crate) fn here() -> Self {
        let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        let namespace = std::fs::read_link("/proc/self/ns/pid").unwrap_or_default();
        Self {
            boot: word(&boot).unwrap_or_else(|| "unknown".to_owned()),
            namespace: word(&namespace.to_string_lossy()).unwrap_or_else(|| "unknown".to_owned()),
        }
    }
}

fn word(text: &str) -> Option<String> {
    text.split_whitespace().next().map(str::to_owned)
}

/// A process that we started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Started {
    pub(crate) identity: Identity,
    pub(crate) program: PathBuf,
}

/// One instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) place: Place,
    /// While this process lives, the instance is nobody else's business.
    pub(crate) owner: Identity,
    pub(crate) directory: PathBuf,
    /// Leave the directory for a person to look at.
    pub(crate) keep: bool,
    /// It has a control group of the [name](crate::cgroups::name) of its directory in every hierarchy.
    pub(crate) cgroups: bool,
    pub(crate) processes: Vec<Started>,
}

impl Record {
    /// Replaces the file at one stroke: a reader sees the old record or the new one.
    pub(crate) fn write(&self, path: &Path) -> Result<(), Error> {
        let mut new = path.as_os_str().to_owned();
        new.push(NEW_SUFFIX);
        let write =
            || std::fs::write(&new, self.to_string()).and_then(|()| std::fs::rename(&new, path));
        // Before its first word somebody else's sweep may have taken the new file for a dead one's.
        let was_swept = |err: &std::io::Error| err.kind() == std::io::ErrorKind::NotFound;
        let written = write().or_else(|err| if was_swept(&err) { write() } else { Err(err) });
        written.context(|| format!("writing {}", path.display()))
    }
}

impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{HEADER}")?;
        writeln!(f, "place {} {}", self.place.boot, self.place.namespace)?;
        writeln!(f, "owner {}", self.owner)?;
        if self.keep {
            writeln!(f, "keep")?;
        }
        if self.cgroups {
            writeln!(f, "cgroups")?;
        }
        writeln!(f, "directory {}", self.directory.display())?;
        for Started { identity, program } in &self.processes {
            writeln!(f, "process {identity} {}", program.display())?;
        }
        Ok(())
    }
}

/// The text is no record of this version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NoRecord;

impl FromStr for Record {
    type Err = NoRecord;

    fn from_str(text: &str) -> Result<Self, NoRecord> {
        let mut lines = text.lines();
        if lines.next() != Some(HEADER) {
            return Err(NoRecord);
        }
        let (mut place, mut owner, mut directory) = (None, None, None);
        let (mut keep, mut cgroups, mut processes) = (false, false, Vec::new());
        for line in lines {
            let (kind, rest) = line.split_once(' ').unwrap_or((line, ""));
            match kind {
                "place" => {
                    let (boot, namespace) = rest.split_once(' ').ok_or(NoRecord)?;
                    place = Some(Place { boot: boot.into(), namespace: namespace.into() });
                }
                "owner" => owner = Some(identity(rest)?.0),
                "keep" => keep = true,
                "cgroups" => cgroups = true,
                "directory" => directory = Some(PathBuf::from(rest)),
                "process" => {
                    let (identity, program) = identity(rest)?;
                    processes.push(Started { identity, program: program.into() });
                }
                _ => return Err(NoRecord),
            }
        }
        Ok(Self {
            place: place.ok_or(NoRecord)?,
            owner: owner.ok_or(NoRecord)?,
            directory: directory.ok_or(NoRecord)?,
            keep,
            cgroups,
            processes,
        })
    }
}

/// `<pid> <start>` and what follows.
fn identity(text: &str) -> Result<(Identity, &str), NoRecord> {
    let (pid, rest) = text.split_once(' ').ok_or(NoRecord)?;
    let (started, rest) = rest.split_once(' ').unwrap_or((rest, ""));
    let number = |_| NoRecord;
    Ok((
        Identity { pid: pid.parse().map_err(number)?, started: started.parse().map_err(number)? },
        rest,
    ))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn record() -> Record {
        Record {
            place: Place { boot: "b-1".into(), namespace: "pid:[1]".into() },
            owner: Identity { pid: 10, started: 11 },
            directory: "/tmp/with blanks/i-1".into(),
            keep: true,
            cgroups: true,
            processes: vec![Started {
                identity: Identity { pid: 14, started: 15 },
                program: "/opt/my tools/etcd".into(),
            }],
        }
    }

    const TEXT: &str = "\
ccm-envtest 1
place b-1 pid:[1]
owner 10 11
keep
cgroups
directory /tmp/with blanks/i-1
process 14 15 /opt/my tools/etcd
";

    #[test]
    fn what_is_written_is_read_again() {
        assert_eq!(record().to_string(), TEXT);
        assert_eq!(TEXT.parse(), Ok(record()));
        let bare = Record { keep: false, cgroups: false, processes: Vec::new(), ..record() };
        assert_eq!(bare.to_string().parse(), Ok(bare));
    }

    #[rstest]
    #[case::empty("")]
    #[case::another_version("ccm-envtest 2\nowner 10 11\n")]
    #[case::cut_off("ccm-envtest 1\nplace b-1 pid:[1]\nowner 10")]
    #[case::no_number("ccm-envtest 1\nplace b-1 pid:[1]\nowner ten 11\ndirectory /tmp/x\n")]
    #[case::no_directory("ccm-envtest 1\nplace b-1 pid:[1]\nowner 10 11\n")]
    fn what_is_not_understood_is_no_record(#[case] text: &str) {
        assert_eq!(text.parse::<Record>(), Err(NoRecord));
    }

    #[test]
    fn the_place_is_two_words() {
        let place = Place::here();
        assert!(!place.boot.contains(char::is_whitespace), "{place:?}");
        assert!(place.namespace.starts_with("pid:["), "{place:?}");
    }
}
