//! Means over the input that an output voxel touches.

use crate::Volume;

/// `torch.nn.functional.interpolate(mode="area")`: adaptive average pooling. Output voxel `i` of `m` along an axis of `n` is the mean
/// of the input from `floor(i·n/m)` up to `ceil((i+1)·n/m)`, along one axis after the other.
pub fn area(v: &Volume<f32>, to: [usize; 3]) -> Volume<f32> {
    (0..3).fold(v.clone(), |v, axis| if v.dims[axis] == to[axis] { v } else { along(&v, axis, to[axis]) })
}

fn along(v: &Volume<f32>, axis: usize, m: usize) -> Volume<f32> {
    let n = v.dims[axis];
    let mut dims = v.dims;
    dims[axis] = m;
    let mut out = Volume::filled(dims, 0f32);
    // Values that follow one another along the axis lie so far apart.
    let step: usize = v.dims[..axis].iter().product();
    let (from, into) = (v.data.chunks_exact((step * n).max(1)), out.data.chunks_exact_mut((step * m).max(1)));
    for (from, into) in from.zip(into) {
        for (i, line) in into.chunks_exact_mut(step).enumerate() {
            let (first, end) = (i * n / m, ((i + 1) * n).div_ceil(m));
            for (k, o) in line.iter_mut().enumerate() {
                let sum: f64 = (first..end).map(|j| f64::from(from[j * step + k])).sum();
                *o = (sum / (end - first) as f64) as f32;
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_output_voxel_is_the_mean_of_what_it_touches() {
        let v = Volume::new([5, 2, 1], vec![1.0, 2.0, 3.0, 4.0, 5.0, 10.0, 20.0, 30.0, 40.0, 50.0]);
        // As torch.nn.functional.interpolate gives them: three of five are 0 to 1, 1 to 3 and 3 to 4.
        assert_eq!(area(&v, [3, 2, 1]).data, [1.5, 3.0, 4.5, 15.0, 30.0, 45.0]);
        assert_eq!(area(&v, [5, 1, 1]).data, [5.5, 11.0, 16.5, 22.0, 27.5]);
        assert_eq!(area(&v, [1, 1, 1]).data, [16.5]);
        // Where it grows, values are repeated, and shared where they meet.
        assert_eq!(area(&Volume::new([2, 1, 1], vec![1.0, 3.0]), [3, 1, 1]).data, [1.0, 2.0, 3.0]);
        assert_eq!(area(&v, [5, 2, 1]), v);
    }
}
