//! The shape of channels-last data.

/// Sizes and strides of channels-last data `[n, d, h, w, c]`, in elements. Channels are
/// contiguous; pixels may be further apart than `c`, which is how a slice of a wider buffer
/// (a concatenation without a copy) looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grid {
    /// Batch, depth, height, width, channels.
    pub dims: [usize; 5],
    /// Distance between neighbours along batch, depth, height, width.
    pub strides: [usize; 4],
}

impl Grid {
    /// A dense grid.
    pub fn dense(dims: [usize; 5]) -> Self {
        Self::pitched(dims, dims[4])
    }

    /// A grid whose pixels lie `pixel` elements apart and are otherwise dense.
    pub fn pitched(dims: [usize; 5], pixel: usize) -> Self {
        let [_, d, h, w, _] = dims;
        Grid { dims, strides: [d * h * w * pixel, h * w * pixel, w * pixel, pixel] }
    }

    /// Number of pixels, batch included.
    pub fn pixels(&self) -> usize {
        self.dims[..4].iter().product()
    }

    /// Number of pixels of one batch entry.
    pub fn volume(&self) -> usize {
        self.dims[1..4].iter().product()
    }

    /// Channels.
    pub fn channels(&self) -> usize {
        self.dims[4]
    }

    /// Distance between neighbouring pixels.
    pub fn pixel(&self) -> usize {
        self.strides[3]
    }

    /// Whether pixels follow each other at one constant distance through all axes.
    pub fn uniform(&self) -> bool {
        *self == Self::pitched(self.dims, self.strides[3])
    }

    /// Elements from the first to one past the last.
    pub fn extent(&self) -> usize {
        if self.dims.contains(&0) {
            return 0;
        }
        (0..4).map(|i| (self.dims[i] - 1) * self.strides[i]).sum::<usize>() + self.dims[4]
    }
}
