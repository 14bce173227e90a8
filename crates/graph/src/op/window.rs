//! Sliding windows: sizes, strides, dilations, pads.

use crate::op_error::{OpError, OpResult};

/// How spatial pads are decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Padding {
    /// `[begin per axis…, end per axis…]`, in elements; may be negative.
    Explicit(Vec<i64>),
    /// Output size = ceil(input / stride), the odd element at the end.
    SameUpper,
    /// Output size = ceil(input / stride), the odd element at the beginning.
    SameLower,
}

/// Sliding-window attributes shared by convolutions and pooling. Empty vectors mean the default
/// (ones, or the weight's own size for the kernel).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Window {
    /// Kernel size per spatial axis.
    pub kernel: Vec<usize>,
    /// Stride per spatial axis.
    pub strides: Vec<usize>,
    /// Dilation per spatial axis.
    pub dilations: Vec<usize>,
    /// Pads.
    pub padding: Padding,
}

/// A [`Window`] with all sizes filled in for one input shape.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolved {
    /// Kernel size per axis.
    pub kernel: Vec<usize>,
    /// Stride per axis.
    pub strides: Vec<usize>,
    /// Dilation per axis.
    pub dilations: Vec<usize>,
    /// Pad before each axis.
    pub begin: Vec<i64>,
    /// Pad after each axis.
    pub end: Vec<i64>,
    /// Output size per axis.
    pub out: Vec<usize>,
}

impl Window {
    /// A window with default strides, dilations and pads.
    pub fn of(kernel: &[usize]) -> Self {
        Window {
            kernel: kernel.to_vec(),
            strides: Vec::new(),
            dilations: Vec::new(),
            padding: Padding::Explicit(Vec::new()),
        }
    }

    /// Sets one stride for all axes.
    pub fn stride(mut self, s: usize) -> Self {
        self.strides = vec![s; self.kernel.len()];
        self
    }

    /// Sets one pad for both ends of all axes.
    pub fn pad(mut self, p: i64) -> Self {
        self.padding = Padding::Explicit(vec![p; 2 * self.kernel.len()]);
        self
    }

    /// Explicit pads when `padding` holds some for `n` axes, zeros where it is empty.
    pub fn explicit_pads(&self, n: usize) -> Option<(Vec<i64>, Vec<i64>)> {
        match &self.padding {
            Padding::Explicit(p) if p.is_empty() => Some((vec![0; n], vec![0; n])),
            Padding::Explicit(p) if p.len() == 2 * n => Some((p[..n].to_vec(), p[n..].to_vec())),
            Padding::Explicit(_) | Padding::SameUpper | Padding::SameLower => None,
        }
    }

    fn parts(&self, spatial: &[usize], weight: &[usize]) -> OpResult<[Vec<usize>; 3]> {
        let n = spatial.len();
        let kernel = if self.kernel.is_empty() { weight.to_vec() } else { self.kernel.clone() };
        let or_ones = |v: &Vec<usize>| if v.is_empty() { vec![1; n] } else { v.clone() };
        let (strides, dilations) = (or_ones(&self.strides), or_ones(&self.dilations));
        if !weight.is_empty() && kernel != weight {
            return Err(OpError::KernelShape { declared: kernel, weights: weight.to_vec() });
        }
        if kernel.iter().try_fold(1usize, |n, &k| n.checked_mul(k)).is_none_or(|n| n > 1 << 24) {
            return Err(OpError::TooLarge { what: "the kernel" });
        }
        let pads = match &self.padding {
            Padding::Explicit(p) => p.as_slice(),
            Padding::SameUpper | Padding::SameLower => &[],
        };
        if strides.iter().chain(&dilations).any(|&s| s > 1 << 30)
            || pads.iter().any(|p| p.unsigned_abs() > 1 << 20)
        {
            return Err(OpError::OutOfRange { what: "strides, dilations or pads are" });
        }
        for (what, v) in [("kernel", &kernel), ("strides", &strides), ("dilations", &dilations)] {
            if v.len() != n || v.contains(&0) {
                return Err(OpError::WindowAttribute { what, values: v.clone(), axes: n });
            }
        }
        Ok([kernel, strides, dilations])
    }

