//! Damaged images never panic and never take memory that their file cannot fill.

use ampoule_imaging::geometry::Affine;
use ampoule_imaging::{Nifti, Volume};
use proptest::prelude::*;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]
    #[test]
    fn damaged_headers(
        changes in prop::collection::vec((0usize..352, any::<u8>()), 1..8),
        gzip in any::<bool>(),
        cut in prop::option::weighted(0.2, 0usize..1000),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let v = Volume::new([5, 6, 7], (0..210).map(|i| i as f32).collect());
        let a = Affine([[1.0, 0.0, 0.0, 0.0], [0.0, 2.0, 0.0, 0.0], [0.0, 0.0, 3.0, 0.0]]);
        let path = dir.path().join("x.nii");
        Nifti::from_f32(&v, a).write(&path).unwrap();
        let mut bytes = std::fs::read(&path).unwrap();
        for (at, value) in changes {
            bytes[at] = value;
        }
        if let Some(n) = cut {
            bytes.truncate(n);
        }
        if gzip {
            use std::io::Write;
            let mut e = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            e.write_all(&bytes).unwrap();
            bytes = e.finish().unwrap();
        }
        std::fs::write(&path, bytes).unwrap();
        if let Ok(image) = Nifti::read(&path, Some(0)) {
            let (v, _) = image.to_f32();
            prop_assert!(v.data.iter().all(|x| x.is_finite()));
            let mask = Volume::filled(image.dims(), 1u8);
            image.with_mask(&mask).write(&dir.path().join("m.nii.gz")).unwrap();
        }
    }
}
