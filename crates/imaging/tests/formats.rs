//! Every kind of file against Pillow and nibabel (`scripts/golden_formats.py`), whole, cut short and damaged.

use ampoule_imaging::formats::{Format, read_volume};
use ampoule_imaging::nifti;
use ampoule_imaging::photo::{Error, Photo};
use serde_json::Value;
use std::path::{Path, PathBuf};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/formats")
}

fn golden() -> Value {
    serde_json::from_slice(&std::fs::read(folder().join("golden.json")).unwrap()).unwrap()
}

fn read(name: &str) -> Photo {
    Photo::read(&folder().join(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
}

fn numbers(v: &Value) -> Vec<u64> {
    v.as_array().unwrap().iter().map(|n| n.as_u64().unwrap()).collect()
}

/// The first `n` bytes of a file, under a name without an ending.
fn cut(bytes: &[u8], n: usize) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), &bytes[..n]).unwrap();
    file
}

#[test]
fn whole_pictures_are_what_pillow_reads() {
    for (name, _) in golden()["cuts"].as_object().unwrap() {
        let want = format!("{name}.want.png");
        if !folder().join(&want).exists() {
            continue;
        }
        let (photo, want) = (read(name), read(&want));
        assert_eq!((photo.width, photo.height), (want.width, want.height), "{name}");
        let most = photo.rgb.iter().zip(&want.rgb).map(|(a, b)| a.abs_diff(*b)).max().unwrap();
        // Decoders of JPEG and lossy WebP round and interpolate chroma a little differently.
        let lossy = name.contains("jp") || name.contains("lossy") || name.contains("baseline");
        assert!(most <= if lossy { 12 } else { 0 }, "{name}: {most}");
    }
}