    /// Sizes of a convolution or pooling over `spatial`; `weight` is the kernel size of the weights
    /// (empty for pooling), `ceil` rounds output sizes up as pooling's `ceil_mode` does.
    pub fn resolve(&self, spatial: &[usize], weight: &[usize], ceil: bool) -> OpResult<Resolved> {
        let n = spatial.len();
        let [kernel, strides, dilations] = self.parts(spatial, weight)?;
        let (mut begin, mut end) = match self.explicit_pads(n) {
            Some(p) => p,
            None if matches!(self.padding, Padding::Explicit(_)) => {
                return Err(OpError::SpatialAxes { what: "pads", axes: n });
            }
            None => (vec![0; n], vec![0; n]),
        };
        let mut out = vec![0; n];
        for i in 0..n {
            let extent = extent_of(kernel[i], dilations[i])?;
            let (size, stride) = (spatial[i] as i64, strides[i] as i64);
            if !matches!(self.padding, Padding::Explicit(_)) {
                let want = spatial[i].div_ceil(strides[i]) as i64;
                let total = ((want - 1) * stride + extent - size).max(0);
                let small = total / 2;
                let upper = self.padding == Padding::SameUpper;
                (begin[i], end[i]) = if upper { (small, total - small) } else { (total - small, small) };
            }
            let span = size.checked_add(begin[i]).and_then(|s| s.checked_add(end[i]));
            let room = span.ok_or(OpError::OutOfRange { what: "pads are" })? - extent;
            if room < 0 {
                return Err(OpError::KernelExtent { extent, size: room + extent });
            }
            let mut o = if ceil { (room + stride - 1) / stride + 1 } else { room / stride + 1 };
            // A window that would start in the end padding is dropped (ONNX pooling rule).
            if ceil && (o - 1) * stride >= size + begin[i] {
                o -= 1;
            }
            out[i] = o as usize;
        }
        Ok(Resolved { kernel, strides, dilations, begin, end, out })
    }

    /// Sizes of a transposed convolution over `spatial`. `output_shape` (empty when not given)
    /// overrides the pads as ONNX says.
    pub fn resolve_transposed(
        &self,
        spatial: &[usize],
        weight: &[usize],
        output_padding: &[usize],
        output_shape: &[usize],
    ) -> OpResult<Resolved> {
        let n = spatial.len();
        let [kernel, strides, dilations] = self.parts(spatial, weight)?;
        // Every output phase is a convolution of its own.
        if strides.iter().try_fold(1usize, |n, &s| n.checked_mul(s)).is_none_or(|n| n > 1 << 16) {
            return Err(OpError::TooLarge { what: "the product of the strides" });
        }
        let opad = if output_padding.is_empty() { vec![0; n] } else { output_padding.to_vec() };
        if opad.len() != n || (!output_shape.is_empty() && output_shape.len() != n) {
            return Err(OpError::SpatialAxes { what: "output_padding or output_shape", axes: n });
        }
        let explicit = self.explicit_pads(n);
        if explicit.is_none() && matches!(self.padding, Padding::Explicit(_)) {
            return Err(OpError::SpatialAxes { what: "pads", axes: n });
        }
        let (mut begin, mut end) = explicit.unwrap_or((vec![0; n], vec![0; n]));
        let mut out = vec![0; n];
        for i in 0..n {
            let extent = extent_of(kernel[i], dilations[i])?;
            if spatial[i] == 0 || spatial[i] > (1 << 31) || strides[i] > (1 << 31) || opad[i] > (1 << 31) {
                return Err(OpError::OutOfRange { what: "sizes are" });
            }
            let full = strides[i] as i64 * (spatial[i] as i64 - 1) + opad[i] as i64 + extent;
            let wanted = match (output_shape.get(i), &self.padding) {
                (Some(&o), _) => Some(o as i64),
                (None, Padding::Explicit(_)) => None,
                (None, Padding::SameUpper | Padding::SameLower) => Some((spatial[i] * strides[i]) as i64),
            };
            let size = match wanted {
                Some(o) => {
                    let total = (full - o).max(0);
                    let small = total / 2;
                    let upper = self.padding == Padding::SameUpper;
                    (begin[i], end[i]) = if upper { (small, total - small) } else { (total - small, small) };
                    o
                }
                None => full - begin[i] - end[i],
            };
            if size < 1 {
                return Err(OpError::OutputSize { axis: i, size });
            }
            out[i] = size as usize;
        }
        Ok(Resolved { kernel, strides, dilations, begin, end, out })
    }
}

fn extent_of(kernel: usize, dilation: usize) -> OpResult<i64> {
    let span = (kernel - 1).checked_mul(dilation).filter(|&s| (s as u64) < 1 << 40);
    span.map(|s| s as i64 + 1).ok_or(OpError::TooLarge { what: "a dilation" })
}
