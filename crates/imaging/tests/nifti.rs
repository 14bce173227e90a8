//! NIfTI files that are cut, damaged or odd, made here; and what is written of them.

use ampoule_imaging::formats::{Format, read_volume};
use ampoule_imaging::geometry::Affine;
use ampoule_imaging::nifti::Error;
use ampoule_imaging::{Nifti, Volume};
use std::io::Write;
use std::path::PathBuf;

const DIMS: [usize; 3] = [6, 7, 8];

/// A file of float32 voxels, sform only, spacing 1 x 2 x 3 mm.
fn bytes() -> Vec<u8> {
    let v = Volume::new(DIMS, (0..336).map(|i| (i * 7919 % 1000) as f32).collect());
    let a = Affine([[1.0, 0.0, 0.0, -3.0], [0.0, 2.0, 0.0, 4.0], [0.0, 0.0, 3.0, 5.0]]);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.nii");
    Nifti::from_f32(&v, a).write(&path).unwrap();
    std::fs::read(path).unwrap()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut e = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(4));
    e.write_all(bytes).unwrap();
    e.finish().unwrap()
}

fn put(b: &mut [u8], at: usize, v: &[u8]) {
    b[at..at + v.len()].copy_from_slice(v);
}

fn floats(b: &mut [u8], at: usize, v: &[f32]) {
    v.iter().enumerate().for_each(|(i, v)| put(b, at + 4 * i, &v.to_le_bytes()));
}

fn read_frame(bytes: &[u8], frame: Option<usize>) -> Result<Nifti, Error> {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), bytes).unwrap();
    read_volume(file.path(), frame, u64::MAX)
}

fn read(bytes: &[u8]) -> Result<Nifti, Error> {
    read_frame(bytes, None)
}

fn changed(change: impl FnOnce(&mut Vec<u8>)) -> Result<Nifti, Error> {
    let mut b = bytes();
    change(&mut b);
    read(&b)
}

fn refused(result: Result<Nifti, Error>, words: &str) {
    let e = result.map(|n| n.warnings).unwrap_err().to_string();
    assert!(e.contains(words), "{e}; wanted {words}");
}

fn noted(result: Result<Nifti, Error>, words: &[&str]) -> Nifti {
    let image = result.unwrap();
    for w in words {
        assert!(image.warnings.iter().any(|n| n.contains(w)), "{:?}; wanted {w}", image.warnings);
    }
    assert_eq!(image.warnings.len(), words.len(), "{:?}", image.warnings);
    image
}

#[test]
fn files_cut_anywhere_are_refused() {
    let plain = bytes();
    let packed = gzip(&plain);
    assert!(noted(read(&plain), &[]).raw == noted(read(&packed), &[]).raw);
    for n in (0..plain.len()).step_by(13).chain([plain.len() - 1]) {
        assert!(read(&plain[..n]).is_err(), "{n} of {}", plain.len());
    }
    for n in 0..packed.len() {
        assert!(read(&packed[..n]).is_err(), "{n} of {} packed bytes", packed.len());
    }
    refused(
        read(&plain[..1000]),
        "336 voxels of 4 bytes = 1344 bytes from byte 352 on, the file holds 1000 bytes",
    );
    refused(read(&packed[..packed.len() - 20]), "cut off inside the voxels");
    // A sound stream of too few voxels.
    refused(read(&gzip(&plain[..1000])), "1344 bytes of voxels are described, the file holds 648");
}

#[test]
fn checksums_of_gzip_are_verified() {
    let packed = gzip(&bytes());
    for i in packed.len() - 8..packed.len() {
        let mut damaged = packed.clone();
        damaged[i] ^= 1;
        refused(read(&damaged), "the gzip stream is damaged");
    }
    // Any other byte: refused, or one of the bits that only fill up the last byte before the sums.
    let want = read(&packed).unwrap().raw;
    for i in 10..packed.len() {
        let mut damaged = packed.clone();
        damaged[i] ^= 0x10;
        let same = read(&damaged).is_ok_and(|n| n.raw == want);
        assert!(read(&damaged).is_err() || same && i == packed.len() - 9, "byte {i}");
    }
}