#[test]
fn nothing_is_read_that_pillow_refuses() {
    let mut wrong = Vec::new();
    for (name, cuts) in golden()["cuts"].as_object().unwrap() {
        let bytes = std::fs::read(folder().join(name)).unwrap();
        let theirs = numbers(&cuts["read"]);
        for n in numbers(&cuts["lengths"]) {
            let ours = Photo::read(cut(&bytes, n as usize).path());
            match ours {
                Ok(_) if !theirs.contains(&n) => wrong.push(format!("{name}: {n} of {} bytes", bytes.len())),
                Err(e) if e.to_string().is_empty() => wrong.push(format!("{name}: no words")),
                _ => {}
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn one_picture_in_every_type_of_sample_is_one_picture() {
    let want = read("meaning_want.png");
    let note = |name: &str, words: &str| {
        let photo = read(name);
        let most = photo.rgb.iter().zip(&want.rgb).map(|(a, b)| a.abs_diff(*b)).max().unwrap();
        // Twelve bits and fractions of one are rounded twice.
        assert!(most <= (name.contains("twelve") || name.contains("unit")) as u8, "{name}: {most}");
        assert!(photo.notes.join("; ").contains(words), "{name}: {:?}", photo.notes);
        assert_eq!(photo.notes.len(), !words.is_empty() as usize, "{name}: {:?}", photo.notes);
    };
    for (name, words) in [
        ("u8", ""),
        ("u32", "taken as levels"),
        ("i16", "taken as levels"),
        ("i32", "taken as levels"),
        ("f16", "taken as levels"),
        ("f32", "taken as levels"),
        ("f64", "taken as levels"),
        ("unit", "scaled to 255"),
        ("u16", "rounded to eight"),
        ("twelve", "12 of 16 bits; scaled by 4095"),
        ("low", "8 of 16 bits"),
        ("big_endian", "taken as levels"),
        ("predicted", "taken as levels"),
        ("differences", "rounded to eight"),
        ("planes", ""),
        ("tiles", "taken as levels"),
        ("pages", "holds 2 images; image 1"),
        ("label_first", "holds 2 images; image 2"),
    ] {
        note(&format!("meaning_{name}.tif"), words);
    }
    let grey = read("grey_want.png");
    assert_eq!(read("grey_white.tif").rgb, grey.rgb);
    assert_eq!(read("grey_white16.tif").rgb, grey.rgb);
}

#[test]
fn pixel_sizes_are_believed_where_a_microscope_can_have_them() {
    for (name, want) in [
        ("size_cm.tif", Some(0.5)),
        ("size_inch.tif", Some(0.5)),
        ("size_screen.tif", None),
        ("size_ome.tif", Some(0.5)),
        ("size_phys.png", Some(0.5)),
        ("plain.tif", None),
    ] {
        let photo = read(name);
        match want {
            Some(v) => assert!((photo.mpp.unwrap() - v).abs() < 1e-3, "{name}: {:?}", photo.mpp),
            None => assert_eq!(photo.mpp, None, "{name}"),
        }
    }
    let half = read("size_cm.tif").resized(28, 21, ampoule_imaging::photo::Filter::Bilinear);
    assert!((half.mpp.unwrap() - 0.5 * 57.0 / 28.0).abs() < 1e-9);
}

#[test]
fn animations_are_said_to_be() {
    assert!(read("animated.gif").notes[0].contains("animated"));
    assert!(read("plain.gif").notes.is_empty());
}

#[test]
fn any_byte_may_be_wrong() {
    // Nothing panics, and nothing needs more than it is allowed.
    for (name, _) in golden()["cuts"].as_object().unwrap() {
        let bytes = std::fs::read(folder().join(name)).unwrap();
        let step = (bytes.len() / 60).max(1);
        for i in (0..bytes.len()).step_by(step).chain(0..bytes.len().min(40)) {
            let mut damaged = bytes.clone();
            damaged[i] ^= if i % 2 == 0 { 0xff } else { 0x81 };
            let _ = Photo::read_within(cut(&damaged, damaged.len()).path(), 16 << 20);
        }
    }
}

#[test]
fn damaged_checksums_are_errors() {
    let bytes = std::fs::read(folder().join("plain.png")).unwrap();
    let at = bytes.windows(4).position(|w| w == b"IDAT").unwrap();
    for i in [at + 20, bytes.len() - 14, 30] {
        let mut damaged = bytes.clone();
        damaged[i] ^= 1;
        let e = Photo::read(cut(&damaged, damaged.len()).path()).unwrap_err().to_string();
        assert!(e.contains("checksum"), "byte {i}: {e}");
    }
    // The sum inside the compressed pixels, with that of the chunk put right.
    let length = u32::from_be_bytes(bytes[at - 4..at].try_into().unwrap()) as usize;
    let mut damaged = bytes.clone();
    damaged[at + 4 + length - 1] ^= 1;
    let mut crc = flate2::Crc::new();
    crc.update(&damaged[at..at + 4 + length]);
    damaged[at + 4 + length..at + 8 + length].copy_from_slice(&crc.sum().to_be_bytes());
    let e = Photo::read(cut(&damaged, damaged.len()).path()).unwrap_err();
    assert!(matches!(e, Error::Damaged { format: Format::Png, .. }), "{e}");
}

#[test]
fn an_end_mark_does_not_make_a_cut_jpeg_whole() {
    for name in ["baseline.jpg", "grey.jpg", "restart.jpg", "progressive.jpg", "progressive_grey.jpg"] {
        let bytes = std::fs::read(folder().join(name)).unwrap();
        let scan = bytes.windows(2).position(|w| w == [0xff, 0xda]).unwrap() + 14;
        for n in (scan..bytes.len() - 12).step_by(bytes.len() / 40) {
            let mut damaged = bytes[..n].to_vec();
            damaged.extend([0xff, 0xd9]);
            let e = Photo::read(cut(&damaged, damaged.len()).path());
            assert!(matches!(e, Err(Error::Damaged { .. })), "{name}: {n} of {} bytes", bytes.len());
        }
        // What follows the end mark is somebody else's.
        let longer = [&bytes[..], &[0xff, 0xd8, 1, 2, 3]].concat();
        assert!(Photo::read(cut(&longer, longer.len()).path()).is_ok(), "{name}");
    }
}

#[test]
fn claims_beyond_the_data_are_refused_before_memory_is_taken() {
    let jpeg = std::fs::read(folder().join("baseline.jpg")).unwrap();
    let at = jpeg.windows(2).position(|w| w == [0xff, 0xc0]).unwrap() + 5;
    let png = std::fs::read(folder().join("plain.png")).unwrap();
    let bmp = std::fs::read(folder().join("plain.bmp")).unwrap();
    for side in [4000u16, 8000, 32000, 65500] {
        let mut bytes = jpeg.clone();
        bytes[at..at + 2].copy_from_slice(&side.to_be_bytes());
        bytes[at + 2..at + 4].copy_from_slice(&side.to_be_bytes());
        let e = Photo::read(cut(&bytes, bytes.len()).path()).unwrap_err().to_string();
        assert!(e.contains("cannot come out of"), "{e}");
        let mut bytes = png.clone();
        bytes[18..20].copy_from_slice(&side.to_be_bytes());
        bytes[22..24].copy_from_slice(&side.to_be_bytes());
        let mut crc = flate2::Crc::new();
        crc.update(&bytes[12..29]);
        bytes[29..33].copy_from_slice(&crc.sum().to_be_bytes());
        let e = Photo::read(cut(&bytes, bytes.len()).path()).unwrap_err().to_string();
        assert!(["cannot come out of", "are allowed", "the limit is"].iter().any(|t| e.contains(t)), "{e}");
        let mut bytes = bmp.clone();
        bytes[18..20].copy_from_slice(&side.to_le_bytes());
        bytes[22..24].copy_from_slice(&side.to_le_bytes());
        let e = Photo::read(cut(&bytes, bytes.len()).path()).unwrap_err().to_string();
        assert!(["the file has", "are allowed", "the limit is"].iter().any(|t| e.contains(t)), "{e}");
    }
}

#[test]
fn the_memory_that_is_needed_does_not_depend_on_the_limit() {
    for name in ["baseline.jpg", "progressive.jpg", "plain.png", "plain.tif", "meaning_f32.tif", "plain.bmp"]
    {
        let path = folder().join(name);
        let mut figures = Vec::new();
        let size = std::fs::metadata(&path).unwrap().len();
        for most in [1000, 4000] {
            match Photo::read_within(&path, size + most) {
                Err(Error::Memory { needed_mib, limit_mib: 0, .. }) => figures.push(needed_mib),
                other => panic!("{name}: {other:?}"),
            }
        }
        assert_eq!(figures, [1, 1], "{name}");
        assert!(Photo::read_within(&path, 1 << 20).is_ok(), "{name}");
    }
}

#[test]
fn freesurfer_volumes_are_what_nibabel_reads() {
    for (name, want) in golden()["volumes"].as_object().unwrap() {
        let path = folder().join(name);
        assert_eq!(Format::of(&path).unwrap(), Some(Format::Mgh), "{name}");
        let shape = numbers(&want["shape"]);
        let frame = (shape.len() == 4).then_some(1);
        if frame.is_some() {
            let e = read_volume(&path, None, u64::MAX).unwrap_err();
            assert!(matches!(e, nifti::Error::Frames { frames: 3 }), "{e}");
            assert!(read_volume(&path, Some(3), u64::MAX).is_err());
        }
        let image = read_volume(&path, frame, u64::MAX).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!(image.dims().map(|d| d as u64), shape[..3], "{name}");
        for (r, row) in image.affine().0.iter().enumerate() {
            for (c, v) in row.iter().enumerate() {
                let theirs = want["affine"][r][c].as_f64().unwrap();
                assert!((v - theirs).abs() < 1e-4, "{name} {r},{c}: {v} {theirs}");
            }
        }
        let values = image.to_f32().0.data;
        let theirs: Vec<f32> =
            want["values"].as_array().unwrap().iter().map(|v| v.as_f64().unwrap() as f32).collect();
        assert_eq!(values, theirs, "{name}");
        assert_eq!(
            image.warnings.len(),
            (name == "no_geometry.mgh") as usize,
            "{name}: {:?}",
            image.warnings
        );
        // Written and read again as NIfTI it is the same.
        let dir = tempfile::tempdir().unwrap();
        let copy = dir.path().join("copy.nii.gz");
        image.write(&copy).unwrap();
        let again = read_volume(&copy, None, u64::MAX).unwrap();
        assert_eq!((again.raw == image.raw, again.affine()), (true, image.affine()), "{name}");
        // Cut anywhere before the end of the voxels it is refused.
        let bytes = std::fs::read(&path).unwrap();
        let end = if name.ends_with("mgz") { bytes.len() - 1 } else { 284 + 7 * 6 * 5 - 1 };
        for n in (1..=end).step_by(end / 60).chain([end]) {
            let e = read_volume(cut(&bytes, n).path(), frame, u64::MAX);
            assert!(e.is_err(), "{name}: {n} of {} bytes", bytes.len());
        }
    }
}

#[cfg(unix)]
#[test]
fn pipes_and_devices_are_refused_by_every_reader() {
    let dir = tempfile::tempdir().unwrap();
    let fifo = dir.path().join("x.tif");
    let made = std::process::Command::new("mkfifo").arg(&fifo).status();
    if !made.is_ok_and(|s| s.success()) {
        println!("SKIPPED: no mkfifo here");
        return;
    }
    for path in [&fifo, Path::new("/dev/zero"), dir.path()] {
        for e in [
            Photo::read(path).unwrap_err().to_string(),
            read_volume(path, None, u64::MAX).unwrap_err().to_string(),
            ampoule_imaging::Nifti::read(path, None).unwrap_err().to_string(),
            ampoule_imaging::slide::Slide::open(path, 0).unwrap_err().to_string(),
        ] {
            assert!(e.contains("not a plain file"), "{}: {e}", path.display());
        }
        assert!(!ampoule_imaging::slide::Slide::is_one(path, 4096));
    }
}
