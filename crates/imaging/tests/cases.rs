//! The inputs of `../shared/cases` that concern files: each stands for a kind, and for many others.

use ampoule_imaging::Nifti;
use ampoule_imaging::formats::{Family, Format, read_volume};
use ampoule_imaging::nifti::Error;
use ampoule_imaging::photo::{self, Photo};
use ampoule_imaging::slide::Slide;
use std::path::PathBuf;

/// The file, or `None` with a line that says what was not tested.
fn case(name: &str) -> Option<PathBuf> {
    ampoule_testing::shared(&format!("cases/{name}"))
}

#[test]
fn a_cut_jpeg_is_refused_and_the_whole_one_read() {
    let Some(cut) = case("hostile/01_foot_cut_at_30pct.jpg") else { return };
    let e = Photo::read(&cut).unwrap_err();
    println!("{e}");
    assert!(matches!(e, photo::Error::Damaged { format: Format::Jpeg, .. }), "{e}");
    let Some(full) = case("hostile/01_foot_full.jpg") else { return };
    assert!(Photo::read(&full).unwrap().notes.is_empty());
    let bytes = std::fs::read(&full).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.jpg");
    for percent in (5..100).step_by(5).chain([98, 99]) {
        std::fs::write(&path, &bytes[..bytes.len() * percent / 100]).unwrap();
        assert!(Photo::read(&path).is_err(), "{percent} %");
    }
}

#[test]
fn claims_far_beyond_the_data_are_refused() {
    for name in ["hostile/02_jpeg_1541B_claims_8000x8000.jpg", "hostile/02_jpeg_1541B_claims_32000x32000.jpg"]
    {
        let Some(path) = case(name) else { return };
        let e = Photo::read_within(&path, u64::MAX).unwrap_err();
        println!("{e}");
        assert!(matches!(e, photo::Error::Damaged { .. }), "{name}: {e}");
    }
    let Some(png) = case("hostile/11_png_1.2MB_20000x20000.png") else { return };
    let needed = [64, 256, 1024].map(|mib: u64| match Photo::read_within(&png, mib << 20).unwrap_err() {
        e @ photo::Error::Memory { needed_mib, limit_mib, .. } => {
            println!("{e}");
            assert_eq!(limit_mib, mib);
            needed_mib
        }
        e => panic!("{e}"),
    });
    assert!(needed[0] == needed[1] && needed[1] == needed[2] && needed[0] > 1100, "{needed:?}");
}

#[test]
fn directories_that_share_their_tables_are_bounded() {
    let Some(path) = case("hostile/06_tiff_2MB_8GB.tif") else { return };
    let e = Slide::open(&path, 1 << 20).unwrap_err();
    println!("{e}");
    assert!(e.to_string().contains("claims 1048576 values"), "{e}");
    assert!(Photo::read_within(&path, 256 << 20).is_err());
}

#[test]
fn one_picture_in_three_types_of_samples_is_one_picture() {
    let Some(path) = case("hostile/u8.tif") else { return };
    let want = Photo::read(&path).unwrap();
    for name in ["hostile/u32.tif", "hostile/float_0_255.tif"] {
        let Some(path) = case(name) else { return };
        let photo = Photo::read(&path).unwrap();
        println!("{name}: {:?}", photo.notes);
        assert_eq!(photo.rgb, want.rgb, "{name}");
        assert_eq!(photo.notes.len(), 1, "{name}");
    }
}

#[test]
fn a_small_gzip_of_a_large_volume_is_refused_before_reading() {
    let Some(path) = case("hostile/08_nifti_667KB_700cubed.nii.gz") else { return };
    let start = std::time::Instant::now();
    for mib in [128, 512, 4096] {
        match read_volume(&path, None, mib << 20).unwrap_err() {
            Error::Memory { needed_mib, limit_mib } => assert_eq!((needed_mib, limit_mib), (5888, mib)),
            e => panic!("{e}"),
        }
    }
    assert!(start.elapsed().as_secs() < 2);
}

fn volume(name: &str) -> Option<Nifti> {
    let image = read_volume(&case(name)?, None, u64::MAX).unwrap_or_else(|e| panic!("{name}: {e}"));
    println!("{name}: {:?}", image.warnings);
    Some(image)
}

#[test]
fn headers_are_put_right_with_a_note() {
    for (name, words) in [
        ("nifti/units_metre.nii.gz", &[][..]),
        ("nifti/units_micron.nii.gz", &[]),
        ("nifti/bitpix_zero.nii.gz", &["bitpix is 0 where"]),
        ("nifti/dim4_zero.nii.gz", &["dim[4] is 0 and counts as 1"]),
        ("nifti/sq_disagree.nii.gz", &["sform and qform place voxels up to 52.6 mm apart"]),
        (
            "nifti/sq_scale2.nii.gz",
            &["mm apart", "pixdim states a spacing of 1.0000 x 1.2000 x 1.5000 mm, the sform"],
        ),
        ("nifti/freesurfer.mgz", &[]),
        ("nifti/no_codes.nii.gz", &["the file states no orientation"]),
    ] {
        let Some(image) = volume(name) else { return };
        let want = if name.contains("scale2") { [2.0, 2.4, 3.0] } else { [1.0, 1.2, 1.5] };
        let spacing = image.affine().spacing();
        assert!((0..3).all(|i| (spacing[i] - want[i]).abs() < 1e-5), "{name}: {spacing:?}");
        for w in words {
            assert!(image.warnings.iter().any(|n| n.contains(w)), "{name}: {:?}", image.warnings);
        }
        assert_eq!(image.warnings.len(), words.len(), "{name}: {:?}", image.warnings);
    }
    let Some(image) = volume("nifti/no_codes.nii.gz") else { return };
    let a = image.affine().0;
    assert!((a[0][0] + 1.0).abs() < 1e-6 && (a[0][3] - 11.5).abs() < 1e-5, "{a:?}");
    assert!((a[1][3] + 11.4).abs() < 1e-5 && (a[2][3] + 11.25).abs() < 1e-5, "{a:?}");
}

#[test]
fn sizes_in_refusals_are_true() {
    let Some(path) = case("nifti/vox_offset_zero_nopad.nii") else { return };
    let e = read_volume(&path, None, u64::MAX).unwrap_err().to_string();
    println!("{e}");
    let words =
        ["7680 voxels of 4 bytes = 30720 bytes from byte 352 on", "the file holds 31068", "vox_offset is 0"];
    assert!(words.iter().all(|w| e.contains(w)), "{e}");
}

#[test]
fn photos_of_other_kinds_and_depths_are_read() {
    let Some(bmp) = case("photo/bmpmixed/photo.bmp") else { return };
    assert_eq!(Format::of(&bmp).unwrap(), Some(Format::Bmp));
    assert!(Photo::read(&bmp).unwrap().notes.is_empty());
    let Some(deep) = case("photo/grey12in16.png") else { return };
    let photo = Photo::read(&deep).unwrap();
    println!("{:?}", photo.notes);
    assert_eq!(photo.notes, ["values use 12 of 16 bits; scaled by 4095"]);
    assert_eq!(photo.rgb.iter().max(), Some(&219));
}

#[test]
fn content_says_what_is_a_slide() {
    let Some(path) = case("slide/slide_named_ndpi_read_as_tile.ndpi") else { return };
    let format = Format::of(&path).unwrap().unwrap();
    println!("{}", format.name());
    assert_eq!((format, format.family(), format.support()), (Format::Svs, Family::Slide, Ok(())));
    assert!(Slide::is_one(&path, 4096));
    assert!(!Slide::open(&path, 1 << 20).unwrap().levels.is_empty());
}
