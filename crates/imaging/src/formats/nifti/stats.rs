//! Counts over the voxels, without a copy of them.

use super::{DataType, Nifti};

/// Voxels that are decoded at once.
const PIECE: usize = 1 << 16;

/// What the voxels of an image are like.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Stats {
    /// Voxels.
    pub voxels: usize,
    /// Smallest finite value, slope and intercept applied; 0 where there is none.
    pub lowest: f32,
    /// Largest finite value.
    pub highest: f32,
    /// Voxels that are NaN or infinite, which count as 0.
    pub not_finite: usize,
    /// Voxels stored as the lowest number of a signed integer type, which scanners pad with; 0 for other
    /// types.
    pub at_type_lowest: usize,
    /// Voxels stored as the highest number of an integer type (saturated); 0 for other types.
    pub at_type_highest: usize,
}

impl Nifti {
    /// Counts and range of the voxels.
    pub fn stats(&self) -> Stats {
        let t = self.header.datatype();
        let [lowest, highest] = extremes(t);
        let mut s = Stats {
            voxels: self.raw.len() / t.bytes(),
            lowest: f32::MAX,
            highest: f32::MIN,
            not_finite: 0,
            at_type_lowest: 0,
            at_type_highest: 0,
        };
        for raw in self.raw.chunks_exact(t.bytes()) {
            s.at_type_lowest += lowest.as_ref().is_some_and(|l| l == raw) as usize;
            s.at_type_highest += highest.as_ref().is_some_and(|h| h == raw) as usize;
        }
        self.for_each(|v| match v.is_finite() {
            true => (s.lowest, s.highest) = (s.lowest.min(v), s.highest.max(v)),
            false => s.not_finite += 1,
        });
        if s.lowest > s.highest {
            (s.lowest, s.highest) = (0.0, 0.0);
        }
        s
    }

    /// Voxels whose value is not finite as float32.
    pub(super) fn not_finite(&self) -> usize {
        let (slope, inter) = self.header.scaling();
        let float = matches!(self.header.datatype(), DataType::F32 | DataType::F64);
        if !float && slope.abs() < 1e18 && inter.abs() < 1e38 {
            return 0;
        }
        let mut n = 0;
        self.for_each(|v| n += !v.is_finite() as usize);
        n
    }

    /// Calls `f` with every value.
    fn for_each(&self, mut f: impl FnMut(f32)) {
        let t = self.header.datatype();
        let scaling = self.header.scaling();
        for piece in self.raw.chunks(PIECE * t.bytes()) {
            for v in t.decode(piece) {
                f(if scaling == (1.0, 0.0) { v } else { (v as f64 * scaling.0 + scaling.1) as f32 });
            }
        }
    }
}

/// The lowest and highest stored bytes of an integer type.
fn extremes(t: DataType) -> [Option<Vec<u8>>; 2] {
    if matches!(t, DataType::F32 | DataType::F64) {
        return [None, None];
    }
    let unsigned = matches!(t, DataType::U8 | DataType::U16 | DataType::U32 | DataType::U64);
    [(!unsigned).then(|| t.encode(f64::NEG_INFINITY)), Some(t.encode(f64::INFINITY))]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Volume;
    use crate::geometry::Affine;

    #[test]
    fn padding_and_what_is_not_finite_are_counted() {
        let a = Affine([[1.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0]]);
        let mut v = Volume::filled([4, 4, 4], 2.0f32);
        (v.data[0], v.data[1], v.data[2]) = (f32::NAN, f32::INFINITY, -3.0);
        let mut n = Nifti::from_f32(&v, a);
        let s = n.stats();
        assert_eq!((s.voxels, s.lowest, s.highest, s.not_finite, s.at_type_highest), (64, -3.0, 2.0, 2, 0));
        assert_eq!(n.not_finite(), 2);
        n.header.set_datatype(DataType::I16);
        n.raw = [i16::MIN, i16::MIN, 7, i16::MAX].repeat(16).iter().flat_map(|v| v.to_le_bytes()).collect();
        let s = n.stats();
        assert_eq!((s.at_type_lowest, s.at_type_highest, s.lowest, s.highest), (32, 16, -32768.0, 32767.0));
    }
}
