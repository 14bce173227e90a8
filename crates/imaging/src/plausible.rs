//! What is unlikely about an image or a label map: sentences for a user, on which nothing is decided.

use crate::Volume;
use crate::photo::Photo;
use rayon::prelude::*;

/// Voxels that statistics of an image are taken over.
const SAMPLE: usize = 200_000;
/// Mean difference of neighbours over the deviation: 1.13 for white noise, below 0.5 for images.
const NOISE: f64 = 0.95;
/// Different values below which an image has hardly any contrast.
const FEW_VALUES: usize = 12;
/// How far padding lies below the rest, in ranges of the rest.
const FAR: f32 = 3.0;

/// What is unlikely about the values of a volume.
pub fn volume(v: &Volume<f32>) -> Vec<String> {
    let mut out = Vec::new();
    let mut sample: Vec<f32> = v.data.iter().copied().step_by((v.data.len() / SAMPLE).max(1)).collect();
    sample.par_sort_unstable_by(f32::total_cmp);
    let (Some(&low), Some(&high)) = (sample.first(), sample.last()) else { return out };
    let rest = &sample[sample.partition_point(|x| *x <= low)..];
    let share = 1.0 - rest.len() as f64 / sample.len() as f64;
    let [a, b] = [0.01, 0.99].map(|q| rest.get((q * rest.len() as f64) as usize).copied().unwrap_or(low));
    if share > 0.01 && b > a && a - low > FAR * (b - a) {
        out.push(format!(
            "{:.0} % of its voxels are {low}, far below the rest ({a} to {b}); padding that the scanner or a converter added may change the result",
            100.0 * share
        ));
    }
    sample.dedup();
    if sample.len() < FEW_VALUES && high > low {
        out.push(format!("it has only {} different intensities; is it a mask?", sample.len()));
    }
    if let Some(ratio) = roughness(v)
        && ratio > NOISE
    {
        out.push("neighbouring voxels have nothing in common; it looks like noise".into());
    }
    out
}

/// Grey levels between the darkest and the brightest hundredth below which a photo shows hardly anything.
const FLAT: usize = 10;

/// What is unlikely about a photo or tile.
pub fn photo(p: &Photo) -> Option<String> {
    let step = (p.rgb.len() / 3 / SAMPLE).max(1);
    let mut counts = [0usize; 256];
    p.rgb.chunks_exact(3).step_by(step).for_each(|c| counts[c[0].max(c[1]).max(c[2]) as usize] += 1);
    let all: usize = counts.iter().sum();
    let at = |q: f64| {
        let mut left = (q * all.saturating_sub(1) as f64) as usize;
        counts.iter().position(|n| {
            let here = left < *n;
            left = left.saturating_sub(*n);
            here
        })
    };
    let (low, high) = (at(0.01)?, at(0.99)?);
    (high - low < FLAT).then(|| {
        format!("it has hardly any contrast (levels {low} to {high} of 255); is it of the right kind?")
    })
}

/// Mean difference of neighbours along x over the deviation of all.
fn roughness(v: &Volume<f32>) -> Option<f64> {
    let nx = v.dims[0];
    if nx < 8 {
        return None;
    }
    let rows = v.data.len() / nx;
    let (mut n, mut sum, mut square, mut difference) = (0f64, 0f64, 0f64, 0f64);
    for row in v.data.chunks_exact(nx).step_by((rows * nx / SAMPLE).max(1)) {
        for w in row.windows(2) {
            let (a, b) = (w[0] as f64, w[1] as f64);
            n += 1.0;
            sum += a;
            square += a * a;
            difference += (a - b).abs();
        }
    }
    let deviation = (square / n - (sum / n).powi(2)).max(0.0).sqrt();
    (deviation > 0.0).then(|| difference / n / deviation)
}

/// Voxels of a border plane that a result may have there by accident.
const TOUCHING: usize = 16;

