//! A node with real models between real sockets: what it takes, what it refuses, and what outlasts its end.

mod harness;
mod hostile;

use ampoule_listen::Event;
use dicom_dictionary_std::tags;
use harness::{Archive, Node, fourth, series, written};
use std::path::Path;
use std::time::Duration;

/// A rule for all that is MR, whose results go to `destination`.
fn rule(destination: &str) -> String {
    format!(
        r#"
[[rule]]
name = "tiny"
model = "tiny"
modality = "MR"
send = ["there"]
[[destination]]
name = "there"
{destination}
"#
    )
}

fn node(archive: &Archive) -> String {
    format!("ae = \"ARCHIVE\"\nhost = \"127.0.0.1\"\nport = {}", archive.address.port())
}

fn folder(root: &Path) -> String {
    format!("folder = {:?}", root.join("results"))
}

const QUICK: &str = "[limits]\nquiet = 0\npatience = 3\n";

fn done(n: &Node) -> usize {
    n.events().iter().filter(|e| matches!(e, Event::Done { nothing: None, .. })).count()
}

fn text(o: &dicom_object::InMemDicomObject, tag: dicom_object::Tag) -> String {
    o.element(tag).unwrap().to_str().unwrap().trim_end_matches(['\0', ' ']).to_owned()
}

#[test]
fn a_study_goes_in_and_its_segmentation_comes_back() {
    let d = tempfile::tempdir().unwrap();
    for (archive, takes) in [(Archive::start(0, false), "explicit"), (Archive::start(0, true), "implicit")] {
        let root = d.path().join(takes);
        std::fs::create_dir(&root).unwrap();
        let mut n = Node::start(&root, &(QUICK.to_owned() + &rule(&node(&archive))));
        let objects = series("axial");
        n.send(&objects);
        let got = archive.wait(1);
        assert_eq!(text(&got[0], tags::MODALITY), "SEG");
        assert_eq!(text(&got[0], tags::PATIENT_ID), "4711");
        let referenced = got[0].element(tags::REFERENCED_SERIES_SEQUENCE).unwrap().items().unwrap();
        let instances = referenced[0].element(tags::REFERENCED_INSTANCE_SEQUENCE).unwrap().items().unwrap();
        assert_eq!(instances.len(), objects.len());
        n.told(": done");
        n.end().unwrap();
        assert_eq!((n.names("done").len(), done(&n)), (1, 1), "{:?}", n.events());
        for empty in ["receiving", "open", "jobs", "failed"] {
            assert_eq!(n.names(empty), Vec::<String>::new(), "{empty}");
        }
        // Nothing that is told or recorded names the patient or the study.
        let record = std::fs::read_to_string(root.join("spool/done").join(&n.names("done")[0])).unwrap();
        let told: String = n.events().iter().map(|e| e.to_string()).collect();
        assert!(
            !record.contains("2.25") && !told.contains("2.25") && !told.contains("Muster"),
            "{record} {told}"
        );
    }
}

#[test]
fn results_go_into_a_folder_and_what_no_rule_wants_is_left() {
    let d = tempfile::tempdir().unwrap();
    let n = Node::start(d.path(), &(QUICK.to_owned() + &rule(&folder(d.path()))));
    n.send(&series("axial"));
    n.told(": done");
    let job = std::fs::read_dir(d.path().join("results")).unwrap().next().unwrap().unwrap().path();
    let names: Vec<String> = std::fs::read_dir(job.join("tiny"))
        .unwrap()
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .collect();
    let seg = names.iter().find(|n| n.ends_with("_seg.dcm")).unwrap();
    assert!(names.iter().any(|n| n.ends_with("_mask.nii.gz")), "{names:?}");
    assert_eq!(text(&written(&job.join("tiny").join(seg)), tags::MODALITY), "SEG");
    n.send(&series("ct"));
    assert!(n.told("nothing to do").contains("(CT, "), "{:?}", n.events());
}

#[test]
fn a_series_that_is_no_volume_is_put_aside_with_the_reason() {
    let d = tempfile::tempdir().unwrap();
    let n = Node::start(d.path(), &(QUICK.to_owned() + &rule(&folder(d.path()))));
    let mut objects = series("axial");
    objects.remove(fourth("axial"));
    n.send(&objects);
    let told = n.told("FAILED");
    assert!(told.contains("a slice is missing"), "{told}");
    assert_eq!(n.names("failed").len(), 1);
}

#[test]
fn results_wait_for_an_archive_that_is_away_and_outlast_the_node() {
    let d = tempfile::tempdir().unwrap();
    let archive = Archive::start(0, false);
    let port = archive.address.port();
    // A port that nobody listens on yet.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    assert_ne!(port, free);
    let more = QUICK.to_owned() + &rule(&format!("ae = \"ARCHIVE\"\nhost = \"127.0.0.1\"\nport = {free}"));
    let mut n = Node::start(d.path(), &more);
    n.send(&series("axial"));
    n.told("not sent to there");
    n.end().unwrap();
    assert_eq!((n.names("jobs").len(), done(&n)), (1, 0));
    let archive = Archive::start(free, false);
    let mut n = Node::start(d.path(), &more);
    let resumed = n.wait(|e| match e {
        Event::Listening { resumed, .. } => Some(*resumed),
        _ => None,
    });
    n.told(": done");
    n.end().unwrap();
    assert_eq!((resumed, archive.objects.lock().unwrap().len(), done(&n)), (1, 1, 1));
    // The case itself had been done before.
    assert!(!n.events().iter().any(|e| matches!(e, Event::Ran { .. })), "{:?}", n.events());
}

#[test]
fn a_sender_that_is_cut_off_and_comes_again_makes_one_job() {
    let d = tempfile::tempdir().unwrap();
    let mut n = Node::start(d.path(), &(QUICK.to_owned() + &rule(&folder(d.path()))));
    let objects = series("axial");
    let mut first = n.associate(&objects);
    for o in &objects[..4] {
        assert_eq!(first.store(o), 0);
    }
    drop(first);
    n.told("not released");
    std::thread::sleep(Duration::from_millis(400));
    assert_eq!((n.names("open").len(), n.names("jobs").len()), (1, 0));
    n.send(&objects);
    n.told(": done");
    n.end().unwrap();
    let closed: Vec<usize> = n
        .events()
        .iter()
        .filter_map(|e| match e {
            Event::Closed { objects, .. } => Some(*objects),
            _ => None,
        })
        .collect();
    assert_eq!(closed, [7]);
}
