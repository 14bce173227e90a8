//! `ampoule demo`: a whole head from file to file.

use super::*;

#[test]
fn the_demo_needs_nothing() {
    // The reference tier takes minutes for a whole head.
    if std::env::var("AMPOULE_ISA").is_ok_and(|v| v == "scalar") {
        println!("SKIPPED on the scalar tier: the demonstration is a whole head");
        return;
    }
    let d = Dir::new();
    let o = ampoule(&d, &["demo", "-o", "demo"]);
    expect(&o, 0, &["Dice 0.93", "MiB", "colin27_qc.png"]);
    assert!(d.path("demo/colin27_qc.png").exists());
    // A whole head from file to file against a mask that `scripts/golden_demo.py` made with ONNX Runtime.
    let golden = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/colin27_deepbet.nii.gz");
    let [ours, theirs] = [d.path("demo/colin27_mask.nii.gz"), golden.into()].map(|f| voxels(&f));
    let brain = theirs.iter().filter(|v| **v == 1).count();
    assert!(brain > 1_900_000, "the golden mask has {brain} voxels");
    // Probabilities near the threshold round to either side: sums have another order on every tier.
    let differ = ours.iter().zip(&theirs).filter(|(a, b)| a != b).count();
    assert!(differ <= 100, "{differ} voxels differ");
}

/// The voxels of a compressed NIfTI file of 8-bit labels on Colin27's grid.
fn voxels(file: &Path) -> Vec<u8> {
    let mut bytes = Vec::new();
    let packed = std::fs::File::open(file).unwrap();
    std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(packed), &mut bytes).unwrap();
    let count = 181 * 217 * 181;
    // A header of 352 bytes with the extension's flag, then nothing but voxels.
    assert_eq!(bytes.len(), 352 + count, "{}", file.display());
    bytes.split_off(352)
}
