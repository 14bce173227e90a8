//! Files that were cut, changed or made to harm: an error each, and never another volume.

use ampoule_dicom::{Error, Place, entries, read, scan};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

/// The entries of a series that the golden script wrote, as files of a folder.
fn unpacked(name: &str, folder: &Path) -> Vec<PathBuf> {
    let zip = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("tests/golden/{name}.zip"));
    let mut archive = zip::ZipArchive::new(std::fs::File::open(zip).unwrap()).unwrap();
    let mut files = Vec::new();
    for i in 0..archive.len() {
        let mut entry = archive.by_index(i).unwrap();
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).unwrap();
        let path = folder.join(entry.name().unwrap().replace('/', "_"));
        std::fs::write(&path, bytes).unwrap();
        files.push(path);
    }
    files.sort();
    files
}

fn places(files: &[PathBuf]) -> Vec<Place> {
    files.iter().map(Place::file).collect()
}

#[test]
fn a_series_with_a_file_cut_anywhere_is_no_volume() {
    let d = tempfile::tempdir().unwrap();
    for name in ["axial", "rle", "jpegls", "enhanced"] {
        let folder = d.path().join(name);
        std::fs::create_dir(&folder).unwrap();
        let files = unpacked(name, &folder);
        let whole = std::fs::read(&files[0]).unwrap();
        for part in 0..40 {
            std::fs::write(&files[0], &whole[..whole.len() * part / 40]).unwrap();
            let found = scan(&places(&files), 1 << 30);
            let fine = found.series.iter().filter(|s| s.shape.is_ok());
            let read: Vec<bool> = fine.map(|s| read(&s.places, None, 1 << 30).is_ok()).collect();
            assert!(!read.contains(&true), "{name}: cut at {part}/40 of its length it is read");
        }
    }
}

#[test]
fn changed_bytes_never_crash_it() {
    let d = tempfile::tempdir().unwrap();
    for name in ["axial", "implicit", "rle", "jpeg_lossless", "jpegls", "jpegls_near", "j2k", "enhanced"] {
        let folder = d.path().join(name);
        std::fs::create_dir(&folder).unwrap();
        let files = unpacked(name, &folder);
        let whole = std::fs::read(&files[0]).unwrap();
        // Positions and values by a rule, so that a failure can be found again.
        let mut state = 1u64;
        for _ in 0..100 {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            let at = (state >> 33) as usize % whole.len();
            let mut bytes = whole.clone();
            bytes[at] ^= (state >> 20) as u8 | 1;
            bytes[(at + 3) % whole.len()] = 0xff;
            std::fs::write(&files[0], &bytes).unwrap();
            for s in scan(&places(&files), 1 << 28).series {
                let _ = read(&s.places, Some(0), 1 << 28);
            }
        }
    }
}

#[test]
fn lengths_that_lie_are_refused_before_memory_is_taken() {
    let d = tempfile::tempdir().unwrap();
    let path = d.path().join("x.dcm");
    let mut head = vec![0; 128];
    head.extend(b"DICM");
    head.extend(b"\x02\0\x10\0UI\x14\x001.2.840.10008.1.2.1\0");
    let failure = |bytes: &[u8]| {
        std::fs::write(&path, bytes).unwrap();
        let found = scan(&places(std::slice::from_ref(&path)), 1 << 30);
        assert!(found.series.is_empty());
        found.failed.into_iter().next().map(|f| f.1.to_string()).unwrap_or_default()
    };
    // A text of 4 GiB, a sequence in a sequence a thousand times, an element of no type.
    let mut long = head.clone();
    long.extend(b"\x08\0\x18\0UT\0\0\xf0\xff\xff\xff1.2");
    assert!(failure(&long).contains("claims 4294967280 bytes, the file has 3 more"));
    let mut deep = head.clone();
    for _ in 0..1000 {
        deep.extend(b"\x08\0\x40\x11SQ\0\0\xff\xff\xff\xff\xfe\xff\0\xe0\xff\xff\xff\xff");
    }
    assert!(failure(&deep).contains("sequences lie in one another"), "{}", failure(&deep));
    let mut odd = head.clone();
    odd.extend(b"\x08\0\x18\0\x01\x02\x04\0abcd");
    assert!(failure(&odd).contains("has no type"));
    // Of a type that is not known yet, the length has 32 bits.
    let mut later = head.clone();
    later.extend(b"\x08\0\x18\0ZZ\x02\0\xff\xff\x08\0\x16\0UI\0\0");
    assert!(failure(&later).contains("claims 589823 bytes, the file has 6 more"), "{}", failure(&later));
    assert!(failure(b"no image at all").contains("no DICOM file"));
}

