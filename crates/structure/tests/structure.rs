//! The workspace's own structure, and the checker on small workspaces that break each rule.

use std::path::Path;

use ampoule_structure::{Allowed, EXCEPTIONS, Report};

#[test]
fn the_workspace_keeps_its_structure() {
    let root = ampoule_structure::workspace();
    let report = Report::of(&root).unwrap();
    let allowed = Allowed::read(&root.join(EXCEPTIONS)).unwrap();
    let errors = allowed.compare(&report.offenders());
    assert!(errors.is_empty(), "{}\n{}", report.text(), errors.join("\n"));
    // A checker that reads nothing finds nothing.
    assert!(report.functions.len() > 1000 && report.crates.len() > 8, "{}", report.text());
}

fn write(root: &Path, file: &str, text: &str) {
    let path = root.join(file);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
}

/// A workspace of one crate, `graph`, with the given files below `src`.
fn workspace(files: &[(&str, &str)]) -> (tempfile::TempDir, Report) {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "crates/graph/Cargo.toml", "[package]\nname = \"ampoule-graph\"\n");
    for (file, text) in files {
        write(folder.path(), &format!("crates/graph/src/{file}"), text);
    }
    let report = Report::of(folder.path()).unwrap();
    (folder, report)
}

fn circles(files: &[(&str, &str)]) -> Vec<String> {
    workspace(files).1.circles.iter().map(|c| c.key()).collect()
}

#[test]
fn a_circle_of_siblings_is_found_however_it_is_written() {
    let root = ("lib.rs", "mod a; mod b; pub use a::A;");
    let b = ("b.rs", "pub struct B; fn f() { crate::A::new(); }");
    for a in [
        "use crate::b::B; pub struct A;",
        "use super::b::B as C; pub struct A;",
        "pub struct A(super::b::B);",
        "pub struct A; fn f() -> crate::b::B { todo!() }",
        "pub struct A; fn f() { println!(\"{}\", crate::b::B); }",
        "use crate::*; pub struct A; fn f() { b::B; }",
    ] {
        assert_eq!(circles(&[root, ("a.rs", a), b]), ["graph: a, b"], "{a}");
    }
    let none = "pub struct A; #[cfg(test)] mod tests { use crate::b::B; } #[cfg(test)] use crate::b::B;";
    assert!(circles(&[root, ("a.rs", none), b]).is_empty());
}

#[test]
fn circles_lie_between_cousins_and_below_the_root() {
    let files = [
        ("lib.rs", "mod a; mod b; mod c;"),
        ("a/mod.rs", "mod deep;"),
        ("a/deep.rs", "use crate::b::B;"),
        ("b.rs", "use crate::c::C; pub struct B;"),
        ("c.rs", "use crate::a; pub struct C; mod one { use super::two; } mod two { use super::one; }"),
    ];
    assert_eq!(circles(&files), ["graph: a, b, c", "graph::c: one, two"]);
}

#[test]
fn a_name_that_a_parent_imports_belongs_to_the_sibling() {
    let files = [(
        "lib.rs",
        "mod a { pub struct A; fn f(_: super::B) {} } mod b { use super::A; pub struct B; } use a::A; use b::B;",
    )];
    assert_eq!(circles(&files), ["graph: a, b"]);
    let globs = [(
        "lib.rs",
        "use a::*; mod a { pub struct A; use super::b::B; } mod b { use super::*; pub struct B(A); }",
    )];
    assert_eq!(circles(&globs), ["graph: a, b"]);
}

#[test]
fn parents_and_children_are_told_but_are_no_circle() {
    let files = [("lib.rs", "mod a; use a::A; pub struct R;"), ("a.rs", "pub struct A(crate::R);")];
    let (_folder, report) = workspace(&files);
    assert!(report.circles.is_empty());
    assert_eq!(report.parent_and_child, [("graph".to_string(), "graph::a".to_string())]);
}

#[test]
fn long_functions_and_files_are_found() {
    let body = "    let _ = 1;\n".repeat(119);
    let text = format!("struct S;\nimpl S {{\nfn long() {{\n{body}}}\nfn f() {{\n{}}}\n}}\n", &body[15..]);
    let (_folder, report) = workspace(&[("lib.rs", &text), ("x.rs", &"// line\n".repeat(601))]);
    let offenders = report.offenders();
    assert_eq!(offenders.functions.into_iter().collect::<Vec<_>>(), ["crates/graph/src/lib.rs: S::long"]);
    assert_eq!(offenders.files.into_iter().collect::<Vec<_>>(), ["crates/graph/src/x.rs"]);
}

#[test]
fn arrows_that_the_table_lacks_or_nobody_uses_are_found() {
    let folder = tempfile::tempdir().unwrap();
    let krate = |name: &str, uses: &str| {
        let package = format!("[package]\nname = \"ampoule-{name}\"\n");
        let depends = format!("[dependencies]\nampoule-{uses}.workspace = true\n");
        let depends = if uses.is_empty() { String::new() } else { depends };
        write(folder.path(), &format!("crates/{name}/Cargo.toml"), &(package + &depends));
    };
    krate("graph", "onnx");
    krate("onnx", "graph");
    krate("new", "");
    krate("runtime", "graph");
    let report = Report::of(folder.path()).unwrap();
    assert_eq!(
        report.arrows,
        [
            "graph -> onnx",
            "new is not in the table of crates",
            "onnx -> files is in the table of crates and not used",
            "onnx -> system is in the table of crates and not used",
            "runtime -> kernels is in the table of crates and not used",
            "runtime -> system is in the table of crates and not used"
        ]
    );
}

#[test]
fn exceptions_are_held_against_what_is_found() {
    let (folder, report) = workspace(&[("lib.rs", "mod a { use super::b; } mod b { use super::a; }")]);
    let list = folder.path().join("exceptions.toml");
    assert_eq!(Allowed::read(&list).unwrap().compare(&report.offenders()), ["circles: graph: a, b"]);
    std::fs::write(&list, report.offenders().to_toml()).unwrap();
    let allowed = Allowed::read(&list).unwrap();
    assert!(allowed.compare(&report.offenders()).is_empty());
    assert_eq!(allowed.compare(&Allowed::default()), ["circles: no longer needed: graph: a, b"]);
    std::fs::write(&list, "circle = []").unwrap();
    assert!(Allowed::read(&list).is_err());
}
