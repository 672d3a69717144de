//! The program that holds a pod's namespaces: it does nothing but wait for its end.
//!
//! Container runtimes start one in every pod. It is usually fetched from a registry of images, which a test should not
//! need. Its source is in `tests/node/pause`.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    path::PathBuf,
    time::Duration,
};

use crate::{
    error::Error,
    toolchain::{Recipe, Toolchain},
};

/// The file's name.
const NAME: &str = "pause";

const MODULE: [(&str, &str); 2] = [
    ("go.mod", include_str!("../../node/pause/go.mod")),
    ("main.go", include_str!("../../node/pause/main.go")),
];

/// The program's path, from the user's cache; built first if it is not there. It needs no library and no file.
pub async fn locate() -> Result<PathBuf, Error> {
    let build = || {
        let recipe = recipe();
        Toolchain::of_this_user(&recipe)?.built(&recipe)
    };
    tokio::task::spawn_blocking(build)
        .await
        .map_err(|err| missing(NAME, format!("looking for it failed: {err}")))?
}

fn missing(program: &'static str, reason: String) -> Error {
    Error::MissingPeer { program, reason }
}

fn recipe() -> Recipe {
    let mut content = DefaultHasher::new();
    MODULE.hash(&mut content);
    let (os, arch) = (std::env::consts::OS, std::env::consts::ARCH);
    Recipe {
        name: NAME,
        folder: format!("pause-{:016x}-{os}-{arch}", content.finish()),
        files: &MODULE,
        package: ".",
        build_time: Duration::from_secs(5),
        missing,
    }
}
