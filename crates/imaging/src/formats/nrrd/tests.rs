use super::super::{Error, read_volume};
use flate2::Compression;
use flate2::write::GzEncoder;
use std::io::Write;

/// The header of a file of 3 x 2 x 2 voxels as ITK writes one, with lines replaced or added.
fn header(changes: &[(&str, &str)]) -> String {
    let mut fields = vec![
        ("type", "short"),
        ("dimension", "3"),
        ("space", "left-posterior-superior"),
        ("sizes", "3 2 2"),
        ("space directions", "(0.5,0,0) (0,2,0) (0,0,3)"),
        ("kinds", "domain domain domain"),
        ("endian", "little"),
        ("encoding", "raw"),
        ("space origin", "(10,-20,30)"),
    ];
    for (name, value) in changes {
        fields.retain(|f| f.0 != *name);
        if !value.is_empty() {
            fields.push((name, value));
        }
    }
    let lines: String = fields.iter().map(|(n, v)| format!("{n}: {v}\n")).collect();
    format!("NRRD0004\n# Complete NRRD file format specification at:\n{lines}Segment0_Name:=a: b\n\n")
}

/// The twelve voxels -3 to 8.
fn voxels() -> Vec<u8> {
    (-3..9i16).flat_map(i16::to_le_bytes).collect()
}

fn gzipped(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::new(6));
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn read(bytes: &[u8], frame: Option<usize>) -> Result<crate::Nifti, Error> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.nrrd");
    std::fs::write(&path, bytes).unwrap();
    read_volume(&path, frame, u64::MAX)
}

fn fails(changes: &[(&str, &str)]) -> String {
    read(&[header(changes).as_bytes(), &voxels()].concat(), None).unwrap_err().to_string()
}

#[test]
fn voxels_and_geometry_are_those_of_the_file() {
    let plain = [header(&[]).as_bytes(), &voxels()].concat();
    let packed = [header(&[("encoding", "gzip")]).as_bytes(), &gzipped(&voxels())].concat();
    let swapped: Vec<u8> = (-3..9i16).flat_map(i16::to_be_bytes).collect();
    let big = [header(&[("endian", "big")]).as_bytes(), &swapped].concat();
    let lines = header(&[]).replace('\n', "\r\n");
    let windows = [lines.as_bytes(), &voxels()].concat();
    for bytes in [&plain, &packed, &big, &windows, &gzipped(&plain)] {
        let n = read(bytes, None).unwrap();
        assert_eq!(n.dims(), [3, 2, 2]);
        assert_eq!(n.to_f32().0.data, (-3..9).map(|v| v as f32).collect::<Vec<_>>());
        // LPS to RAS: x and y change their signs.
        let want = [[-0.5, 0.0, 0.0, -10.0], [0.0, -2.0, 0.0, 20.0], [0.0, 0.0, 3.0, 30.0]];
        assert_eq!(n.affine().0, want);
        assert!(n.warnings.is_empty(), "{:?}", n.warnings);
    }
}

#[test]
fn spaces_turn_to_ras_and_oblique_directions_are_kept() {
    let directions = ("space directions", "(0,0.5,0.1) (2,0,0) (0,0,3)");
    let affine = |space| {
        read(&[header(&[("space", space), directions]).as_bytes(), &voxels()].concat(), None)
            .unwrap()
            .affine()
            .0
    };
    assert_eq!(
        affine("right-anterior-superior"),
        [[0.0, 2.0, 0.0, 10.0], [0.5, 0.0, 0.0, -20.0], [0.1f32 as f64, 0.0, 3.0, 30.0]]
    );
    assert_eq!(affine("LAS")[0], [0.0, -2.0, 0.0, -10.0]);
    let micrometres = header(&[
        ("space units", "\"um\" \"um\" \"um\""),
        ("space directions", "(500,0,0) (0,500,0) (0,0,500)"),
    ]);
    let n = read(&[micrometres.as_bytes(), &voxels()].concat(), None).unwrap();
    assert!((n.spacing()[0] - 0.5).abs() < 1e-6);
}

