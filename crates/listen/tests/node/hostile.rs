//! What is refused, and how.

use super::{QUICK, folder, rule};
use crate::harness::{Node, Object, command, series, store};
use dicom_ul::pdu::PDataValueType::{Command, Data};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

fn started(root: &std::path::Path, more: &str) -> Node {
    Node::start(root, &(QUICK.to_owned() + more + &rule(&folder(root))))
}

#[test]
fn only_listed_titles_and_addresses_get_in() {
    let d = tempfile::tempdir().unwrap();
    let n = started(d.path(), "[[peer]]\nae = \"CT1\"\naddress = \"127.0.0.0/8\"\n");
    let objects = series("axial");
    let with = |calling: &'static str, called: &'static str| {
        let options = n.options().calling_ae_title(calling).called_ae_title(called);
        options.with_abstract_syntax(objects[0].class.clone()).establish(n.address).map(drop)
    };
    assert!(with("CT1", "AMPOULE").is_ok());
    let told = |e: dicom_ul::association::Error| format!("{e:?} {e}");
    assert!(told(with("CT2", "AMPOULE").unwrap_err()).contains("CallingAETitleNotRecognized"));
    assert!(told(with("CT1", "OTHER").unwrap_err()).contains("CalledAETitleNotRecognized"));
    drop(n);
    let other = tempfile::tempdir().unwrap();
    let n = started(other.path(), "[[peer]]\nae = \"CT1\"\naddress = \"10.0.0.0/8\"\n");
    let options = n.options().with_abstract_syntax(objects[0].class.clone());
    assert!(options.establish(n.address).is_err());
    n.told("no [[peer]] has this address");
}

#[test]
fn messages_that_make_no_sense_are_answered_so() {
    let d = tempfile::tempdir().unwrap();
    let n = started(d.path(), "");
    let objects = series("axial");
    let mut s = n.associate(&objects);
    // C-ECHO, and an operation that is not served.
    for (field, status) in [(0x30, 0), (0x20, 0x0211)] {
        let echo = command(&[(0x0100, &[field, 0]), (0x0110, &[7, 0]), (0x0800, &[1, 1])]);
        s.part(Command, &echo, true);
        assert_eq!(s.status(), Some(status));
    }
    let o = &objects[0];
    let mut with = |class: &str, instance: &str, data: &[u8]| {
        s.part(Command, &store(class, instance), true);
        s.part(Data, data, true);
        s.status()
    };
    assert_eq!(with("1.2.840.10008.1.1", &o.instance, &o.data), Some(0x0122));
    for path in ["../../../../tmp/x", "1.2/../3", "/etc/passwd", ""] {
        assert_eq!(with(&o.class, path, &o.data), Some(0x0115), "{path}");
    }
    assert_eq!(with("1.2.840.10008.5.1.4.1.1.2", &o.instance, &o.data), Some(0xa900));
    assert_eq!(with(&o.class, &objects[1].instance, &o.data), Some(0xa900));
    assert_eq!(with(&o.class, &o.instance, &o.data[..o.data.len() - 10]), Some(0xc000));
    assert_eq!(with(&o.class, &o.instance, b"no data set at all"), Some(0xc000));
    // A UID in the data set that leads out.
    let at = o.data.windows(4).position(|w| w == [0x20, 0, 0x0d, 0]).unwrap() + 8;
    let mut bad = o.data.clone();
    bad[at..at + 6].copy_from_slice(b"../../");
    assert_eq!(with(&o.class, &o.instance, &bad), Some(0xc000));
    assert_eq!(with(&o.class, &o.instance, &o.data), Some(0));
    assert_eq!(n.names("receiving"), Vec::<String>::new());
    assert_eq!(n.names("open").len(), 1);
}

