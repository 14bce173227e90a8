//! Slides against what OpenSlide and tifffile read (`scripts/golden_slides.py`), and files that are
//! damaged or absurd.

use ampoule_imaging::formats::Format;
use ampoule_imaging::photo::Photo;
use ampoule_imaging::slide::{Error, Slide};
use std::path::{Path, PathBuf};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/slides")
}

/// Largest difference of a grey level, and the share of samples that differ by more than 2.
fn difference(a: &Photo, b: &Photo) -> (u8, f64) {
    assert_eq!((a.width, a.height), (b.width, b.height));
    let all: Vec<u8> = a.rgb.iter().zip(&b.rgb).map(|(x, y)| x.abs_diff(*y)).collect();
    let more = all.iter().filter(|&&d| d > 2).count();
    (all.iter().copied().max().unwrap_or(0), more as f64 / all.len() as f64)
}

#[test]
fn every_kind_of_slide_reads_as_elsewhere() {
    reads_as_elsewhere(&folder(), 16);
}

/// Hamamatsu, Leica and Philips (`scripts/golden_scanners.py`).
#[test]
fn slides_of_scanners_read_as_elsewhere() {
    reads_as_elsewhere(&folder().with_file_name("scanners"), 5);
}

fn reads_as_elsewhere(folder: &Path, least: usize) {
    let golden: serde_json::Value =
        serde_json::from_slice(&std::fs::read(folder.join("golden.json")).unwrap()).unwrap();
    let golden = golden.as_object().unwrap();
    assert!(golden.len() >= least);
    for (name, want) in golden {
        let slide = Slide::open(&folder.join(name), 1 << 20).unwrap_or_else(|e| panic!("{name}: {e}"));
        if let Some(kind) = want["kind"].as_str() {
            assert_eq!(slide.kind, kind, "{name}");
        }
        let levels: Vec<[u64; 2]> = slide.levels.iter().map(|l| [l.width, l.height]).collect();
        let wanted: Vec<[u64; 2]> = serde_json::from_value(want["levels"].clone()).unwrap();
        assert_eq!(levels, wanted, "{name}");
        match want["mpp"].as_f64() {
            Some(mpp) => assert!((slide.mpp.unwrap() - mpp).abs() < 1e-6, "{name}: {:?}", slide.mpp),
            None => assert_eq!(slide.mpp, None, "{name}"),
        }
        for picture in want["pictures"].as_array().unwrap() {
            let level = picture[0].as_u64().unwrap() as usize;
            let expected = Photo::read(&folder.join(picture[1].as_str().unwrap())).unwrap();
            let got = slide.region(level, 0, 0, expected.width, expected.height).unwrap();
            let (most, share) = difference(&got, &expected);
            println!("{name} level {level}: {most}, {share:.1e}");
            // Halved chroma is interpolated with other roundings.
            let bound = match name.as_str() {
                "jpeg420.tif" | "chroma.ndpi" => 4,
                n if n.ends_with(".ndpi") => 3,
                n if n.starts_with('j') => 2,
                _ => 0,
            };
            assert!(most <= bound && share < 1e-3, "{name}, level {level}: {most}, {share}");
        }
    }
}

#[test]
fn regions_are_parts_of_the_whole_and_white_beyond_it() {
    let slide = Slide::open(&folder().join("bigdeflate.tif"), 1 << 16).unwrap();
    let whole = slide.region(0, 0, 0, 300, 210).unwrap();
    for (x, y, w, h) in
        [(0, 0, 1, 1), (100, 90, 60, 70), (250, 180, 80, 60), (-20, -10, 50, 50), (400, 0, 5, 5)]
    {
        let got = slide.region(0, x, y, w, h).unwrap();
        for v in 0..h as i64 {
            for u in 0..w as i64 {
                let inside = (0..300).contains(&(x + u)) && (0..210).contains(&(y + v));
                let want = if inside { whole.at((x + u) as usize, (y + v) as usize) } else { [255; 3] };
                assert_eq!(got.at(u as usize, v as usize), want, "{x},{y}+{u},{v}");
            }
        }
    }
    let (small, factor) = slide.thumbnail(100).unwrap();
    assert_eq!((small.width, small.height), (75, 53));
    assert!((factor - 4.0).abs() < 0.05, "{factor}");
    assert_eq!(
        [slide.level_for(1.0), slide.level_for(3.9), slide.level_for(4.1), slide.level_for(0.3)],
        [0, 1, 2, 0]
    );
}