/// Borders of a volume that labels touch.
pub fn touched(v: &Volume<u16>) -> Vec<&'static str> {
    let [nx, ny, nz] = v.dims;
    let names = ["first x", "last x", "first y", "last y", "first z", "last z"];
    let mut counts = [0usize; 6];
    let mut any = |x: usize, y: usize, z: usize, face: usize| counts[face] += (v.at(x, y, z) != 0) as usize;
    for z in 0..nz {
        for y in 0..ny {
            any(0, y, z, 0);
            any(nx - 1, y, z, 1);
        }
        for x in 0..nx {
            any(x, 0, z, 2);
            any(x, ny - 1, z, 3);
        }
    }
    for y in 0..ny {
        for x in 0..nx {
            any(x, y, 0, 4);
            any(x, y, nz - 1, 5);
        }
    }
    // One voxel thick, every voxel is at the border.
    let thin = |face: usize| v.dims[face / 2] == 1;
    names.into_iter().enumerate().filter(|(i, _)| counts[*i] > TOUCHING && !thin(*i)).map(|n| n.1).collect()
}

/// Whether an image was cut to its labels before: hardly any of its voxels that are not 0 lie outside them.
pub fn stripped(image: &Volume<f32>, labels: &Volume<u16>) -> Option<String> {
    let (mut inside, mut all) = (0u64, 0u64);
    for (v, l) in image.data.iter().zip(&labels.data) {
        if *v != 0.0 {
            all += 1;
            inside += (*l != 0) as u64;
        }
    }
    let share = inside as f64 / all.max(1) as f64;
    let some = 20 * all < 19 * image.data.len() as u64;
    (share > 0.9 && some && inside > 0).then(|| {
        format!(
            "{:.0} % of its voxels that are not 0 lie inside the result; it seems to be stripped already",
            100.0 * share
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use ampoule_random::Random;

    fn image(f: impl Fn(usize, usize, usize) -> f32) -> Volume<f32> {
        let d = [24, 24, 24];
        let data = (0..d[0] * d[1] * d[2]).map(|i| f(i % d[0], i / d[0] % d[1], i / d[0] / d[1])).collect();
        Volume { dims: d, data }
    }

    #[test]
    fn unlikely_images_are_reported() {
        let smooth = |x: usize, y: usize, z: usize| (x * x + 3 * y + 7 * z) as f32;
        assert_eq!(volume(&image(smooth)), Vec::<String>::new());
        let padded = image(|x, y, z| if x < 4 { -32768.0 } else { smooth(x, y, z) });
        assert!(volume(&padded)[0].contains("-32768"), "{:?}", volume(&padded));
        let mask = image(|x, _, _| (x > 8) as u8 as f32);
        assert!(volume(&mask)[0].contains("only 2 different"));
        let noise = Volume { dims: [24; 3], data: Random::new(1).values(24 * 24 * 24) };
        assert!(volume(&noise).iter().any(|w| w.contains("noise")));
    }

    #[test]
    fn photos_without_contrast_are_reported() {
        let rgb = |f: fn(usize) -> u8| (0..30 * 20 * 3).map(|i| f(i / 3)).collect();
        assert!(photo(&Photo::new(30, 20, rgb(|_| 0))).unwrap().contains("0 to 0"));
        assert!(photo(&Photo::new(30, 20, rgb(|i| 100 + (i % 5) as u8))).is_some());
        assert_eq!(photo(&Photo::new(30, 20, rgb(|i| (i % 30) as u8))), None);
    }

    #[test]
    fn results_at_the_border_are_reported() {
        let mut v = Volume::filled([24, 24, 24], 0u16);
        assert!(touched(&v).is_empty());
        for i in 0..24 * 24 {
            v.data[i] = 3;
        }
        assert!(touched(&v).contains(&"first z") && !touched(&v).contains(&"last z"));
        let image = v.map(|l| if l > 0 { 5.0 } else { 0.0 });
        assert!(stripped(&image, &v).is_some());
        assert!(stripped(&v.map(|_| 5.0), &v).is_none());
    }
}