#[test]
fn what_is_not_stated_is_noted() {
    let bare = [("space", ""), ("space directions", ""), ("space origin", ""), ("spacings", "1 2 3")];
    let n = read(&[header(&bare).as_bytes(), &voxels()].concat(), None).unwrap();
    assert_eq!(n.affine().spacing(), [1.0, 2.0, 3.0]);
    assert!(n.warnings[0].contains("no orientation"), "{:?}", n.warnings);
    let n = read(&[header(&bare[..3]).as_bytes(), &voxels()].concat(), None).unwrap();
    assert!(n.warnings[1].contains("no size of its voxels"), "{:?}", n.warnings);
}

#[test]
fn frames_are_chosen() {
    let frames = [
        ("dimension", "4"),
        ("sizes", "3 2 2 2"),
        ("space directions", "(1,0,0) (0,1,0) (0,0,1) none"),
        ("kinds", "domain domain domain list"),
    ];
    let bytes = [header(&frames).as_bytes(), &voxels(), &voxels()].concat();
    assert!(matches!(read(&bytes, None), Err(Error::Frames { frames: 2 })));
    assert_eq!(read(&bytes, Some(1)).unwrap().to_f32().0.data[0], -3.0);
    let first = [frames[0], frames[1], ("space directions", "none (1,0,0) (0,1,0) (0,0,1)"), ("kinds", "")];
    assert!(fails(&first).contains("`space directions`"));
}

#[test]
fn what_cannot_be_read_is_refused_with_the_reason() {
    for (changes, want) in [
        (&[("encoding", "ascii")][..], "encoding is `ascii`"),
        (&[("endian", "")], "little or big endian"),
        (&[("data file", "x.raw")], "another file"),
        (&[("byte skip", "-1")], "skipped"),
        (&[("type", "block")], "`block`"),
        (&[("sizes", "3 2")], "dimension is 3"),
        (&[("sizes", "3 2 0")], "not whole numbers above 0; save the volume again"),
        (&[("sizes", "3 2 200000")], "truncated"),
        (&[("space", "scanner-xyz")], "left and right"),
        (&[("space directions", "(1,0,0) (1,0,0) (0,0,1)")], "do not span"),
        (&[("space directions", "(1,0,0) (0,1,0)")], "not a vector for each axis"),
        (&[("space origin", "(1,nan,0)")], "space origin"),
        (&[("type", "")], "`type` is missing"),
        (&[("space units", "\"inch\" \"inch\" \"inch\"")], "inch"),
    ] {
        let e = fails(changes);
        assert!(e.contains(want), "{changes:?}: {e}");
    }
}

#[test]
fn damaged_files_are_refused() {
    let whole = [header(&[("encoding", "gzip")]).as_bytes(), &gzipped(&voxels())].concat();
    for n in [4, 9, 100, whole.len() - 20, whole.len() - 1] {
        assert!(read(&whole[..n], None).is_err(), "{n}");
    }
    let mut changed = whole.clone();
    let at = whole.len() - 5;
    changed[at] ^= 1;
    assert!(read(&changed, None).unwrap_err().to_string().contains("damaged"));
    let e = read(&[b"NRRD0009\n\n".as_slice(), &voxels()].concat(), None).unwrap_err().to_string();
    assert!(e.contains("save it in NRRD0005"), "{e}");
    assert!(read(b"NRRD0004\ntype: short\nnothing\n\n", None).unwrap_err().to_string().contains("`nothing`"));
}

#[test]
fn values_side_by_side_and_axis_positions_are_refused() {
    for kinds in ["RGB-color domain domain", "3-vector domain domain", "list domain domain"] {
        let e = fails(&[("kinds", kinds), ("space", ""), ("space directions", ""), ("space origin", "")]);
        assert!(e.contains("save each channel") && e.contains(kinds), "{e}");
    }
    assert!(fails(&[("kinds", "domain domain")]).contains("its axes are 3"));
    assert!(fails(&[("axis mins", "1 2 3")]).contains("axis mins"));
}
