//! Padding: with what.

use crate::Volume;

/// What new voxels hold.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fill<T> {
    /// One value.
    Constant(T),
    /// The nearest voxel: numpy's `edge`, PyTorch's `replicate`.
    Edge,
    /// The volume mirrored about the centre of its last voxel, which is not repeated: numpy's and
    /// PyTorch's `reflect`, as often as needed.
    Reflect,
    /// The volume mirrored about its border, the last voxel repeated: numpy's `symmetric`.
    Symmetric,
}

/// Index within `0..n` that the mirrored sequence has at `i`, without repeating the ends (numpy's
/// `reflect`, period `2n - 2`).
pub(crate) fn reflect(i: i64, n: i64) -> i64 {
    if n < 2 {
        return 0;
    }
    let at = i.rem_euclid(2 * n - 2);
    if at < n { at } else { 2 * n - 2 - at }
}

fn symmetric(i: i64, n: i64) -> i64 {
    let at = i.rem_euclid(2 * n);
    if at < n { at } else { 2 * n - 1 - at }
}

/// The volume with `before` and `after` voxels added to each axis. An axis without voxels can only
/// be filled with a constant; otherwise it stays empty.
pub fn pad<T: Copy>(v: &Volume<T>, before: [usize; 3], after: [usize; 3], fill: Fill<T>) -> Volume<T> {
    let dims = [0, 1, 2].map(|i| before[i] + v.dims[i] + after[i]);
    if let Fill::Constant(value) = fill {
        let mut out = Volume::filled(dims, value);
        out.paste(v, before);
        return out;
    }
    let source = |axis: usize| -> Vec<usize> {
        let n = v.dims[axis] as i64;
        let list = if n == 0 { 0 } else { dims[axis] as i64 };
        let at = |i: i64| match fill {
            Fill::Reflect => reflect(i, n),
            Fill::Symmetric => symmetric(i, n),
            Fill::Edge | Fill::Constant(_) => i.clamp(0, n - 1),
        };
        (0..list).map(|i| at(i - before[axis] as i64) as usize).collect()
    };
    let [x, y, z] = [source(0), source(1), source(2)];
    let mut data = Vec::with_capacity(x.len() * y.len() * z.len());
    for &z in &z {
        for &y in &y {
            let row = v.index(0, y, z);
            data.extend(x.iter().map(|&x| v.data[row + x]));
        }
    }
    Volume { dims: [x.len(), y.len(), z.len()], data }
}

/// The box of `size` voxels from `start` on; where it reaches beyond the volume, that is continued as `fill` says.
pub fn cut<T: Copy>(v: &Volume<T>, start: [i64; 3], size: [usize; 3], fill: Fill<T>) -> Volume<T> {
    let inside = [0, 1, 2].map(|i| {
        let from = start[i].clamp(0, v.dims[i] as i64) as usize;
        let to = (start[i] + size[i] as i64).clamp(from as i64, v.dims[i] as i64) as usize;
        (from, to)
    });
    let (from, to) = (inside.map(|r| r.0), inside.map(|r| r.1));
    let before = [0, 1, 2].map(|i| (from[i] as i64 - start[i]) as usize);
    let after = [0, 1, 2].map(|i| size[i] - before[i] - (to[i] - from[i]));
    let part = v.crop(from, to);
    if (before, after) == ([0; 3], [0; 3]) { part } else { pad(&part, before, after, fill) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_voxel_and_none() {
        let one = Volume::new([1, 1, 1], vec![7]);
        for fill in [Fill::Edge, Fill::Reflect, Fill::Symmetric, Fill::Constant(7)] {
            assert_eq!(pad(&one, [2, 0, 1], [1, 0, 0], fill), Volume::filled([4, 1, 2], 7));
        }
        let none = Volume::new([0, 2, 1], Vec::<u8>::new());
        assert_eq!(pad(&none, [1; 3], [1; 3], Fill::Reflect).dims, [0, 4, 3]);
        assert_eq!(pad(&none, [1, 0, 0], [0; 3], Fill::Constant(3)).data, [3, 3]);
    }
}
