//! Windows of the graph as axes of the kernels.

use ampoule_graph::op::Resolved;
use ampoule_kernels::conv::Axis;

/// Places per-axis values of a 1D to 3D window at the end of three axes.
fn three<T: Copy>(v: &[T], fill: T) -> [T; 3] {
    let mut out = [fill; 3];
    out[3 - v.len()..].copy_from_slice(v);
    out
}

/// The axes of a window over depth, height and width; those that it lacks have one tap.
pub fn axes(r: &Resolved) -> [Axis; 3] {
    let (k, s, d) = (three(&r.kernel, 1), three(&r.strides, 1), three(&r.dilations, 1));
    let p = three(&r.begin, 0);
    [0, 1, 2].map(|i| Axis { kernel: k[i], stride: s[i], dilation: d[i], pad: p[i] })
}
