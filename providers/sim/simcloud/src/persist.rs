//! The state file: the whole cloud in one JSON document, replaced as a whole.

use std::fs;
use std::fs::File;
use std::io;
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::state::{Cloud, Snapshot};

/// The layout of the file that we read and write.
const FORMAT: u32 = 1;

/// A state file that cannot be used.
#[derive(Debug, Error)]
pub enum StateFileError {
    /// The system does not let us at it.
    #[error("cannot {action} the state file {}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// It is not what this program wrote.
    #[error("the state file {} is damaged: {why}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// How it shows.
        why: String,
    },
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document<S> {
    format: u32,
    cloud: S,
}

/// The cloud from the file; a new one when there is no file.
pub(crate) fn load(path: &Path, seed: u64) -> Result<Cloud, StateFileError> {
    let text = match fs::read(path) {
        Ok(text) => text,
        Err(err) if err.kind() == io::ErrorKind::NotFound => return Ok(Cloud::new(seed)),
        Err(source) => {
            return Err(StateFileError::Io { action: "read", path: path.to_owned(), source });
        }
    };
    let damaged = |why| StateFileError::Damaged { path: path.to_owned(), why };
    let document: Document<Snapshot> =
        serde_json::from_slice(&text).map_err(|err| damaged(err.to_string()))?;
    if document.format != FORMAT {
        let why = format!("it has format {}, not {FORMAT}", document.format);
        return Err(damaged(why));
    }
    Cloud::restore(seed, document.cloud).map_err(damaged)
}

/// Replaces the file: whoever reads it finds the old state or the new one, whole.
pub(crate) fn save(path: &Path, snapshot: &Snapshot) -> Result<(), StateFileError> {
    let failed =
        |action| move |source| StateFileError::Io { action, path: path.to_owned(), source };
    replace_file(path, |file| {
        let mut out = BufWriter::new(file);
        serde_json::to_writer(&mut out, &Document { format: FORMAT, cloud: snapshot })?;
        out.flush()
    })
    .map_err(failed("write"))
}

/// Writes a file beside the old one and moves it there when it is complete and on disk.
pub(crate) fn replace_file(
    path: &Path,
    write: impl FnOnce(&mut File) -> io::Result<()>,
) -> io::Result<()> {
    let mut beside = path.to_owned().into_os_string();
    beside.push(".tmp");
    let beside = PathBuf::from(beside);
    let mut file = File::create(&beside)?;
    write(&mut file)?;
    file.sync_all()?;
    fs::rename(&beside, path)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::api::{CreateInstance, Timestamp};
    use crate::state::{Moment, Pace};

    /// A folder that goes away with the test.
    struct Scratch(PathBuf);

    impl Scratch {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("simcloud-{}-{name}", std::process::id()));
            fs::create_dir_all(&path).unwrap();
            Self(path)
        }

        fn file(&self) -> PathBuf {
            self.0.join("state.json")
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn what_is_saved_is_loaded() {
        let scratch = Scratch::new("roundtrip");
        let moment = Moment { now: Timestamp::now(), pace: Pace::default() };
        let mut cloud = Cloud::new(1);
        let made = cloud.fleet.create(moment, vec![CreateInstance::named("node-1")]).unwrap();

        save(&scratch.file(), &cloud.snapshot()).unwrap();
        let loaded = load(&scratch.file(), 1).unwrap();

        assert_eq!(loaded.fleet.get(moment, &made[0].id).unwrap(), made[0]);
        assert_eq!(fs::read_dir(&scratch.0).unwrap().count(), 1, "nothing is left beside it");
    }

    #[test]
    fn a_file_from_before_there_were_replacements_is_read() {
        let scratch = Scratch::new("older");
        let moment = Moment { now: Timestamp::now(), pace: Pace::default() };
        let mut cloud = Cloud::new(1);
        let made = cloud.fleet.create(moment, vec![CreateInstance::named("node-1")]).unwrap();
        save(&scratch.file(), &cloud.snapshot()).unwrap();
        let text = fs::read_to_string(scratch.file()).unwrap();
        let older = text.replace("\"incarnation\":1,", "");
        assert_ne!(older, text, "it is always written");
        fs::write(scratch.file(), older).unwrap();

        let loaded = load(&scratch.file(), 1).unwrap();

        assert_eq!(loaded.fleet.get(moment, &made[0].id).unwrap(), made[0]);
    }

    #[test]
    fn a_file_from_before_there_were_load_balancers_is_read() {
        let scratch = Scratch::new("oldest");
        let moment = Moment { now: Timestamp::now(), pace: Pace::default() };
        let mut cloud = Cloud::new(1);
        let made = cloud.fleet.create(moment, vec![CreateInstance::named("node-1")]).unwrap();
        save(&scratch.file(), &cloud.snapshot()).unwrap();
        let text = fs::read_to_string(scratch.file()).unwrap();
        let (before, _) = text.split_once(",\"load_balancers\":").unwrap();
        let older = format!("{}}}}}", before.replace("\"value\":", "\"instance\":"));
        fs::write(scratch.file(), older).unwrap();

        let loaded = load(&scratch.file(), 1).unwrap();

        assert_eq!(loaded.fleet.get(moment, &made[0].id).unwrap(), made[0]);
    }

    #[test]
    fn a_file_from_before_there_were_routes_is_read() {
        let scratch = Scratch::new("before-routes");
        save(&scratch.file(), &Cloud::new(1).snapshot()).unwrap();
        let text = fs::read_to_string(scratch.file()).unwrap();
        let (before, _) = text.split_once(",\"routes\":").unwrap();
        fs::write(scratch.file(), format!("{before}}}}}}}")).unwrap();

        let loaded = load(&scratch.file(), 1).unwrap();

        assert_eq!(loaded.pieces.len(crate::api::PieceKind::Route), 0);
    }

    #[test]
    fn without_a_file_the_cloud_is_new() {
        let scratch = Scratch::new("new");
        assert_eq!(load(&scratch.file(), 1).unwrap().fleet.len(), 0);
    }

    #[rstest]
    #[case::empty("", "EOF")]
    #[case::cut("{\"format\":1,\"cloud\":{\"newest\":", "EOF")]
    #[case::of_the_future("{\"format\":2,\"cloud\":{\"newest\":0,\"instances\":{}}}", "format 2")]
    #[case::anothers("{\"kind\":\"List\"}", "unknown field")]
    fn a_damaged_file_is_an_error(#[case] text: &str, #[case] want: &str) {
        let scratch = Scratch::new(&format!("damaged-{}", text.len()));
        fs::write(scratch.file(), text).unwrap();
        let err = load(&scratch.file(), 1).unwrap_err().to_string();
        assert!(err.contains("damaged") && err.contains(want), "{err}");
    }
}
