//! Which crate may depend on which: the picture in `docs/architecture.md` as a table.

use crate::source::Crate;

/// A crate and the crates of the workspace it may depend on. Tests may use any crate.
const ARROWS: &[(&str, &[&str])] = &[
    // Lowest: they know no other crate.
    ("random", &[]),
    ("files", &[]),
    ("kernels", &[]),
    ("graph", &[]),
    ("imaging", &["files", "random"]),
    // The network.
    ("onnx", &["files", "graph"]),
    ("runtime", &["graph", "kernels"]),
    ("engine", &["graph", "kernels", "onnx", "random", "runtime"]),
    ("train", &["graph", "kernels", "random", "runtime"]),
    // From a file of a patient to a result.
    ("pipeline", &["engine", "files", "graph", "imaging", "onnx", "random"]),
    ("zoo", &["files", "graph", "imaging", "onnx", "pipeline"]),
    // What is done with a model.
    ("eval", &["engine", "files", "graph", "imaging", "kernels", "onnx", "pipeline", "random"]),
    (
        "optimize",
        &[
            "engine", "eval", "files", "graph", "imaging", "kernels", "onnx", "pipeline", "random",
            "runtime", "train",
        ],
    ),
    (
        "bench",
        &["engine", "eval", "files", "graph", "imaging", "kernels", "onnx", "pipeline", "random", "runtime"],
    ),
    (
        "study",
        &[
            "bench", "engine", "eval", "files", "graph", "imaging", "kernels", "onnx", "optimize",
            "pipeline", "random", "runtime", "train", "zoo",
        ],
    ),
    // For users: of Rust, and of the command line.
    (
        "ampoule",
        &[
            "engine", "eval", "files", "graph", "imaging", "kernels", "onnx", "optimize", "pipeline",
            "runtime", "zoo",
        ],
    ),
    (
        "cli",
        &[
            "bench", "engine", "eval", "files", "graph", "imaging", "kernels", "onnx", "optimize",
            "pipeline", "random", "runtime", "study", "train", "zoo",
        ],
    ),
    // For tests only.
    ("testing", &["graph", "kernels", "random"]),
    ("structure", &[]),
];

/// Dependencies that the table does not have, and crates that it does not know.
pub(crate) fn wrong(crates: &[Crate]) -> Vec<String> {
    let mut wrong = Vec::new();
    for krate in crates {
        let row = ARROWS.iter().find(|(name, _)| *name == krate.name);
        let may: &[&str] = row.map_or(&[], |(_, may)| may);
        if row.is_none() {
            wrong.push(format!("{} is not in the table of crates", krate.name));
        }
        let others = krate.depends.iter().filter(|d| !may.contains(&d.as_str()));
        wrong.extend(others.map(|d| format!("{} -> {d}", krate.name)));
    }
    wrong
}
