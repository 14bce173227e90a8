//! Stains and tissue against torchstain, scikit-image and scipy (`scripts/golden_histology.py`).

use ampoule_imaging::photo::Photo;
use ampoule_imaging::{stain, tissue};
use std::path::Path;

fn read(name: &str) -> Photo {
    Photo::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/histology").join(name)).unwrap()
}

fn golden() -> serde_json::Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/histology/golden.json");
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

fn apart(a: &[u8], b: &[u8]) -> u8 {
    a.iter().zip(b).map(|(x, y)| x.abs_diff(*y)).max().unwrap()
}

#[test]
fn stains_are_normalised_as_by_others() {
    let g = golden();
    let list = |k: &str| -> [f64; 3] { serde_json::from_value(g[k].clone()).unwrap() };
    let reinhard = stain::Target::Reinhard { mean: list("mean"), deviation: list("deviation") };
    for (target, want) in [(stain::MACENKO, "macenko.png"), (reinhard, "reinhard.png")] {
        let mut photo = read("stained.png");
        let before = photo.rgb.clone();
        stain::change(&photo, &target).unwrap().apply(&mut photo.rgb);
        assert!(apart(&photo.rgb, &before) > 20);
        let most = apart(&photo.rgb, &read(want).rgb);
        assert!(most <= 1, "{want}: {most}");
    }
}

#[test]
fn tissue_thresholds_are_those_of_scikit_image() {
    let g = golden();
    let slide = read("slide.png");
    let raw: Vec<u8> = slide.rgb.chunks_exact(3).map(|p| tissue::saturation([p[0], p[1], p[2]])).collect();
    let median = tissue::median(&raw, slide.width, slide.height);
    let want: Vec<u8> = read("median.png").rgb.iter().step_by(3).copied().collect();
    assert_eq!(median, want);
    let mut histogram = [0; 256];
    median.iter().for_each(|&v| histogram[v as usize] += 1);
    assert_eq!(tissue::otsu(&histogram).map(u64::from), g["otsu"].as_u64());
    for pair in g["lab"].as_array().unwrap() {
        let rgb: [u8; 3] = serde_json::from_value(pair[0].clone()).unwrap();
        let want: [f64; 3] = serde_json::from_value(pair[1].clone()).unwrap();
        let got = stain::lab(rgb);
        assert!((0..3).all(|c| (got[c] - want[c]).abs() < 0.02), "{got:?} {want:?}");
    }
}

#[test]
fn slides_are_prepared_as_by_lavlab_shell() {
    let shell = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/shell");
    let read = |name: &str| Photo::read(&shell.join(name)).unwrap();
    let mut photo = read("picture.png");
    let glass = stain::glass(&photo);
    let want: Vec<u8> = read("glass.png").rgb.iter().step_by(3).map(|v| (*v > 0) as u8).collect();
    assert_eq!(glass.data, want);
    assert!(want.contains(&0) && want.contains(&1));
    let found = stain::change(&photo, &stain::Target::Channels).unwrap();
    found.apply(&mut photo.rgb);
    let want = read("channels.png");
    let off = photo.rgb.iter().zip(&want.rgb).filter(|(a, b)| a != b).count();
    assert!(apart(&photo.rgb, &want.rgb) <= 1 && off < photo.rgb.len() / 100, "{off}");
}
