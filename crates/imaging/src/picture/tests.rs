//! Any size and any content gives a picture.

use super::*;
use crate::photo::Photo;
use ampoule_random::Random;
use proptest::prelude::*;

fn legend(n: u16) -> Vec<Legend> {
    (0..n).map(|i| Legend::new(i, format!("organ \u{1b}[{i}m"))).collect()
}

#[test]
fn volumes_of_any_shape_have_a_picture() {
    for dims in [[1, 1, 1], [1, 1, 900], [900, 1, 1], [1, 700, 2], [5000, 2, 2], [2, 3, 2000], [0, 4, 4]] {
        for spacing in [[1.0; 3], [0.1, 8.0, 1e-3], [f64::NAN, 0.0, -1.0], [1e6, 1e-6, 1.0]] {
            let image = Volume::filled(dims, f32::NAN);
            let labels = Volume::filled(dims, 65535u16);
            let p = volume_qc(&image, &labels, spacing, &legend(3), "\u{7}name");
            assert!(p.width == 1240 && p.height < 2500, "{dims:?} {spacing:?}: {}", p.height);
        }
    }
    let other = volume_qc(&Volume::filled([3; 3], 1.0), &Volume::filled([2; 3], 1u8), [1.0; 3], &[], "");
    assert!(other.height > 100);
}

#[test]
fn colours_of_all_labels_are_in_the_picture() {
    let mut labels = Volume::filled([30, 30, 30], 0u16);
    for (i, l) in labels.data.iter_mut().enumerate() {
        let (x, y) = (i % 30, i / 30 % 30);
        *l = if x < 10 {
            1
        } else if y < 10 {
            300
        } else {
            0
        };
    }
    let legend = [Legend { value: 1, name: "a".into(), colour: [1, 255, 3] }];
    let image = labels.map(f32::from);
    let p = volume_qc(&image, &labels, [1.0; 3], &legend, "case");
    for c in [[1, 255, 3], palette(299)] {
        assert!(p.rgb.chunks_exact(3).filter(|q| *q == c).count() > 100);
    }
    assert_eq!(p, volume_qc(&image, &labels, [1.0; 3], &legend, "case"));
}

#[test]
fn photos_of_any_size_have_pictures() {
    for (w, h) in [(0, 0), (1, 1), (1, 3000), (3000, 1), (50, 2), (2500, 1500)] {
        let photo = Photo::new(w, h, vec![200; 3 * w * h]);
        let labels: Vec<u16> = (0..w * h).map(|i| (i % 70000) as u16).collect();
        let p = overlay(&photo, &labels, &legend(9), Some(0.5), "name");
        assert!(p.width.max(p.height) <= 2080 && p.width >= 480, "{w}×{h} gives {}×{}", p.width, p.height);
        let values = vec![0.5; w * h];
        heat_map(&photo, &values, [w, h], 1.0, "name");
        heat_map(&photo, &[f32::NAN], [1, 1], 0.2, "name");
    }
    let photo = Photo::new(2, 2, vec![0; 12]);
    overlay(&photo, &[1u8], &[], Some(f64::NAN), "short");
    heat_map(&photo, &[0.5], [usize::MAX, 2], 1.0, "long");
}

#[test]
fn the_plain_writer_makes_a_png() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("case_qc.png");
    write(&path, &Volume::filled([4; 3], 1.0), &Volume::filled([4; 3], 200u8), [1.0; 3]).unwrap();
    assert_eq!(image::open(&path).unwrap().width(), 1240);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn small_volumes_never_panic(
        dims in prop::array::uniform3(1usize..9), seed in any::<u64>(), s in prop::array::uniform3(0.01f64..20.0),
    ) {
        let mut random = Random::new(seed);
        let n = dims.iter().product();
        let image = Volume::new(dims, (0..n).map(|_| f32::from_bits(random.bits() as u32)).collect());
        let labels = Volume::new(dims, (0..n).map(|_| random.below(3) as u16).collect());
        volume_qc(&image, &labels, s, &legend(2), "x");
    }
}