#[test]
fn positions_and_factors_that_make_no_sense_are_refused() {
    let d = tempfile::tempdir().unwrap();
    for (name, from, to, told) in [
        ("axial", "-20.5\\-31.25", "1e308\\-31.25", "Image Position"),
        ("axial", "1.1\\0.9", "0.0\\0.9", "Pixel Spacing"),
        ("axial", "1\\0\\0\\0\\1\\0", "1\\0\\0\\0\\9\\0", "Image Orientation"),
        ("pet", "0.013000", "0.000000", "Rescale Slope"),
        ("pet", "0.013000", "banana00", "is no number"),
    ] {
        let folder = d.path().join(format!("{name}{told}"));
        std::fs::create_dir(&folder).unwrap();
        let files = unpacked(name, &folder);
        let mut changed = 0;
        for file in &files {
            let mut bytes = std::fs::read(file).unwrap();
            while let Some(at) = bytes.windows(from.len()).position(|w| w == from.as_bytes()) {
                bytes[at..at + to.len()].copy_from_slice(to.as_bytes());
                changed += 1;
            }
            std::fs::write(file, bytes).unwrap();
        }
        assert!(changed > 0, "{told}");
        let found = scan(&places(&files), 1 << 30);
        let text =
            format!("{:?} {:?}", found.failed, found.series.iter().map(|s| &s.shape).collect::<Vec<_>>());
        assert!(text.contains(told) && found.series.iter().all(|s| s.shape.is_err()), "{told}: {text}");
    }
}

#[test]
fn archives_that_lead_out_or_lie_are_refused() {
    let d = tempfile::tempdir().unwrap();
    let path = d.path().join("x.zip");
    for name in ["../../etc/passwd", "/etc/passwd", "a/../../b", "C:\\x", "a/\u{1b}[2J"] {
        let mut zip = zip::ZipWriter::new(std::fs::File::create(&path).unwrap());
        zip.start_file(name, zip::write::SimpleFileOptions::default()).unwrap();
        zip.write_all(b"x").unwrap();
        zip.finish().unwrap();
        let e = entries(&path).unwrap_err();
        assert!(matches!(e, Error::Archive(_)) && e.to_string().contains("leads out"), "{name}: {e}");
    }
    // Eight megabytes of zeros in a few kilobytes do not fit in what is allowed.
    let mut zip = zip::ZipWriter::new(std::fs::File::create(&path).unwrap());
    zip.start_file("x", zip::write::SimpleFileOptions::default()).unwrap();
    zip.write_all(&vec![0; 8 << 20]).unwrap();
    zip.finish().unwrap();
    let found = scan(&entries(&path).unwrap(), 1 << 20);
    assert!(found.failed[0].1.is_memory(), "{:?}", found.failed);
    std::fs::write(&path, b"PK\x03\x04 and nothing behind it").unwrap();
    assert!(entries(&path).is_err());
}

#[test]
fn copies_are_left_out_and_doubles_are_refused() {
    let d = tempfile::tempdir().unwrap();
    let mut files = unpacked("axial", d.path());
    let copy = d.path().join("copy");
    std::fs::copy(&files[2], &copy).unwrap();
    files.push(copy.clone());
    let found = scan(&places(&files), 1 << 30);
    assert!(found.series[0].shape.is_ok(), "{:?}", found.series[0].shape);
    assert!(found.series[0].notes[0].contains("1 files are copies"), "{:?}", found.series[0].notes);
    let mut bytes = std::fs::read(&copy).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(&copy, bytes).unwrap();
    let shape = scan(&places(&files), 1 << 30).series.remove(0).shape;
    assert!(matches!(shape, Err(Error::Duplicate { .. })), "{shape:?}");
}

#[test]
fn a_damaged_neighbour_keeps_a_series_from_being_read() {
    let d = tempfile::tempdir().unwrap();
    let files = unpacked("axial", d.path());
    let order = read(&places(&files), None, 1 << 30).unwrap().slices;
    // The last slice: without it the stack would look whole.
    let last = &files[order[6][0]];
    let bytes = std::fs::read(last).unwrap();
    std::fs::write(last, &bytes[..400]).unwrap();
    let found = scan(&places(&files), 1 << 30);
    assert_eq!(found.failed.len(), 1);
    let e = found.series[0].shape.as_ref().unwrap_err().to_string();
    assert!(e.contains("slices of the series may be missing"), "{e}");
}

