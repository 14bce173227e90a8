//! Photos against golden files of Pillow (scripts/golden_photos.py).

use ampoule_imaging::photo::{Error, Filter, Photo, is_photo};
use std::path::PathBuf;

fn golden(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden/photos").join(name)
}

fn read(name: &str) -> Photo {
    Photo::read(&golden(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
}

/// Largest difference of two photos of one size.
fn difference(a: &Photo, b: &Photo) -> u8 {
    assert_eq!((a.width, a.height), (b.width, b.height));
    a.rgb.iter().zip(&b.rgb).map(|(x, y)| x.abs_diff(*y)).max().unwrap_or(0)
}

#[test]
fn resizing_is_pillows() {
    let source = read("source.png");
    for (name, filter) in [
        ("nearest", Filter::Nearest),
        ("bilinear", Filter::Bilinear),
        ("bicubic", Filter::Bicubic),
        ("lanczos", Filter::Lanczos),
    ] {
        for (w, h) in [(20, 15), (61, 20), (128, 128), (7, 90)] {
            let want = read(&format!("resized_{name}_{w}x{h}.png"));
            let most = difference(&source.resized(w, h, filter), &want);
            assert_eq!(most, 0, "{name} to {w}x{h}");
        }
    }
}

#[test]
fn orientations_are_applied() {
    for tag in 1..=8 {
        let want = read(&format!("turned_{tag}_want.png"));
        assert_eq!(difference(&read(&format!("turned_{tag}.webp")), &want), 0, "orientation {tag}");
        // JPEG is lossy: the same way up, and near.
        let jpeg = read(&format!("turned_{tag}.jpg"));
        let sum: u64 = jpeg.rgb.iter().zip(&want.rgb).map(|(a, b)| a.abs_diff(*b) as u64).sum();
        assert!(sum < 8 * jpeg.rgb.len() as u64, "orientation {tag} of a JPEG");
    }
}

#[test]
fn every_kind_of_pixel_becomes_rgb() {
    for name in [
        "grey.png",
        "grey_alpha.png",
        "alpha.png",
        "palette.png",
        "bits.png",
        "plain.tif",
        "packed.tif",
        "lossless.webp",
        "sixteen.png",
    ] {
        let (photo, want) = (read(name), read(&format!("{name}.want.png")));
        assert_eq!(difference(&photo, &want), 0, "{name}");
        assert_eq!(
            photo.notes.len(),
            ["alpha", "sixteen"].iter().filter(|k| name.contains(*k)).count(),
            "{name}"
        );
    }
}

/// Against libheif (`scripts/golden_heic.py`), whose colours are brought to full size by another filter.
#[test]
fn photos_of_phones_are_what_libheif_reads() {
    let heic =
        |name: &str| std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/heic").join(name);
    let d = tempfile::tempdir().unwrap();
    for name in ["photo", "exif", "odd"] {
        let path = heic(&format!("{name}.heic"));
        let want = Photo::read(&heic(&format!("{name}.want.png"))).unwrap();
        let photo = Photo::read(&path).unwrap();
        assert_eq!((photo.width, photo.height), (want.width, want.height), "{name}");
        let apart: Vec<u64> = photo.rgb.iter().zip(&want.rgb).map(|(a, b)| a.abs_diff(*b).into()).collect();
        let mean = apart.iter().sum::<u64>() as f64 / apart.len() as f64;
        assert!(mean < 1.5 && apart.iter().all(|v| *v <= 40), "{name}: {mean} {:?}", apart.iter().max());
        assert!(photo.notes.is_empty(), "{name}: {:?}", photo.notes);
        // Cut anywhere it is refused, and so is what does not fit in memory.
        let whole = std::fs::read(&path).unwrap();
        let cut = d.path().join("cut");
        for n in (0..whole.len()).step_by(1 + whole.len() / 60) {
            std::fs::write(&cut, &whole[..n]).unwrap();
            assert!(Photo::read(&cut).is_err(), "{name}: {n} of {} bytes", whole.len());
        }
        let e = Photo::read_within(&path, whole.len() as u64 + 1000).unwrap_err();
        assert!(e.is_memory(), "{name}: {e}");
    }
}

#[test]
fn what_cannot_be_used_is_refused() {
    for name in ["cmyk.jpg", "cmyk.tif"] {
        let e = Photo::read(&golden(name)).unwrap_err();
        assert!(matches!(e, Error::Kind(k) if k.contains("CMYK")), "{name}: {e}");
    }
    // Grey and alpha as JPEG were read as luma and chroma.
    let e = Photo::read(&golden("grey_alpha_jpeg.tif")).unwrap_err();
    assert!(e.to_string().contains("JPEG tiles of 2 components"), "{e}");
    let d = tempfile::tempdir().unwrap();
    let path = d.path().join("x.png");
    assert!(is_photo(&path) && !is_photo(&d.path().join("x.nii.gz")));
    let whole = std::fs::read(golden("source.png")).unwrap();
    for n in [0, 1, 8, 20, whole.len() / 2, whole.len() - 20] {
        std::fs::write(&path, &whole[..n]).unwrap();
        assert!(Photo::read(&path).is_err(), "{n} bytes");
    }
    let jpeg = std::fs::read(golden("turned_1.jpg")).unwrap();
    for n in (0..jpeg.len()).step_by(97) {
        std::fs::write(&path, &jpeg[..n]).unwrap();
        // Decoders show what they have of a cut JPEG, and paint the rest grey.
        assert!(Photo::read(&path).is_err(), "{n} bytes");
    }
    assert!(Photo::read(d.path()).is_err() && Photo::read(&d.path().join("missing.png")).is_err());
}

#[test]
fn grey_and_channel_order_are_pillows_and_opencvs() {
    let photo = Photo::new(2, 2, vec![255, 0, 0, 0, 255, 0, 0, 0, 255, 12, 200, 99]);
    // Image.new("RGB", ...).convert("L")
    assert_eq!(photo.grey(), [76, 150, 29, 132]);
    assert_eq!(photo.bgr(), [0, 0, 255, 0, 255, 0, 255, 0, 0, 99, 200, 12]);
}
