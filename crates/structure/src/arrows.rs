//! Which crate may depend on which: the picture in `docs/architecture.md` as a table.

use crate::source::Crate;

/// A crate and the crates of the workspace it may depend on. Tests may use any crate.
const ARROWS: &[(&str, &[&str])] = &[
    // Lowest: they know no other crate.
    ("random", &[]),
    ("files", &[]),
    ("system", &[]),
    ("kernels", &[]),
    ("graph", &[]),
    ("imaging", &["files"]),
    ("dicom", &["files", "imaging"]),
    // The network.
    ("onnx", &["files", "graph", "system"]),
    ("torch", &["graph"]),
    ("runtime", &["graph", "kernels", "system"]),
    ("engine", &["graph", "kernels", "runtime"]),
    ("train", &["graph", "kernels", "random", "runtime"]),
    // From a file of a patient to a result.
    ("pipeline", &["dicom", "engine", "files", "graph", "imaging", "kernels", "onnx", "system"]),
    ("zoo", &["files", "graph", "onnx", "pipeline", "torch"]),
    // What is done with a model.
    ("eval", &["engine", "graph", "imaging", "pipeline", "random"]),
    (
        "optimize",
        &["engine", "eval", "files", "graph", "imaging", "kernels", "onnx", "pipeline", "random", "train"],
    ),
    ("bench", &["engine", "eval", "files", "graph", "kernels", "onnx", "pipeline", "random"]),
    (
        "study",
        &[
            "bench", "engine", "eval", "files", "graph", "imaging", "kernels", "onnx", "optimize",
            "pipeline", "random", "system",
        ],
    ),
    ("serve", &["engine", "files", "graph", "imaging", "pipeline"]),
    ("listen", &["dicom", "engine", "files", "graph", "pipeline"]),
    // For users: of Rust, of Python, and of the command line.
    (
        "ampoule",
        &["engine", "eval", "graph", "imaging", "kernels", "onnx", "optimize", "pipeline", "study", "zoo"],
    ),
    ("python", &["ampoule"]),
    (
        "cli",
        &[
            "bench", "engine", "eval", "files", "graph", "imaging", "kernels", "listen", "onnx", "optimize",
            "pipeline", "serve", "study", "system", "zoo",
        ],
    ),
    // For tests only.
    ("testing", &["graph", "kernels", "random"]),
    ("structure", &[]),
];

/// Dependencies that the table does not have or that no crate uses, and crates that it does not know.
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
        let unused = may.iter().filter(|d| !krate.depends.contains(**d));
        wrong.extend(unused.map(|d| format!("{} -> {d} is in the table of crates and not used", krate.name)));
    }
    wrong
}
