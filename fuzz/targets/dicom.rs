//! A DICOM series of one file: scanned, and read as far as it is one.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(dir) = tempfile::tempdir() else { return };
    let path = dir.path().join("x");
    if std::fs::write(&path, data).is_err() {
        return;
    }
    let most = 64 << 20;
    let _ = ampoule_dicom::directory(&path, most);
    for series in ampoule_dicom::scan(&[ampoule_dicom::Place::file(&path)], most).series {
        let _ = ampoule_dicom::read(&series.places, Some(0), most);
    }
});