#[test]
fn whoever_waits_in_the_middle_is_let_go() {
    let d = tempfile::tempdir().unwrap();
    let n = started(d.path(), "");
    let objects = series("axial");
    let begun = Instant::now();
    let mut s = n.associate(&objects);
    assert_eq!(s.store(&objects[0]), 0);
    s.part(Command, &store(&objects[1].class, &objects[1].instance), true);
    s.part(Data, &objects[1].data[..100], false);
    assert_eq!(s.status(), None);
    // Neither a request nor half a one, nor one byte at a time, holds a connection.
    let mut silent = TcpStream::connect(n.address).unwrap();
    let mut dripping = TcpStream::connect(n.address).unwrap();
    silent.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    for _ in 0..40 {
        std::thread::sleep(Duration::from_millis(100));
        if dripping.write_all(&[1]).is_err() {
            break;
        }
    }
    assert_eq!(silent.read(&mut [0]).unwrap_or(0), 0);
    assert!(dripping.read(&mut [0]).unwrap_or(0) == 0 && begun.elapsed() < Duration::from_secs(30));
    n.told("took too long");
    n.told("did not ask for an association in time");
    assert_eq!(n.names("receiving"), Vec::<String>::new());
    assert_eq!((n.names("open").len(), n.names("jobs").len()), (1, 0));
}

#[test]
fn more_associations_than_allowed_are_told_to_come_again() {
    let d = tempfile::tempdir().unwrap();
    let n = Node::start(d.path(), &("[limits]\nassociations = 2\n".to_owned() + &rule(&folder(d.path()))));
    let objects = series("axial");
    let held = [n.associate(&objects), n.associate(&objects)];
    let options = n.options().with_abstract_syntax(objects[0].class.clone());
    let e = options.establish(n.address).unwrap_err();
    assert!(format!("{e:?}").contains("LocalLimitExceeded"), "{e:?}");
    drop(held);
    n.told("not released");
    std::thread::sleep(Duration::from_millis(500));
    n.send(&objects);
}

#[test]
fn what_is_too_large_is_out_of_resources_and_leaves_nothing() {
    let d = tempfile::tempdir().unwrap();
    let limits = "[limits]\nobject_mib = 1\nquiet = 0\ncut_minutes = 0\n";
    let n = Node::start(d.path(), &(limits.to_owned() + &rule(&folder(d.path()))));
    let objects = series("axial");
    let large = Object { data: vec![0; 2 << 20], instance: "2.25.5".into(), ..series("axial").remove(0) };
    let mut s = n.associate(&objects);
    assert_eq!(s.store(&large), 0xa700);
    s.association.release().unwrap();
    n.told("1 refused");
    assert_eq!(n.names("receiving"), Vec::<String>::new());
    // A study of which something was refused is not run.
    let mut s = n.associate(&objects);
    assert_eq!(s.store(&objects[0]), 0);
    assert_eq!(s.store(&large), 0xa700);
    s.association.release().unwrap();
    assert!(n.told("FAILED").contains("refused"));
    assert_eq!(n.names("jobs"), Vec::<String>::new());
}

#[test]
fn commands_without_end_and_messages_out_of_order_end_the_association() {
    let d = tempfile::tempdir().unwrap();
    let n = started(d.path(), "");
    let objects = series("axial");
    let rude: [&dyn Fn(&mut crate::harness::Sender); 4] = [
        &|s| (0..6).for_each(|_| s.part(Command, &[0; 4000], false)),
        &|s| s.part(Data, b"data", true),
        &|s| s.part(Command, &[0, 0, 0, 0, 255, 255, 255, 255], true),
        &|s| {
            s.part(Command, &store("1.2.840.10008.5.1.4.1.1.4", "1.2"), true);
            s.part(Command, &store("1.2.840.10008.5.1.4.1.1.4", "1.2"), true);
        },
    ];
    for r in rude {
        let mut s = n.associate(&objects);
        // The node may have hung up before all is sent.
        let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| r(&mut s)));
        assert_eq!(s.status(), None);
    }
    assert_eq!(n.names("receiving"), Vec::<String>::new());
    n.send(&objects);
}