#[test]
fn labels_and_pictures_of_the_glass_are_no_levels() {
    for name in ["j2k33003.svs", "j2k33005.svs"] {
        let slide = Slide::open(&folder().join(name), 0).unwrap();
        assert_eq!((slide.levels.len(), slide.kind), (1, "Aperio"));
    }
}

/// The file with bytes replaced.
fn changed(name: &str, change: impl Fn(&mut Vec<u8>)) -> Result<Photo, Error> {
    let mut bytes = std::fs::read(folder().join(name)).unwrap();
    change(&mut bytes);
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), &bytes).unwrap();
    let slide = Slide::open(file.path(), 1 << 20)?;
    let l = slide.levels[0].clone();
    slide.region(0, 0, 0, (l.width as usize).min(400), (l.height as usize).min(400))
}

/// Position of a tag's entry in the first directory of a little-endian classic TIFF.
fn entry(bytes: &[u8], tag: u16) -> usize {
    let word = |i: usize| u16::from_le_bytes([bytes[i], bytes[i + 1]]);
    let first = u32::from_le_bytes(bytes[4..8].try_into().unwrap()) as usize;
    (0..word(first) as usize).map(|i| first + 2 + 12 * i).find(|&i| word(i) == tag).unwrap()
}

fn set(bytes: &mut [u8], tag: u16, count: Option<u32>, value: u32) {
    let at = entry(bytes, tag);
    if let Some(n) = count {
        bytes[at + 4..at + 8].copy_from_slice(&n.to_le_bytes());
    }
    bytes[at + 8..at + 12].copy_from_slice(&value.to_le_bytes());
}