#[test]
fn a_damaged_file_that_says_its_series_leaves_the_others_alone() {
    let d = tempfile::tempdir().unwrap();
    let (one, other) = (d.path().join("one"), d.path().join("other"));
    [&one, &other].iter().for_each(|f| std::fs::create_dir(f).unwrap());
    let files = [unpacked("axial", &one), unpacked("ct", &other)].concat();
    // All in one folder, as a disc has them.
    let flat: Vec<PathBuf> = (0..files.len()).map(|i| d.path().join(format!("{i}.dcm"))).collect();
    files.iter().zip(&flat).for_each(|(from, to)| std::fs::rename(from, to).unwrap());
    let whole = scan(&places(&flat), 1 << 30);
    assert!(whole.series.len() == 2 && whole.series.iter().all(|s| s.shape.is_ok()), "{whole:?}");
    let cut = &flat[0];
    let bytes = std::fs::read(cut).unwrap();
    std::fs::write(cut, &bytes[..bytes.len() - 100]).unwrap();
    let found = scan(&places(&flat), 1 << 30);
    let sound: Vec<bool> = found.series.iter().map(|s| s.shape.is_ok()).collect();
    assert_eq!(
        (found.failed.len(), sound.iter().filter(|s| **s).count(), sound.len()),
        (1, 1, 2),
        "{found:?}"
    );
    let refused = found.series.iter().find_map(|s| s.shape.as_ref().err()).unwrap().to_string();
    assert!(refused.contains("0.dcm cannot be read"), "{refused}");
}

/// An image of two rows and columns, number `k` of a series.
fn tiny(k: usize) -> Vec<u8> {
    let mut out = vec![0; 128];
    out.extend(b"DICM");
    let mut put = |group: u16, element: u16, vr: &[u8; 2], value: &[u8]| {
        out.extend(group.to_le_bytes());
        out.extend(element.to_le_bytes());
        out.extend(vr);
        let odd = value.len() % 2;
        let length = (value.len() + odd) as u16;
        match vr {
            b"OW" => out.extend([&[0, 0], &u32::from(length).to_le_bytes()[..]].concat()),
            _ => out.extend(length.to_le_bytes()),
        }
        out.extend(value);
        out.extend(&b"\0"[..odd]);
    };
    put(2, 0x10, b"UI", b"1.2.840.10008.1.2.1");
    put(8, 0x16, b"UI", b"1.2.840.10008.5.1.4.1.1.4");
    put(8, 0x18, b"UI", format!("2.25.{k}").as_bytes());
    put(0x20, 0xe, b"UI", b"2.25.7");
    put(0x20, 0x32, b"DS", format!("0\\0\\{k}").as_bytes());
    put(0x20, 0x37, b"DS", b"1\\0\\0\\0\\1\\0");
    put(0x28, 0x4, b"CS", b"MONOCHROME2");
    put(0x28, 0x10, b"US", &[2, 0]);
    put(0x28, 0x11, b"US", &[2, 0]);
    put(0x28, 0x30, b"DS", b"1\\1");
    put(0x28, 0x100, b"US", &[16, 0]);
    put(0x28, 0x101, b"US", &[16, 0]);
    put(0x28, 0x102, b"US", &[15, 0]);
    put(0x28, 0x103, b"US", &[0, 0]);
    put(0x7fe0, 0x10, b"OW", &[k as u8, (k >> 8) as u8, 0, 0, 0, 0, 0, 0]);
    out
}

#[test]
fn ten_thousand_files_are_one_volume() {
    let d = tempfile::tempdir().unwrap();
    let files: Vec<PathBuf> = (0..10_000)
        .map(|k| {
            // Names in another order than positions.
            let path = d.path().join(format!("{:05}", (k * 7919) % 10_000));
            std::fs::write(&path, tiny(k)).unwrap();
            path
        })
        .collect();
    let found = scan(&places(&files), 1 << 20);
    assert_eq!((found.series.len(), found.failed.len()), (1, 0), "{:?}", found.failed.first());
    let volume = read(&found.series[0].places, None, 1 << 30).unwrap().image;
    assert_eq!(volume.dims(), [2, 2, 10_000]);
    let values = volume.to_f32().0;
    // The first row of a file is the last one of the volume.
    assert!((0..10_000).all(|z| values.at(0, 1, z) == z as f32));
}
