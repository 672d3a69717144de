//! Files of the book, read and written.

use std::path::{Path, PathBuf};

fn path(page: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/src").join(page)
}

/// What stands on a page. `""`: there is none.
pub(crate) fn read(page: &str) -> String {
    std::fs::read_to_string(path(page)).unwrap_or_default()
}

/// The whole page is this text.
pub(crate) fn holds(page: &str, text: &str) {
    if std::env::var_os("CCM_BLESS").is_some() {
        std::fs::write(path(page), text).unwrap();
    }
    assert!(
        read(page) == text,
        "{page} is stale: run `CCM_BLESS=1 cargo test -p ccm-provider-aws --test pages`"
    );
}

/// The part of a page between `<!-- NAME: generated -->` and `<!-- NAME: end -->` is this text.
pub(crate) fn holds_part(page: &str, name: &str, text: &str) {
    let (begin, end) = (format!("<!-- {name}: generated -->\n"), format!("<!-- {name}: end -->"));
    let found = read(page);
    let (before, rest) = found.split_once(&begin).unwrap();
    let (_, behind) = rest.split_once(&end).unwrap();
    holds(page, &format!("{before}{begin}{text}{end}{behind}"));
}
