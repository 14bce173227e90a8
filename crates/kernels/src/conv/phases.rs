//! Transposed convolutions as ordinary ones, one for each output phase.

use super::Axis;

/// One output phase of a transposed convolution along one axis.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Phase {
    /// First output position.
    pub offset: usize,
    /// Number of output positions, `stride` apart.
    pub count: usize,
    /// Kernel taps of this phase, in the order of ascending input position.
    pub taps: Vec<usize>,
    /// The ordinary convolution axis that computes them.
    pub axis: Axis,
}

/// The phases of a transposed convolution axis with `out` output positions: output
/// `o = i·stride + k·dilation - pad` receives input `i` through tap `k`.
pub fn phases(kernel: usize, stride: usize, dilation: usize, pad: i64, out: usize) -> Vec<Phase> {
    (0..stride.min(out))
        .map(|offset| {
            // Taps with (offset + pad - k·dilation) divisible by the stride; that quotient is the
            // input position of output `offset`.
            let position = |k: usize| {
                let p = offset as i64 + pad - (k * dilation) as i64;
                (p.rem_euclid(stride as i64) == 0).then(|| p.div_euclid(stride as i64))
            };
            let mut taps: Vec<(i64, usize)> =
                (0..kernel).filter_map(|k| position(k).map(|p| (p, k))).collect();
            taps.sort_unstable();
            let first = taps.first().map_or(0, |t| t.0);
            let step = taps.get(1).map_or(1, |t| (t.0 - first) as usize);
            Phase {
                offset,
                count: (out - offset).div_ceil(stride),
                axis: Axis { kernel: taps.len(), stride: 1, dilation: step, pad: -first },
                taps: taps.into_iter().map(|t| t.1).collect(),
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phases_partition_the_taps() {
        for (kernel, stride, dilation, pad) in
            [(3, 2, 1, 1), (2, 2, 1, 0), (4, 2, 1, 1), (3, 3, 2, 0), (5, 2, 1, 2), (1, 2, 1, 0)]
        {
            let list = phases(kernel, stride, dilation, pad, 12);
            let mut all: Vec<usize> = list.iter().flat_map(|p| p.taps.clone()).collect();
            all.sort_unstable();
            assert_eq!(all, (0..kernel).collect::<Vec<_>>());
            for p in list {
                for (t, &k) in p.taps.iter().enumerate() {
                    let input = (t * p.axis.dilation) as i64 - p.axis.pad;
                    assert_eq!(input * stride as i64 + (k * dilation) as i64 - pad, p.offset as i64);
                }
            }
        }
    }
}
