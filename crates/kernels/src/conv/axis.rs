//! Axes of convolutions, and the output positions along them that see the same taps.

/// One axis of a convolution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Axis {
    /// Kernel size.
    pub kernel: usize,
    /// Stride in input positions.
    pub stride: usize,
    /// Distance between taps in input positions.
    pub dilation: usize,
    /// Input position of tap 0 at output 0, negated: the pad before. May be negative.
    pub pad: i64,
}

/// A run of output positions that see the same taps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Segment {
    pub start: usize,
    pub end: usize,
    /// First and one past last valid tap.
    pub first: usize,
    pub last: usize,
}

impl Axis {
    /// Input positions inside `0..size` that outputs `o` read.
    pub fn receptive_field(&self, o: std::ops::Range<usize>, size: usize) -> std::ops::Range<usize> {
        if o.is_empty() {
            return 0..0;
        }
        let at = |o: usize, k: usize| (o * self.stride + k * self.dilation) as i64 - self.pad;
        let clip = |x: i64| x.clamp(0, size as i64) as usize;
        let start = clip(at(o.start, 0));
        start..clip(at(o.end - 1, self.kernel.saturating_sub(1)) + 1).max(start)
    }

    /// One segment of `out` positions, where the input has its pads.
    pub(super) fn whole(&self, out: usize) -> Vec<Segment> {
        vec![Segment { start: 0, end: out, first: 0, last: self.kernel }]
    }

    /// Cuts `out` positions over an input of `size` into segments; taps outside are invalid.
    pub(super) fn segments(&self, size: usize, out: usize) -> Vec<Segment> {
        let mut list: Vec<Segment> = Vec::new();
        let mut o = 0;
        while o < out {
            let at = |k: usize| (o * self.stride + k * self.dilation) as i64 - self.pad;
            let inside = |k: usize| (0..size as i64).contains(&at(k));
            let first = (0..self.kernel).find(|&k| inside(k)).unwrap_or(0);
            let last = (0..self.kernel).rev().find(|&k| inside(k)).map_or(first, |k| k + 1);
            match list.last_mut() {
                Some(s) if (s.first, s.last) == (first, last) => s.end = o + 1,
                _ => list.push(Segment { start: o, end: o + 1, first, last }),
            }
            o += 1;
            // All positions up to the far border see all taps, like this one.
            if (first, last) == (0, self.kernel) && self.kernel > 0 {
                let last = ((self.kernel - 1) * self.dilation) as i64 - self.pad;
                let end = ((size as i64 - 1 - last) / self.stride as i64 + 1).clamp(0, out as i64);
                if let Some(s) = list.last_mut().filter(|s| s.end < end as usize) {
                    s.end = end as usize;
                    o = s.end;
                }
            }
        }
        list
    }
}

/// The parts of `segments` inside `range`.
pub(super) fn clipped(segments: &[Segment], range: (usize, usize)) -> impl Iterator<Item = Segment> + '_ {
    segments.iter().filter_map(move |s| {
        let (start, end) = (s.start.max(range.0), s.end.min(range.1));
        (start < end).then_some(Segment { start, end, ..*s })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_cover_all_outputs_once() {
        for (kernel, stride, dilation, pad, size) in [
            (3, 1, 1, 1, 7),
            (3, 2, 1, 1, 8),
            (3, 1, 4, 4, 5),
            (7, 2, 1, 3, 4),
            (2, 1, 1, 0, 2),
            (3, 1, 1, -1, 9),
        ] {
            let axis = Axis { kernel, stride, dilation, pad };
            let span = (kernel - 1) * dilation + 1;
            let out = ((size as i64 + 2 * pad - span as i64).max(0) as usize) / stride + 1;
            let list = axis.segments(size, out);
            assert_eq!(list.iter().map(|s| s.end - s.start).sum::<usize>(), out);
            for s in &list {
                for o in s.start..s.end {
                    for k in 0..kernel {
                        let at = (o * stride + k * dilation) as i64 - pad;
                        let valid = (0..size as i64).contains(&at);
                        assert_eq!(valid, (s.first..s.last).contains(&k), "{axis:?} {o} {k}");
                    }
                }
            }
        }
    }
}