#[test]
fn what_follows_the_image_is_noted() {
    let plain = bytes();
    let cut = |n| [gzip(&plain[..n]), gzip(&plain[n..])].concat();
    noted(read(&cut(500)), &[]);
    noted(read(&[gzip(&plain), vec![7; 9]].concat()), &["trailing bytes"]);
    noted(read(&[&plain[..], &[0; 9]].concat()), &["9 bytes follow the voxels"]);
    noted(read(&gzip(&[&plain[..], &[0; 9]].concat())), &["9 bytes follow the voxels"]);
    // A bomb behind the image is not unpacked.
    let mut e = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(1));
    e.write_all(&plain).unwrap();
    (0..80).for_each(|_| e.write_all(&[0; 1 << 20]).unwrap());
    noted(read(&e.finish().unwrap()), &["checksum was not verified"]);
}

#[test]
fn odd_headers_are_put_right_with_a_note() {
    noted(changed(|b| put(b, 72, &[0, 0])), &["bitpix is 0"]);
    noted(changed(|b| put(b, 72, &16i16.to_le_bytes())), &["bitpix is 16 where the data type has 32 bits"]);
    let image = changed(|b| (put(b, 40, &[5, 0]), put(b, 48, &[0; 4])).0);
    noted(image, &["dim[4] is 0", "dim[5] is 0"]);
    refused(changed(|b| put(b, 46, &[0, 0])), "dim[3] is 0");
    refused(changed(|b| put(b, 42, &(-5i16).to_le_bytes())), "dim[1] is -5");
    noted(
        changed(|b| put(b, 108, &[0; 4])),
        &["vox_offset is 0, inside the header; voxels are read from byte 352"],
    );
    for v in [f32::NAN, f32::INFINITY, -1.0, 352.5] {
        refused(changed(|b| floats(b, 108, &[v])), "vox_offset is");
    }
    refused(changed(|b| floats(b, 108, &[1e9])), "from byte 1000000000 on, the file holds 1696 bytes");
    refused(changed(|b| put(b, 70, &[99, 0])), "unknown data type code 99");
}

#[test]
fn units_of_length_are_applied() {
    let scaled = |unit: u8, factor: f32| {
        changed(move |b| {
            b[123] = unit;
            floats(b, 80, &[1.0, 2.0, 3.0].map(|v| v * factor));
            let s = [1.0, 0.0, 0.0, -3.0, 0.0, 2.0, 0.0, 4.0, 0.0, 0.0, 3.0, 5.0];
            floats(b, 280, &s.map(|v| v * factor));
        })
    };
    let want = noted(read(&bytes()), &[]).affine();
    for (unit, factor) in [(0, 1.0), (2, 1.0), (10, 1.0), (1, 1e-3), (9, 1e-3), (3, 1e3), (11, 1e3)] {
        let image = noted(scaled(unit, factor), &[]);
        assert!(image.affine().largest_displacement(&want, DIMS) < 1e-4, "unit {unit}");
        // What is written says the same in the file's own unit.
        let again = image.with_mask(&Volume::filled(DIMS, 1));
        assert_eq!(again.header.bytes()[280..328], image.header.bytes()[280..328]);
        assert_eq!(again.header.bytes()[123], unit);
    }
    noted(scaled(5, 1.0), &["unknown unit of length 5"]);
    refused(scaled(1, 1.0), "1.000e3 x 2.000e3 x 3.000e3 mm");
}

#[test]
fn forms_that_disagree_are_noted_with_by_how_much() {
    let qform = |b: &mut Vec<u8>, offset: [f32; 3]| {
        put(b, 252, &[1, 0]);
        floats(b, 256, &[0.0; 3]);
        floats(b, 268, &offset);
    };
    noted(changed(|b| qform(b, [-3.0, 4.0, 5.0])), &[]);
    noted(changed(|b| qform(b, [-3.0, 4.05, 5.0])), &[]);
    noted(changed(|b| qform(b, [-3.0, 4.0, 17.0])), &["up to 12.0 mm apart"]);
    let image = noted(
        changed(|b| {
            qform(b, [-3.0, 4.0, 5.0]);
            floats(b, 80, &[1.0, 1.0, 3.0]);
        }),
        &[
            "up to 6.0 mm apart",
            "pixdim states a spacing of 1.0000 x 1.0000 x 3.0000 mm, the sform 1.0000 x 2.0000",
        ],
    );
    assert_eq!(image.affine().spacing(), [1.0, 2.0, 3.0]);
    // Without the sform the qform holds, and nothing disagrees.
    let image = noted(changed(|b| (qform(b, [1.0, 2.0, 3.0]), put(b, 254, &[0, 0])).1), &[]);
    assert_eq!(image.affine().0[0], [1.0, 0.0, 0.0, 1.0]);
    // Neither: x runs to the left, and the middle of the volume is the origin.
    let image = noted(changed(|b| put(b, 254, &[0, 0])), &["states no orientation"]);
    assert_eq!(image.affine().0[0], [-1.0, 0.0, 0.0, 2.5]);
    assert_eq!(image.affine().0[1], [0.0, 2.0, 0.0, -6.0]);
}

