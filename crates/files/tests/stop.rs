//! What is left of unfinished files: apart from other tests, as it concerns all files of a process.

use ampoule_files::stop::{Polite, discard, finished, polite, unfinished};

#[test]
fn only_unfinished_files_are_removed() {
    let d = tempfile::tempdir().unwrap();
    let (a, b) = (d.path().join("a"), d.path().join("b"));
    for path in [&a, &b] {
        std::fs::write(path, "x").unwrap();
        unfinished(path);
    }
    finished(&a);
    discard();
    assert!(a.exists() && !b.exists());
    assert!(!polite());
    let work = Polite::new();
    assert!(polite());
    drop(work);
    assert!(!polite());
    // Folders go too.
    let folder = ampoule_files::Scratch::new().unwrap();
    std::fs::write(folder.path().join("x"), "x").unwrap();
    ampoule_files::stop::discard();
    assert!(!folder.path().exists());
}
