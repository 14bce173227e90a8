//! Stridesing through strided memory in an order that suits the caches.

/// Where positions along an image's axes lie in memory: the place of the first, and a stride along x, y and z.
#[derive(Clone, Copy, Debug)]
pub struct Strides {
    base: isize,
    step: [isize; 3],
}

/// Pixels along each side of a tile that is transposed at a time: a cache line of floats.
const TILE: usize = 16;

impl Strides {
    /// For a box of `size` whose tensor axes have `strides`; mirrored axes have negative strides.
    #[inline]
    pub fn new(axes: &[usize], strides: &[usize], size: [usize; 3], mirror: [bool; 3]) -> Strides {
        let mut strided = Strides { base: 0, step: [0; 3] };
        for (&a, &s) in axes.iter().zip(strides) {
            let s = s as isize;
            strided.step[a] = if mirror[a] { -s } else { s };
            strided.base += if mirror[a] { (size[a] as isize - 1) * s } else { 0 };
        }
        strided
    }

    /// For pixels of `each` values one after the other, x fastest.
    #[inline]
    pub fn of_volume(size: [usize; 3], each: usize) -> Strides {
        let step = [each, each * size[0], each * size[0] * size[1]];
        Strides { base: 0, step: step.map(|s| s as isize) }
    }

    /// The same, starting at position `p`.
    #[inline]
    pub fn from(&self, p: [usize; 3]) -> Strides {
        Strides { base: self.at(p), step: self.step }
    }

    /// The same, so much further in memory.
    #[inline]
    pub fn offset(&self, by: usize) -> Strides {
        Strides { base: self.base + by as isize, step: self.step }
    }

    #[inline]
    fn at(&self, p: [usize; 3]) -> isize {
        self.base + (0..3).map(|i| p[i] as isize * self.step[i]).sum::<isize>()
    }

    /// The axis whose steps are the smallest, of those along which a box has more than one pixel.
    #[inline]
    fn fastest(&self, size: [usize; 3]) -> usize {
        (0..3).filter(|i| size[*i] > 1).min_by_key(|i| self.step[*i].unsigned_abs()).unwrap_or(0)
    }

    /// Visits the pixels of a box: where each lies, and its number with x fastest.
    pub fn each(&self, size: [usize; 3], mut f: impl FnMut(usize, usize)) {
        let (nx, ny) = (size[0], size[1]);
        let tile = if self.fastest(size) == 0 { nx.max(1) } else { TILE };
        for y in 0..ny {
            for x0 in (0..nx).step_by(tile) {
                for z in 0..size[2] {
                    let start = self.at([x0, y, z]);
                    for x in x0..(x0 + tile).min(nx) {
                        let at = start + (x - x0) as isize * self.step[0];
                        f(at as usize, x + nx * (y + ny * z));
                    }
                }
            }
        }
    }
}

/// Moves the values of a box of `size` from one order in memory to another, tile by tile, so that a cache line stays
/// until all of it was used. Within a tile the innermost loop writes along memory: reads that miss do not wait for one
/// another.
pub fn copy(
    size: [usize; 3],
    from: &Strides,
    to: &Strides,
    mut get: impl FnMut(usize) -> f32,
    mut put: impl FnMut(usize, f32),
) {
    let (read, written) = (from.fastest(size), to.fastest(size));
    if read == written {
        return rows(size, read, from, to, |a, b| put(b, get(a)));
    }
    let rest = 3 - read - written;
    let mut p = [0; 3];
    for r in 0..size[rest] {
        for w in (0..size[written]).step_by(TILE) {
            for k in (0..size[read]).step_by(TILE) {
                (p[rest], p[written], p[read]) = (r, w, k);
                let (a, b) = (from.at(p), to.at(p));
                for i in 0..TILE.min(size[read] - k) as isize {
                    let (mut a, mut b) = (a + i * from.step[read], b + i * to.step[read]);
                    for _ in 0..TILE.min(size[written] - w) {
                        put(b as usize, get(a as usize));
                        a += from.step[written];
                        b += to.step[written];
                    }
                }
            }
        }
    }
}

/// Visits a box by rows along an axis, with the place of each pixel in both orders.
fn rows(size: [usize; 3], along: usize, from: &Strides, to: &Strides, mut f: impl FnMut(usize, usize)) {
    let [u, v] = [(along + 1) % 3, (along + 2) % 3];
    let (middle, last) = if to.step[u].unsigned_abs() < to.step[v].unsigned_abs() { (u, v) } else { (v, u) };
    let mut p = [0; 3];
    for l in 0..size[last] {
        for m in 0..size[middle] {
            (p[last], p[middle]) = (l, m);
            let (a, b) = (from.at(p), to.at(p));
            for i in 0..size[along] as isize {
                f((a + i * from.step[along]) as usize, (b + i * to.step[along]) as usize);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_arrive_whatever_the_orders() {
        let orders = [[0, 1, 2], [2, 1, 0], [1, 0, 2], [0, 2, 1], [2, 0, 1], [1, 2, 0]];
        for size in [[5, 1, 1], [1, 1, 7], [17, 3, 33], [16, 20, 1], [2, 19, 4]] {
            let n: usize = size.iter().product();
            for axes in orders {
                for mirror in [[false; 3], [true, false, true]] {
                    let [_, b, c] = axes.map(|a| size[a]);
                    let strided = Strides::new(&axes, &[2 * b * c, 2 * c, 2], size, mirror);
                    let plain = Strides::of_volume(size, 1);
                    let source: Vec<f32> = (0..n).map(|i| i as f32).collect();
                    let mut there = vec![-1f32; 2 * n];
                    copy(size, &plain, &strided, |a| source[a], |b, v| there[b] = v);
                    let mut back = vec![-1f32; n];
                    copy(size, &strided, &plain, |a| there[a], |b, v| back[b] = v);
                    assert_eq!(back, source, "{size:?} {axes:?} {mirror:?}");
                    let mut seen = vec![-1f32; n];
                    strided.each(size, |at, i| seen[i] = there[at]);
                    assert_eq!(seen, source);
                    let step = |p: [usize; 3]| {
                        let q = [0, 1, 2].map(|i| if mirror[i] { size[i] - 1 - p[i] } else { p[i] });
                        let [a, b, c] = axes.map(|a| q[a]);
                        2 * (c + size[axes[2]] * (b + size[axes[1]] * a))
                    };
                    let last = size.map(|s| s - 1);
                    assert_eq!(there[step(last)], (n - 1) as f32);
                }
            }
        }
    }
}
