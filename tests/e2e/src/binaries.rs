//! Where the programs under test are.

use std::env;
use std::path::{Path, PathBuf};

/// Names the folder with the programs, where they are not beside the tests.
const BIN_DIR: &str = "CCM_BIN_DIR";

/// The program of this name; fails with what to do if it is not there.
///
/// Cargo builds only the programs of a test's own package, so somebody has to have built these.
/// Building them from here would wait for the lock that the outer cargo may hold.
pub(crate) fn locate(name: &str) -> PathBuf {
    let dir = env::var_os(BIN_DIR).map_or_else(beside_the_tests, PathBuf::from);
    let path = dir.join(name);
    assert!(
        path.is_file(),
        "{} does not exist: run `cargo build -p cloud-controller-manager -p simcloud` first, use \
         `cargo xtask test`, or say with {BIN_DIR} where the programs are",
        path.display()
    );
    path
}

/// `target/debug`, where the test is `target/debug/deps/scenarios-…`.
fn beside_the_tests() -> PathBuf {
    let test = env::current_exe().expect("the system knows our own executable");
    test.ancestors().nth(2).map(Path::to_owned).expect("a test is in target/<profile>/deps")
}