#[test]
fn damaged_files_are_refused() {
    type Change = Box<dyn Fn(&mut Vec<u8>)>;
    let cases: Vec<(&str, &str, Change)> = vec![
        (
            "packbits.tif",
            "form a loop",
            Box::new(|b| {
                let first = u32::from_le_bytes(b[4..8].try_into().unwrap());
                let at = first as usize;
                let n = u16::from_le_bytes([b[at], b[at + 1]]) as usize;
                let link = at + 2 + 12 * n;
                b[link..link + 4].copy_from_slice(&first.to_le_bytes());
            }),
        ),
        ("packbits.tif", "not a TIFF", Box::new(|b| b[0] = b'X')),
        ("packbits.tif", "not a TIFF", Box::new(|b| b.truncate(6))),
        ("packbits.tif", "not a TIFF", Box::new(|b| b[4..8].copy_from_slice(&[0xff; 4]))),
        ("packbits.tif", "claims 4294967295 values", Box::new(|b| set(b, 324, Some(u32::MAX), 8))),
        ("packbits.tif", "tiles are needed", Box::new(|b| set(b, 256, None, 1_000_000))),
        ("packbits.tif", "an image of 4294967295x", Box::new(|b| set(b, 256, None, u32::MAX))),
        ("packbits.tif", "x0 pixels", Box::new(|b| set(b, 257, None, 0))),
        ("packbits.tif", "tiles without a size", Box::new(|b| set(b, 322, None, 0))),
        ("packbits.tif", "compression", Box::new(|b| set(b, 259, None, 50_001))),
        ("packbits.tif", "old form of JPEG", Box::new(|b| set(b, 259, None, 6))),
        ("packbits.tif", "CMYK", Box::new(|b| set(b, 262, None, 5))),
        ("packbits.tif", "photometric", Box::new(|b| set(b, 262, None, 8))),
        ("packbits.tif", "damaged", Box::new(|b| set(b, 259, None, 8))),
        ("packbits.tif", "a tile is damaged", Box::new(|b| set(b, 259, None, 5))),
        (
            "jpeg420.tif",
            "end early",
            Box::new(|b| {
                let counts = entry(b, 325);
                let list = u32::from_le_bytes(b[counts + 8..counts + 12].try_into().unwrap()) as usize;
                let n = u32::from_le_bytes(b[list..list + 4].try_into().unwrap());
                b[list..list + 4].copy_from_slice(&(n / 2).to_le_bytes());
            }),
        ),
        (
            "jpeg420.tif",
            "beyond the end",
            Box::new(|b| {
                let offsets = entry(b, 324);
                let list = u32::from_le_bytes(b[offsets + 8..offsets + 12].try_into().unwrap()) as usize;
                b[list..list + 4].copy_from_slice(&[0xf0; 4]);
            }),
        ),
        (
            "j2k33005.svs",
            "JPEG 2000 tile is damaged",
            Box::new(|b| {
                let start = b.windows(4).position(|w| w == [0xff, 0x4f, 0xff, 0x51]).unwrap();
                b[start + 8..start + 60].fill(0xff);
            }),
        ),
    ];
    let mut wrong = Vec::new();
    for (i, (name, words, change)) in cases.iter().enumerate() {
        match changed(name, change) {
            Ok(_) => wrong.push(format!("case {i} ({name}, {words}) was read")),
            Err(e) if e.to_string().contains(words) => {}
            Err(e) => wrong.push(format!("case {i} ({name}): {e}; wanted {words}")),
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn missing_tiles_are_white_and_bad_resolutions_unknown() {
    let sparse = changed("jpeg420.tif", |b| {
        let counts = entry(b, 325);
        let list = u32::from_le_bytes(b[counts + 8..counts + 12].try_into().unwrap()) as usize;
        b[list..list + 4].copy_from_slice(&[0; 4]);
    });
    let photo = sparse.unwrap();
    assert_eq!((photo.at(0, 0), photo.at(127, 127)), ([255; 3], [255; 3]));
    assert_ne!(photo.at(140, 100), [255; 3]);
    let mut bytes = std::fs::read(folder().join("jpeg420.tif")).unwrap();
    let place = entry(&bytes, 282);
    let value = u32::from_le_bytes(bytes[place + 8..place + 12].try_into().unwrap()) as usize;
    for (n, d) in [(0, 1), (20_000, 0), (10, 1)] {
        bytes[value..value + 4].copy_from_slice(&u32::to_le_bytes(n));
        bytes[value + 4..value + 8].copy_from_slice(&u32::to_le_bytes(d));
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), &bytes).unwrap();
        assert_eq!(Slide::open(file.path(), 0).unwrap().mpp, None, "{n}/{d}");
    }
}

#[test]
fn descriptions_in_other_encodings_are_read() {
    let mut bytes = std::fs::read(folder().join("j2k33005.svs")).unwrap();
    let at = bytes.windows(8).position(|w| w == b"Filename").unwrap();
    bytes[at] = 0xb5;
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), &bytes).unwrap();
    let slide = Slide::open(file.path(), 0).unwrap();
    assert_eq!((slide.kind, slide.mpp), ("Aperio", Some(0.499)));
}

#[test]
fn any_byte_may_be_wrong() {
    // Nothing panics and nothing takes long, whatever one byte of the directories says.
    for name in ["jpeg420.tif", "ome.tif", "j2k33003.svs", "lzwbe.tif"] {
        let size = std::fs::metadata(folder().join(name)).unwrap().len() as usize;
        for i in (0..size).step_by(size / 150 + 1).chain(0..16).chain(size - 600..size) {
            let _ = changed(name, |b| b[i] ^= 0x5b);
        }
    }
}

/// A real slide of a scanner, fetched with OpenSlide's reading of it by `scripts/oracles.sh`.
#[test]
fn a_real_slide_reads_as_openslide_does() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/slides");
    let (file, want) = (folder.join("default.svs"), folder.join("default.png"));
    if !file.exists() || !want.exists() {
        eprintln!("SKIPPED: {} is missing (scripts/oracles.sh)", file.display());
        return;
    }
    let slide = Slide::open(&file, 64 << 20).unwrap();
    assert_eq!((slide.kind, slide.mpp, slide.levels.len()), ("Aperio", Some(0.499), 1));
    let l = &slide.levels[0];
    let got = slide.region(0, 0, 0, l.width as usize, l.height as usize).unwrap();
    let (most, share) = difference(&got, &Photo::read(&want).unwrap());
    println!("largest difference {most}, share above 2: {share:.2e}");
    // Its tiles share tables; without them no tile can be decoded.
    let mut bytes = std::fs::read(&file).unwrap();
    let tables = entry(&bytes, 347);
    bytes[tables..tables + 2].copy_from_slice(&60_000u16.to_le_bytes());
    let bare = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(bare.path(), &bytes).unwrap();
    let e = Slide::open(bare.path(), 0).unwrap().region(0, 0, 0, 9, 9).unwrap_err().to_string();
    assert!(e.contains("JPEG tile is damaged") && e.contains("column 0, row 0"), "{e}");
    assert!(most <= 2, "{most} {share}");
}

