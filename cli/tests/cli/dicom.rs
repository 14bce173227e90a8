//! Folders, ZIP files and discs of DICOM: which cases they give, what they are called, what is left alone and what is
//! refused. The files are those of `crates/dicom/tests/golden`.

use super::*;
use std::io::Read;

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../crates/dicom/tests/golden/{name}.zip"))
}

/// Unpacks a series into a folder, with the folders that it has.
fn unpack(d: &Dir, name: &str, folder: &str) {
    let mut archive = zip::ZipArchive::new(std::fs::File::open(golden(name)).unwrap()).unwrap();
    for i in 0..archive.len() {
        let mut entry = archive.by_index(i).unwrap();
        let path = d.path(folder).join(entry.name().unwrap().as_ref());
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).unwrap();
        std::fs::write(path, bytes).unwrap();
    }
}

/// Every file below a folder that holds one of these texts.
fn holds(folder: &Path, texts: &[&str]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(holds(&path, texts));
            continue;
        }
        let bytes = std::fs::read(&path).unwrap();
        let text = String::from_utf8_lossy(&bytes);
        if texts.iter().any(|t| text.contains(t)) {
            found.push(path);
        }
    }
    found
}

#[test]
fn every_series_of_a_folder_is_a_case_without_the_patients_name() {
    let d = setup();
    unpack(&d, "two", "in");
    let o = ampoule(&d, &["run", "tiny.onnx", "in", "-o", "out"]);
    expect(&o, 0, &["2 done, 0 kept, 0 failed, 0 skipped", "a localizer", "a PDF document"]);
    let first = Nifti::read(&d.path("out/DICOM/A/3_T1_mprage_sag_mask.nii.gz"), None).unwrap();
    assert_eq!(first.dims(), [16, 12, 7]);
    assert!(d.path("out/DICOM/B/series_5_mask.nii.gz").exists());
    for told in ["Muster", "Erika", "4711", "19700101", "20200102"] {
        assert_eq!(holds(&d.path("out"), &[told]), Vec::<PathBuf>::new(), "{told}");
        assert!(!text(&o).contains(told), "{}", text(&o));
    }
    // A second run keeps both, unless a file of a series changed.
    expect(&ampoule(&d, &["run", "tiny.onnx", "in", "-o", "out"]), 0, &["0 done, 2 kept"]);
    std::fs::remove_file(d.path("in/DICOM/A/006")).unwrap();
    expect(&ampoule(&d, &["run", "tiny.onnx", "in", "-o", "out", "--overwrite"]), 0, &["2 done"]);
    let shorter = Nifti::read(&d.path("out/DICOM/A/3_T1_mprage_sag_mask.nii.gz"), None).unwrap();
    assert_eq!(shorter.dims(), [16, 12, 6]);
}

#[test]
fn series_are_chosen_by_number_or_description() {
    let d = setup();
    let zip = golden("two");
    let zip = zip.to_str().unwrap();
    let run =
        |out: &str, series: &str| ampoule(&d, &["run", "tiny.onnx", zip, "-o", out, "--series", series]);
    expect(&run("a", "MPRAGE"), 0, &["1 done"]);
    assert!(d.path("a/DICOM/A/3_T1_mprage_sag_mask.nii.gz").exists());
    expect(&run("b", "5"), 0, &["1 done"]);
    expect(
        &run("c", "flair"),
        2,
        &["no series is meant by `flair`", "series 3 `T1 mprage sag` (MR, 7 files)"],
    );
    unpack(&d, "two", "in");
    std::fs::remove_file(d.path("in/DICOM/A/003")).unwrap();
    let o = ampoule(&d, &["run", "tiny.onnx", "in", "-o", "out"]);
    expect(&o, 1, &["a slice is missing between 002 and 004", "1 done, 0 kept, 0 failed, 1 skipped"]);
}

#[test]
fn discs_are_read_by_their_directory() {
    let d = setup();
    unpack(&d, "disc", "disc");
    expect(&ampoule(&d, &["run", "tiny.onnx", "disc/DICOMDIR", "-o", "a"]), 0, &["1 done"]);
    expect(&ampoule(&d, &["run", "tiny.onnx", "disc", "-o", "b"]), 0, &["1 done"]);
    let first = std::fs::read_dir(d.path("disc")).unwrap().flatten().find(|e| e.path().is_dir()).unwrap();
    std::fs::rename(first.path(), d.path("elsewhere")).unwrap();
    let o = ampoule(&d, &["run", "tiny.onnx", "disc/DICOMDIR", "-o", "c"]);
    expect(&o, 3, &["7 of the files that it lists are not there", "copy the whole disc"]);
}

#[test]
fn masks_are_also_segmentation_objects() {
    let d = setup();
    unpack(&d, "sagittal", "in");
    let o = ampoule(&d, &["run", "tiny.onnx", "in", "-o", "out", "--seg"]);
    expect(&o, 0, &["1 done"]);
    let bytes = std::fs::read(d.path("out/2_sagittal_seg.dcm")).unwrap();
    assert_eq!(&bytes[128..132], b"DICM");
    expect(
        &ampoule(&d, &["run", "tiny.onnx", "head.nii.gz", "-o", "x", "--seg"]),
        2,
        &["is for DICOM series"],
    );
    let o = ampoule(&d, &["run", "tiny.onnx", "in", "-o", "all", "--sc", "--sr"]);
    expect(&o, 0, &["1 done"]);
    for name in ["qc", "sr"] {
        let bytes = std::fs::read(d.path(&format!("all/2_sagittal_{name}.dcm"))).unwrap();
        assert_eq!(&bytes[128..132], b"DICM", "{name}");
    }
    let o = ampoule(&d, &["run", "tiny.onnx", "head.nii.gz", "-o", "x", "--sr"]);
    expect(&o, 2, &["--sr is for DICOM series"]);
    // It is named where it lies among images, and is none.
    std::fs::copy(d.path("out/2_sagittal_seg.dcm"), d.path("in/seg.dcm")).unwrap();
    let o = ampoule(&d, &["run", "tiny.onnx", "in", "-o", "again"]);
    expect(&o, 0, &["1 done", "a segmentation, no volume"]);
}