#[test]
fn what_is_not_finite_is_counted_and_refused_where_it_is_most() {
    let spoiled = |n: usize, v: f32| changed(move |b| (0..n).for_each(|i| floats(b, 352 + 4 * i, &[v])));
    let image = noted(spoiled(5, f32::NAN), &["5 of 336 voxels are not finite and count as 0"]);
    let (v, bad) = image.to_f32();
    assert_eq!((bad, v.data[0], image.stats().not_finite), (5, 0.0, 5));
    noted(spoiled(168, f32::NEG_INFINITY), &["168 of 336"]);
    refused(spoiled(169, f32::INFINITY), "169 of 336 voxels are not finite numbers");
    // A slope that leaves the numbers of float32.
    refused(changed(|b| floats(b, 112, &[3e38])), "not finite");
}

#[test]
fn frames_are_all_there_or_the_file_is_cut() {
    let mut b = bytes();
    put(&mut b, 40, &[4, 0]);
    put(&mut b, 48, &[3, 0]);
    let voxels = b[352..].to_vec();
    (0..2).for_each(|_| b.extend(&voxels));
    for packed in [false, true] {
        let form = |b: &[u8]| if packed { gzip(b) } else { b.to_vec() };
        assert!(matches!(read_frame(&form(&b), None), Err(Error::Frames { frames: 3 })));
        for frame in 0..3 {
            assert!(noted(read_frame(&form(&b), Some(frame)), &[]).raw == voxels);
        }
        refused(read_frame(&form(&b), Some(3)), "frame 3 was asked for, there are 3");
        for frame in 0..3 {
            assert!(read_frame(&form(&b[..b.len() - 1]), Some(frame)).is_err(), "frame {frame}");
        }
    }
}

#[test]
fn memory_is_asked_for_before_voxels_are_read() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let mut b = bytes();
    (42..48).step_by(2).for_each(|i| put(&mut b, i, &300i16.to_le_bytes()));
    let mut e = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(9));
    e.write_all(&b).unwrap();
    (0..104).for_each(|_| e.write_all(&[0; 1 << 20]).unwrap());
    std::fs::write(file.path(), e.finish().unwrap()).unwrap();
    for limit in [1 << 20, 100 << 20, 500 << 20] {
        match read_volume(file.path(), None, limit) {
            Err(Error::Memory { needed_mib, limit_mib }) => {
                assert_eq!((needed_mib, limit_mib), (515, limit >> 20))
            }
            other => panic!("{:?}", other.map(|n| n.warnings)),
        }
    }
}

/// The image with a name in every field that can hold one, and an extension.
fn named() -> Nifti {
    let mut b = bytes();
    for (at, length) in [(4, 10), (14, 18), (148, 80), (228, 24), (328, 16)] {
        (0..length).for_each(|i| b[at + i] = b"Jane^Doe"[i % 8]);
    }
    let mut extension = vec![1, 0, 0, 0, 32, 0, 0, 0, 6, 0, 0, 0];
    extension.extend(b"Jane^Doe Jane^Doe Jane^D");
    floats(&mut b, 108, &[384.0]);
    b.splice(348..352, extension);
    read(&b).unwrap()
}

fn written(image: &Nifti) -> Vec<u8> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.nii");
    image.write(&path).unwrap();
    assert_eq!(Nifti::read(&path, None).unwrap().affine(), image.affine());
    std::fs::read(path).unwrap()
}

fn names(bytes: &[u8]) -> bool {
    bytes.windows(4).any(|w| w == b"Jane")
}

#[test]
fn names_of_patients_stay_behind() {
    let mut image = named();
    assert!(names(&written(&image)) && !names(&written(&image.without_identity())));
    let mask = Volume::filled(DIMS, 1u8);
    let made = |image: &Nifti| {
        let floats = mask.map(f32::from);
        [
            image.with_mask(&mask),
            image.masked(&mask),
            image.with_floats(&floats),
            image.with_labels(&mask.map(u16::from)),
        ]
    };
    assert!(made(&image).iter().all(|n| !names(&written(n))));
    image.keep_header = true;
    assert!(made(&image).iter().all(|n| names(&written(n))));
}