/// A little-endian TIFF of `pages` tiled 16x16 images that all point to one tile and one description of
/// `text` bytes; `loops` leads from the last directory to the first.
fn crowd(pages: usize, text: u32, loops: bool) -> Vec<u8> {
    let (tile, description) = (8u32, 8 + 256u32);
    let first = description + text;
    let entries: [(u16, u16, u32, u32); 11] = [
        (256, 4, 1, 16),
        (257, 4, 1, 16),
        (258, 3, 1, 8),
        (259, 3, 1, 1),
        (262, 3, 1, 1),
        (270, 2, text, description),
        (277, 3, 1, 1),
        (322, 4, 1, 16),
        (323, 4, 1, 16),
        (324, 4, 1, tile),
        (325, 4, 1, 256),
    ];
    let length = 2 + 12 * entries.len() as u32 + 4;
    let mut out = [&b"II*\0"[..], &first.to_le_bytes(), &[9; 256]].concat();
    out.resize(first as usize, b'x');
    for i in 0..pages as u32 {
        out.extend((entries.len() as u16).to_le_bytes());
        for (tag, kind, count, value) in entries {
            out.extend([tag.to_le_bytes(), kind.to_le_bytes()].concat());
            out.extend([count.to_le_bytes(), value.to_le_bytes()].concat());
        }
        let next = match i + 1 == pages as u32 {
            false => first + (i + 1) * length,
            true if loops => first,
            true => 0,
        };
        out.extend(next.to_le_bytes());
    }
    out
}

#[test]
fn directories_cannot_list_more_than_their_file() {
    let opened = |bytes: Vec<u8>| {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), bytes).unwrap();
        Slide::open(file.path(), 0)
    };
    let slide = opened(crowd(3, 50_000, false)).unwrap();
    assert!(
        slide.notes[0].contains("holds 3 images of 16x16 pixels; the first one is read"),
        "{:?}",
        slide.notes
    );
    for (bytes, words) in [
        (crowd(900, 60_000, false), "list more than the file holds"),
        (crowd(1001, 10, false), "more than 1000 images"),
        (crowd(20, 10, true), "form a loop"),
    ] {
        let e = opened(bytes).unwrap_err().to_string();
        assert!(e.contains(words), "{e}; wanted {words}");
    }
}

#[test]
fn slides_of_twelve_bits_are_as_bright_as_photos() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/formats/meaning_twelve.tif");
    let slide = Slide::open(&path, 0).unwrap();
    assert_eq!(slide.notes, ["values use 12 of 16 bits; scaled by 4095"]);
    let l = &slide.levels[0];
    let got = slide.region(0, 0, 0, l.width as usize, l.height as usize).unwrap();
    assert_eq!(got.rgb, Photo::read(&path).unwrap().rgb);
}

#[test]
fn scanners_whose_files_would_be_misread_are_named() {
    // Any tag of text stands in for the description of a Leica file.
    let mut bytes = crowd(1, 100, false);
    let text = b"<scn xmlns=\"http://www.leica-microsystems.com/scn/2010/10/01\">";
    bytes[264..264 + text.len()].copy_from_slice(text);
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), &bytes).unwrap();
    assert_eq!(Format::of(file.path()).unwrap(), Some(Format::Scn));
    let e = Slide::open(file.path(), 0).unwrap_err().to_string();
    assert!(e.contains("its description lists no images"), "{e}");
    let e = Photo::read(file.path()).unwrap_err().to_string();
    assert!(e.contains("a slide, not a photo") && Slide::is_one(file.path(), 4096), "{e}");
    // Olympus keeps its pixels in other files.
    let named = file.path().with_extension("vsi");
    std::fs::copy(file.path(), &named).unwrap();
    assert_eq!(Format::of(&named).unwrap(), Some(Format::Vsi));
    let e = Photo::read(&named).unwrap_err().to_string();
    std::fs::remove_file(&named).unwrap();
    assert!(e.contains("Olympus slides (VSI) are not read"), "{e}");
}
