//! Comments between the lines of an object: what is filled in, and why some of it is as it is.

use crate::app::flags::ManifestOptions;

/// The beginning of a line, and what stands above it.
type Comment = (&'static str, &'static str);

/// Those of every manifest.
const COMMENTS: [Comment; 4] = [
    (
        "hostNetwork: ",
        "There is neither a pod network nor DNS of the cluster before nodes are initialised.",
    ),
    ("tolerations:", "The first pod initialises the node that it runs on."),
    ("defaultMode: 288", "0440: the group is that of the pod's volumes."),
    (
        "resources:",
        "Idle it takes 14.4 MiB with the simulated cloud, and 2.3 MiB more for each 1,000 nodes. No limit: without \
         it no node is initialised.",
    ),
];

/// Where the image has to be said.
const IMAGE: Comment = ("image: ", "FILL IN: the name under which the cluster gets the image.");

/// Those of this manifest.
pub(super) fn comments(manifest: &ManifestOptions) -> Vec<Comment> {
    let image = (!manifest.says_image()).then_some(IMAGE);
    COMMENTS.into_iter().chain(image).collect()
}

/// The text with its comments.
pub(super) fn commented(text: &str, comments: &[Comment]) -> String {
    let mut commented = String::with_capacity(text.len());
    for line in text.lines() {
        let bare = line.trim_start();
        if let Some((_, comment)) = comments.iter().find(|(start, _)| bare.starts_with(start)) {
            let indent = &line[..line.len() - bare.len()];
            commented.extend([indent, "# ", comment, "\n"]);
        }
        commented.extend([line, "\n"]);
    }
    commented
}