#[test]
fn labels_take_the_type_that_they_need() {
    let image = read(&bytes()).unwrap();
    for (most, bytes) in [(0u16, 1), (1, 1), (255, 1), (256, 2), (65_535, 2)] {
        let mut labels = Volume::filled(DIMS, 0u16);
        labels.data[17] = most;
        let out = image.with_labels(&labels);
        assert_eq!(out.raw.len(), 336 * bytes, "{most}");
        let again = read(&written(&out)).unwrap();
        assert_eq!(again.to_f32().0, labels.map(f32::from), "{most}");
        assert_eq!(again.header.scaling(), (1.0, 0.0));
    }
}

#[test]
fn what_is_no_volume_is_named() {
    for (start, words) in [
        (&b"NRRD0005\n"[..], "it ends inside the header"),
        (b"\x89PNG\r\n\x1a\n", "it is an image, not a volume"),
        (b"case,image\n", "its first bytes are not those of a volume"),
        (b"", "not those of a volume"),
    ] {
        refused(read(start), words);
    }
    let mut dicom = vec![0; 128];
    dicom.extend(b"DICM");
    refused(read(&dicom), "dcm2niix");
    refused(changed(|b| put(b, 344, b"ni1\0")), "which is not beside it");
    refused(changed(|b| put(b, 344, &[0; 4])), "ANALYZE 7.5");
    refused(changed(|b| put(b, 344, b"n+3\0")), "its magic is");
    let missing = read_volume(&PathBuf::from("/nowhere/x.nii"), None, u64::MAX);
    assert!(matches!(missing, Err(Error::Io(_))));
    assert_eq!(Format::of(&std::env::temp_dir()).unwrap_err().kind(), std::io::ErrorKind::InvalidInput);
}

#[test]
fn pairs_are_read_from_either_file_and_written_as_one() {
    let d = tempfile::tempdir().unwrap();
    let one = bytes();
    let offset = 352;
    let mut header = one[..348].to_vec();
    put(&mut header, 344, b"ni1\0");
    floats(&mut header, 108, &[16.0]);
    let voxels = [&[7; 16][..], &one[offset..]].concat();
    let [hdr, img] = ["x.hdr", "x.img"].map(|n| d.path().join(n));
    std::fs::write(&hdr, &header).unwrap();
    let e = read_volume(&hdr, None, u64::MAX).unwrap_err().to_string();
    assert!(e.contains("x.img") && e.contains("not beside it"), "{e}");
    std::fs::write(&img, &voxels).unwrap();
    let plain = read(&one).unwrap();
    for path in [&hdr, &img] {
        let pair = read_volume(path, None, u64::MAX).unwrap();
        assert_eq!((&pair.raw, pair.affine()), (&plain.raw, plain.affine()));
        let written = d.path().join("y.nii");
        pair.write(&written).unwrap();
        assert_eq!(read_volume(&written, None, u64::MAX).unwrap().raw, plain.raw);
    }
    std::fs::write(&img, &voxels[..voxels.len() - 1]).unwrap();
    assert!(matches!(read_volume(&hdr, None, u64::MAX), Err(Error::Truncated(_))));
    std::fs::remove_file(&img).unwrap();
    std::fs::write(d.path().join("x.img.gz"), gzip(&voxels)).unwrap();
    assert_eq!(read_volume(&hdr, None, u64::MAX).unwrap().raw, plain.raw);
}

#[test]
fn a_header_and_voxels_in_memory_are_checked_as_a_file_is() {
    let b = bytes();
    let want = read(&b).unwrap();
    let found = Nifti::of_header(b[..348].to_vec(), b[352..].to_vec()).unwrap();
    assert_eq!((found.header, found.raw, found.warnings), (want.header, want.raw, want.warnings));
    let of = |change: &dyn Fn(&mut Vec<u8>), voxels: &[u8]| {
        let mut header = b[..348].to_vec();
        change(&mut header);
        Nifti::of_header(header, voxels.to_vec())
    };
    refused(of(&|_| {}, &b[353..]), "are not those of [6, 7, 8]");
    refused(of(&|h| h.truncate(100), &b[352..]), "");
    refused(of(&|h| put(h, 344, b"none"), &b[352..]), "magic");
    // A second frame, and voxels that are not finite.
    refused(of(&|h| put(h, 40, &[4, 0, 6, 0, 7, 0, 8, 0, 2, 0]), &b[352..]), "2");
    refused(of(&|_| {}, &f32::NAN.to_le_bytes().repeat(336)), "not finite");
}