#[test]
fn inspect_describes_series() {
    let d = setup();
    let two = golden("two");
    let o = ampoule(&d, &["inspect", two.to_str().unwrap()]);
    expect(
        &o,
        0,
        &["series 3 `T1 mprage sag` (MR, 7 files): 16x12x7 voxels of 0.900x1.100x1.500 mm", "a localizer"],
    );
    unpack(&d, "tilt", "tilt");
    expect(&ampoule(&d, &["inspect", "tilt"]), 0, &["16x14x7 voxels of 0.900x1.100x1.500 mm"]);
    unpack(&d, "enhanced", "one");
    expect(&ampoule(&d, &["inspect", "one/IM0000", "--json"]), 0, &["\"shape\":[16,12,7]"]);
}

#[test]
fn what_is_no_series_gets_a_sentence() {
    let d = setup();
    std::fs::create_dir(d.path("in")).unwrap();
    std::fs::write(d.path("in/scan.dcm"), b"hello").unwrap();
    let o = ampoule(&d, &["run", "tiny.onnx", "in", "-o", "out"]);
    expect(&o, 1, &["scan.dcm: it is no DICOM file"]);
    unpack(&d, "axial", "many");
    let o = ampoule(&d, &["run", "tiny.onnx", "many/IM0003", "-o", "out"]);
    expect(&o, 1, &["a single slice; give the folder"]);
    // An output folder within the input is no input.
    let o = ampoule(&d, &["run", "tiny.onnx", "many", "-o", "many/out", "--max-ram", "1G"]);
    expect(&o, 0, &["1 done"]);
}

/// A network of two channels, of which the second counts more.
fn two_channels(path: &Path, recipe: &str) {
    let mut b = Builder::new("two");
    let x = b.input("image", &[1, 2, 32, 32, 32].map(Dim::Known));
    let weights = Tensor::f32(&[1, 2, 1, 1, 1], &[0.5, 2.0]);
    let y = b.conv(x, weights, Some(Tensor::f32(&[1], &[-0.5])), Window::of(&[1; 3]));
    let y = b.unary(y, Unary::Sigmoid);
    b.output(y, "probability", &[1, 1, 32, 32, 32].map(Dim::Known));
    let mut g = b.finish();
    g.set_meta(ampoule_pipeline::RECIPE_KEY, recipe);
    onnx::write_file(&g, path).unwrap();
}

#[test]
fn series_of_a_study_are_the_channels_of_a_case_where_it_is_said_which() {
    let d = setup();
    unpack(&d, "two", "in");
    let inputs = "[[input]]\nname = \"t1\"\n[[input]]\nname = \"other\"\ngrid = \"resample\"\n";
    let recipe = RECIPE.replace("[[input]]\nname = \"image\"\n", inputs);
    two_channels(&d.path("two.onnx"), &recipe);
    let run = |out: &str, more: &[&str]| ampoule(&d, &[&["run", "two.onnx", "in", "-o", out], more].concat());
    expect(
        &run("a", &[]),
        1,
        &["no series is `other`", "--channel other=NUMBER", "`T1 mprage sag`", "0 done"],
    );
    expect(
        &run("b", &["--channel", "other=5", "--seg"]),
        0,
        &["t1 is series 3", "other is series 5", "1 done"],
    );
    let written = d.path("b/DICOM/3_T1_mprage_sag");
    let mask = Nifti::read(&written.with_file_name("3_T1_mprage_sag_mask.nii.gz"), None).unwrap();
    assert_eq!(mask.dims(), [16, 12, 7]);
    assert!(written.with_file_name("3_T1_mprage_sag_seg.dcm").exists());
    // The other way round it is another case, on the other grid.
    let o = run("c", &["--channel", "t1=5", "--channel", "other=*mprage*", "--seg=labelmap"]);
    expect(&o, 0, &["t1 is series 5", "1 done"]);
    assert!(d.path("c/DICOM/series_5_labelmap.dcm").exists(), "{:?}", d.names("c/DICOM"));
    expect(&run("e", &["--channel", "other=3"]), 1, &["would be two channels"]);
    expect(&run("f", &["--channel", "othr=5"]), 3, &["no channel `othr`", "did you mean `other`"]);
    // Taken up again, unless a file of either series changed.
    expect(&run("b", &["--channel", "other=5", "--seg"]), 0, &["1 kept"]);
    // The recipe may say it.
    let said = recipe.replace("name = \"other\"", "name = \"other\"\nseries = \"5\"");
    two_channels(&d.path("two.onnx"), &said);
    expect(&run("g", &[]), 0, &["1 done"]);
}

#[test]
fn series_of_another_modality_than_the_recipes_are_named_and_not_run() {
    let d = setup();
    unpack(&d, "axial", "in/mr");
    unpack(&d, "ct", "in/ct");
    let recipe = RECIPE.replace("name = \"image\"", "name = \"image\"\nmodality = \"CT\"");
    std::fs::write(d.path("ct.toml"), recipe).unwrap();
    let o = ampoule(&d, &["run", "tiny.onnx", "in", "-o", "out", "--recipe", "ct.toml"]);
    expect(&o, 1, &["the model takes CT and not MR", "1 done", "1 skipped"]);
}
