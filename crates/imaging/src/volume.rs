//! A three-dimensional array.

/// A volume of `dims = [nx, ny, nz]` voxels; element `x + nx·(y + ny·z)`, x fastest.
#[derive(Clone, Debug, PartialEq)]
pub struct Volume<T> {
    /// Sizes along x, y, z.
    pub dims: [usize; 3],
    /// Voxels.
    pub data: Vec<T>,
}

impl<T: Copy> Volume<T> {
    /// A volume of `value`.
    pub fn filled(dims: [usize; 3], value: T) -> Self {
        Volume { dims, data: vec![value; dims.iter().product()] }
    }

    /// Wraps `data`; panics when its length is not the product of `dims` (a programming error).
    pub fn new(dims: [usize; 3], data: Vec<T>) -> Self {
        assert_eq!(dims.iter().product::<usize>(), data.len(), "volume {dims:?}");
        Volume { dims, data }
    }

    /// Linear index of a voxel.
    pub fn index(&self, x: usize, y: usize, z: usize) -> usize {
        x + self.dims[0] * (y + self.dims[1] * z)
    }

    /// The voxel at a position.
    pub fn at(&self, x: usize, y: usize, z: usize) -> T {
        self.data[self.index(x, y, z)]
    }

    /// Distance between neighbours along each axis, in elements.
    pub fn strides(&self) -> [usize; 3] {
        [1, self.dims[0], self.dims[0] * self.dims[1]]
    }

    /// The same positions with other values.
    pub fn map<U>(&self, f: impl Fn(T) -> U) -> Volume<U> {
        Volume { dims: self.dims, data: self.data.iter().map(|&v| f(v)).collect() }
    }

    /// The box from `start` to one before `end`.
    pub fn crop(&self, start: [usize; 3], end: [usize; 3]) -> Self {
        let dims = [0, 1, 2].map(|i| end[i] - start[i]);
        let mut data = Vec::with_capacity(dims.iter().product());
        for z in start[2]..end[2] {
            for y in start[1]..end[1] {
                let at = self.index(start[0], y, z);
                data.extend_from_slice(&self.data[at..at + dims[0]]);
            }
        }
        Volume { dims, data }
    }

    /// Writes `part` at `start`.
    pub fn paste(&mut self, part: &Volume<T>, start: [usize; 3]) {
        for z in 0..part.dims[2] {
            for y in 0..part.dims[1] {
                let (to, from) = (self.index(start[0], start[1] + y, start[2] + z), part.index(0, y, z));
                self.data[to..to + part.dims[0]].copy_from_slice(&part.data[from..from + part.dims[0]]);
            }
        }
    }

    /// The volume grown at the upper ends to `dims`, new voxels `value`.
    pub fn padded(&self, dims: [usize; 3], value: T) -> Self {
        let mut out = Volume::filled(dims, value);
        out.paste(self, [0; 3]);
        out
    }

    /// The same voxels with other axes: axis `i` of the result is axis `order[i]` of this volume.
    /// `order` must hold 0, 1 and 2.
    pub fn permuted(&self, order: [usize; 3]) -> Self {
        let strides = self.strides();
        let (dims, step) = (order.map(|i| self.dims[i]), order.map(|i| strides[i]));
        let mut data = Vec::with_capacity(self.data.len());
        for z in 0..dims[2] {
            for y in 0..dims[1] {
                let row = y * step[1] + z * step[2];
                data.extend((0..dims[0]).map(|x| self.data[row + x * step[0]]));
            }
        }
        Volume { dims, data }
    }

    /// Reversed along the axes named.
    pub fn flipped(&self, axes: [bool; 3]) -> Self {
        let [nx, ny, nz] = self.dims;
        let mut data = Vec::with_capacity(self.data.len());
        for z in 0..nz {
            for y in 0..ny {
                let (sy, sz) = (if axes[1] { ny - 1 - y } else { y }, if axes[2] { nz - 1 - z } else { z });
                let row = &self.data[self.index(0, sy, sz)..][..nx];
                if axes[0] { data.extend(row.iter().rev()) } else { data.extend(row) }
            }
        }
        Volume { dims: self.dims, data }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crop_paste_pad_and_flip() {
        let v = Volume::new([3, 4, 5], (0..60).collect());
        let c = v.crop([1, 1, 2], [3, 3, 5]);
        assert_eq!((c.dims, c.at(0, 0, 0)), ([2, 2, 3], v.at(1, 1, 2)));
        let mut w = Volume::filled([3, 4, 5], -1);
        w.paste(&c, [1, 1, 2]);
        assert_eq!(w.at(2, 2, 4), v.at(2, 2, 4));
        assert_eq!(w.at(0, 0, 0), -1);
        assert_eq!(v.padded([4, 4, 6], 9).at(2, 3, 4), v.at(2, 3, 4));
        let f = v.flipped([true, false, true]);
        assert_eq!(f.at(0, 1, 0), v.at(2, 1, 4));
        assert_eq!(f.flipped([true, false, true]), v);
        let p = v.permuted([2, 0, 1]);
        assert_eq!((p.dims, p.at(4, 1, 2)), ([5, 3, 4], v.at(1, 2, 4)));
    }
}
