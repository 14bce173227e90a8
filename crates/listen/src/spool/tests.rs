use super::*;
use std::io::Write;

fn limits() -> Limits {
    Limits { quiet: 0, cut_minutes: 0, ..Limits::default() }
}

fn identity(study: &str, instance: &str) -> Identity {
    Identity { class: "1.2".into(), instance: instance.into(), study: study.into(), series: "1.3".into() }
}

fn sent(s: &Spool, association: u64, study: &str, instance: &str, content: &[u8]) -> Result<(), Unkept> {
    let mut part = s.part().unwrap();
    part.write_all(content).unwrap();
    s.keep(association, "CT1", part, &identity(study, instance))
}

fn files(folder: &Path) -> usize {
    folders::inside(folder).unwrap().len()
}

#[test]
fn a_study_is_complete_once_its_senders_have_released() {
    let d = tempfile::tempdir().unwrap();
    let s = Spool::open(d.path(), limits()).unwrap();
    let (a, b) = (s.begin(), s.begin());
    sent(&s, a, "1.1", "1", b"x").unwrap();
    sent(&s, b, "1.1", "2", b"y").unwrap();
    s.end(a, true);
    assert!(s.due().closed.is_empty());
    s.end(b, true);
    let due = s.due();
    assert_eq!((due.closed.len(), due.closed[0].objects, due.failed.len()), (1, 2, 0));
    assert_eq!(s.jobs().unwrap(), [due.closed[0].job.clone()]);
    assert_eq!(s.calling(&due.closed[0].job), "CT1");
    // Objects that come later are another job.
    let c = s.begin();
    sent(&s, c, "1.1", "3", b"z").unwrap();
    s.end(c, true);
    assert!(s.due().closed[0].job.ends_with("-2"));
}

#[test]
fn a_study_whose_sender_was_cut_off_waits_for_one_that_begins_later() {
    let d = tempfile::tempdir().unwrap();
    let s = Spool::open(d.path(), Limits { cut_minutes: 1, ..limits() }).unwrap();
    let (a, b) = (s.begin(), s.begin());
    sent(&s, a, "1.1", "1", b"x").unwrap();
    sent(&s, b, "1.1", "2", b"y").unwrap();
    s.end(a, false);
    // This one had begun before the other was cut off, and knows nothing of what that one did not send.
    s.end(b, true);
    assert!(s.due().closed.is_empty());
    let c = s.begin();
    sent(&s, c, "1.1", "1", b"x").unwrap();
    s.end(c, true);
    assert_eq!(s.due().closed[0].objects, 2);
    // One that never comes again.
    let e = s.begin();
    sent(&s, e, "2.2", "1", b"x").unwrap();
    s.end(e, false);
    drop(s);
    let s = Spool::open(d.path(), limits()).unwrap();
    let due = s.due();
    assert_eq!((due.closed.len(), due.failed.len()), (0, 1), "{due:?}");
    assert_eq!((files(&d.path().join("failed")), files(&d.path().join("open"))), (1, 0));
}

#[test]
fn another_process_goes_on_where_this_one_was_killed() {
    let d = tempfile::tempdir().unwrap();
    let s = Spool::open(d.path(), Limits { quiet: 1000, ..limits() }).unwrap();
    assert!(matches!(Spool::open(d.path(), limits()), Err(Error::Taken { .. })));
    let (a, b) = (s.begin(), s.begin());
    sent(&s, a, "1.1", "1", b"x").unwrap();
    s.end(a, true);
    sent(&s, b, "2.2", "1", b"x").unwrap();
    let half = s.part().unwrap();
    std::mem::forget(half);
    assert!(s.due().closed.is_empty() && files(&d.path().join("receiving")) == 1);
    drop(s);
    let s = Spool::open(d.path(), Limits { cut_minutes: 1, ..limits() }).unwrap();
    assert_eq!(files(&d.path().join("receiving")), 0);
    let due = s.due();
    assert_eq!((due.closed.len(), s.waiting()), (1, 1), "one was released, the other was not");
    // Killed between the record and the removal of a job.
    let job = &due.closed[0].job;
    write_json(&d.path().join(format!("done/{job}.json")), &Ended::default()).unwrap();
    drop(s);
    let s = Spool::open(d.path(), limits()).unwrap();
    assert!(s.jobs().unwrap().is_empty());
}

#[test]
fn copies_are_kept_once_and_others_of_the_same_name_are_refused() {
    let d = tempfile::tempdir().unwrap();
    let s = Spool::open(d.path(), limits()).unwrap();
    let a = s.begin();
    let large = vec![7; 200_000];
    sent(&s, a, "1.1", "1", &large).unwrap();
    sent(&s, a, "1.1", "1", &large).unwrap();
    let mut other = large.clone();
    *other.last_mut().unwrap() = 8;
    assert!(matches!(sent(&s, a, "1.1", "1", &other), Err(Unkept::Other)));
    assert!(matches!(sent(&s, a, "1.1", "1", b"short"), Err(Unkept::Other)));
    assert_eq!(files(&d.path().join("receiving")), 0);
    s.end(a, true);
    assert_eq!(s.due().closed[0].objects, 1);
}

#[test]
fn names_are_hashes_and_stay_in_their_folder() {
    let d = tempfile::tempdir().unwrap();
    let root = d.path().join("spool");
    let s = Spool::open(&root, limits()).unwrap();
    let a = s.begin();
    sent(&s, a, "../../escape", "../../../etc/passwd", b"x").unwrap();
    assert_eq!(files(d.path()), 1);
    let study = &folders::inside(&root.join("open")).unwrap()[0];
    assert_eq!(study.file_name().unwrap().len(), NAME);
}

#[test]
fn limits_hold_and_give_back() {
    let d = tempfile::tempdir().unwrap();
    let s = Spool::open(d.path(), Limits { object_mib: 1, spool_mib: 2, ..limits() }).unwrap();
    let block = vec![0; 1 << 20];
    let mut one = s.part().unwrap();
    one.write_all(&block).unwrap();
    let kind = |e: io::Error| e.kind();
    assert_eq!(one.write_all(&[0]).map_err(kind), Err(io::ErrorKind::StorageFull));
    let mut two = s.part().unwrap();
    two.write_all(&block).unwrap();
    let mut three = s.part().unwrap();
    assert_eq!(three.write_all(&[0]).map_err(kind), Err(io::ErrorKind::StorageFull));
    drop((one, three));
    let mut three = s.part().unwrap();
    three.write_all(&block).unwrap();
    drop((two, three));
    assert_eq!((s.state().bytes, files(&d.path().join("receiving"))), (0, 0));
}
