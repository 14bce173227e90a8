//! Standardisation to mean 0 and deviation 1 (z-score), and the statistics it rests on.

use rayon::prelude::*;

/// The voxels that statistics are taken from.
#[derive(Clone, Copy, Debug)]
pub enum Over<'a> {
    /// All.
    All,
    /// Those that are not 0: MONAI's `nonzero`, GaNDLF's `normalize_nonZero`.
    NonZero,
    /// Those above 0: GaNDLF's `normalize_positive`.
    Positive,
    /// Those above the mean of all: torchio's `ZNormalization.mean`.
    AboveMean,
    /// Those whose mask is not 0: nnU-Net's `use_mask_for_norm`, torchio's label map. As long as
    /// the voxels, and the same for every channel.
    Mask(&'a [u8]),
}

/// Why voxels could not be normalised; they are then left as they were.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Degenerate {
    /// No voxel was selected.
    #[error("no voxel to take statistics from")]
    Empty,
    /// All selected voxels are equal, or the range is empty or not finite.
    #[error("all voxels to take statistics from are equal")]
    Constant,
    /// The mask is not as long as the voxels.
    #[error("the mask has another size than the image")]
    MaskSize,
}

/// What [`statistics`] found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Statistics {
    /// Selected voxels.
    pub count: u64,
    /// Their mean.
    pub mean: f64,
    /// Their standard deviation; 0 when they are equal or too few.
    pub deviation: f64,
    /// The least.
    pub min: f32,
    /// The largest.
    pub max: f32,
}

/// What takes the place of a deviation that is 0 or small.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Flat {
    /// `max(deviation, x)`: nnU-Net with 1e-8.
    AtLeast(f64),
    /// `deviation + x`.
    Plus(f64),
    /// 1 in place of 0: MONAI.
    One,
    /// [`Degenerate::Constant`]: torchio and GaNDLF, which raise.
    Refuse,
}

/// What becomes of the voxels that statistics were not taken from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outside {
    /// Standardised with the same mean and deviation: torchio.
    Same,
    /// Left as they are: nnU-Net with a mask, MONAI with `nonzero`.
    Kept,
    /// Set to 0.
    Zero,
}

/// A rule of standardisation: `(x - mean) / deviation`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ZScore {
    /// 0 divides the squares by n (numpy), 1 by n - 1 (PyTorch).
    pub ddof: usize,
    /// What is done about constant voxels.
    pub flat: Flat,
    /// What becomes of the voxels that were not selected.
    pub outside: Outside,
}

impl ZScore {
    /// nnU-Net's `ZScoreNormalization`: over [`Over::All`], or over a mask (`use_mask_for_norm`,
    /// `seg >= 0`) outside of which voxels keep their value.
    pub const NNUNET: ZScore = ZScore { ddof: 0, flat: Flat::AtLeast(1e-8), outside: Outside::Kept };
    /// MONAI's `NormalizeIntensity`; `nonzero` is [`Over::NonZero`]. MONAI leaves an image
    /// without such voxels as it is, which here is [`Degenerate::Empty`].
    pub const MONAI: ZScore = ZScore { ddof: 0, flat: Flat::One, outside: Outside::Kept };
    /// torchio's `ZNormalization` and so GaNDLF's `normalize`, `normalize_positive` and
    /// `normalize_nonZero`: statistics of the selected voxels, applied to all.
    pub const TORCHIO: ZScore = ZScore { ddof: 1, flat: Flat::Refuse, outside: Outside::Same };
    /// GaNDLF's `normalize_nonZero_masked`, over [`Over::NonZero`].
    pub const GANDLF_MASKED: ZScore = ZScore { ddof: 1, flat: Flat::Refuse, outside: Outside::Kept };

    /// Standardises one channel in place.
    pub fn apply(&self, values: &mut [f32], over: Over) -> Result<Statistics, Degenerate> {
        self.apply_together(&mut [values], over)
    }

    /// Standardises channels with the statistics of all of them together, as MONAI does without
    /// `channel_wise`.
    pub fn apply_together(&self, channels: &mut [&mut [f32]], over: Over) -> Result<Statistics, Degenerate> {
        let views: Vec<&[f32]> = channels.iter().map(|c| &**c).collect();
        let selection = Selection::new(&views, over)?;
        let s = selection.statistics(&views, self.ddof)?;
        let divisor = match self.flat {
            Flat::AtLeast(x) => s.deviation.max(x),
            Flat::Plus(x) => s.deviation + x,
            Flat::One if s.deviation == 0.0 => 1.0,
            Flat::One => s.deviation,
            Flat::Refuse => s.deviation,
        };
        if divisor == 0.0 || !divisor.is_finite() {
            return Err(Degenerate::Constant);
        }
        for channel in channels {
            channel.par_iter_mut().enumerate().for_each(|(i, v)| {
                if self.outside == Outside::Same || selection.holds(i, *v) {
                    *v = ((*v as f64 - s.mean) / divisor) as f32;
                } else if self.outside == Outside::Zero {
                    *v = 0.0;
                }
            });
        }
        Ok(s)
    }
}

/// Count, mean, deviation and range of the selected voxels of one channel, in float64.
pub fn statistics(values: &[f32], over: Over, ddof: usize) -> Result<Statistics, Degenerate> {
    Selection::new(&[values], over)?.statistics(&[values], ddof)
}

/// The selected voxels, in order.
pub(crate) fn selected(values: &[f32], over: Over) -> Result<Vec<f32>, Degenerate> {
    let selection = Selection::new(&[values], over)?;
    let list: Vec<f32> =
        values.iter().enumerate().filter(|&(i, &v)| selection.holds(i, v)).map(|(_, &v)| v).collect();
    if list.is_empty() { Err(Degenerate::Empty) } else { Ok(list) }
}

/// Voxels a partial sum is taken over: fixed, so that sums do not depend on the threads.
const CHUNK: usize = 1 << 16;

struct Selection<'a> {
    over: Over<'a>,
    /// Mean of all voxels, where the rule asks for it.
    mean: f64,
}

impl<'a> Selection<'a> {
    fn new(channels: &[&[f32]], over: Over<'a>) -> Result<Self, Degenerate> {
        let mut selection = Selection { over, mean: 0.0 };
        match over {
            Over::Mask(mask) if channels.iter().any(|c| c.len() != mask.len()) => {
                return Err(Degenerate::MaskSize);
            }
            Over::AboveMean => {
                let all = Selection { over: Over::All, mean: 0.0 };
                selection.mean = all.statistics(channels, 0)?.mean;
            }
            Over::All | Over::NonZero | Over::Positive | Over::Mask(_) => {}
        }
        Ok(selection)
    }

    fn holds(&self, i: usize, v: f32) -> bool {
        match self.over {
            Over::All => true,
            Over::NonZero => v != 0.0,
            Over::Positive => v > 0.0,
            Over::AboveMean => v as f64 > self.mean,
            Over::Mask(mask) => mask[i] != 0,
        }
    }

    /// `f` folded over the selected voxels of each chunk, the results in order.
    fn fold<A: Send>(
        &self,
        channels: &[&[f32]],
        start: impl Fn() -> A + Sync,
        f: impl Fn(&mut A, f32) + Sync,
    ) -> Vec<A> {
        let mut parts = Vec::new();
        for channel in channels {
            parts.par_extend(channel.par_chunks(CHUNK).enumerate().map(|(k, chunk)| {
                let mut sum = start();
                for (i, &v) in chunk.iter().enumerate() {
                    if self.holds(k * CHUNK + i, v) {
                        f(&mut sum, v);
                    }
                }
                sum
            }));
        }
        parts
    }

    fn statistics(&self, channels: &[&[f32]], ddof: usize) -> Result<Statistics, Degenerate> {
        let first = self.fold(
            channels,
            || (0u64, 0f64, f32::INFINITY, f32::NEG_INFINITY),
            |a, v| *a = (a.0 + 1, a.1 + v as f64, a.2.min(v), a.3.max(v)),
        );
        let count: u64 = first.iter().map(|p| p.0).sum();
        if count == 0 {
            return Err(Degenerate::Empty);
        }
        let min = first.iter().map(|p| p.2).fold(f32::INFINITY, f32::min);
        let max = first.iter().map(|p| p.3).fold(f32::NEG_INFINITY, f32::max);
        if min == max {
            // Rounded sums of equal values would leave a deviation just above 0.
            return Ok(Statistics { count, mean: min as f64, deviation: 0.0, min, max });
        }
        let mean = first.iter().map(|p| p.1).sum::<f64>() / count as f64;
        let squares = self.fold(channels, || 0f64, |a, v| *a += (v as f64 - mean).powi(2));
        let degrees = count.saturating_sub(ddof as u64);
        let deviation =
            if degrees == 0 { 0.0 } else { (squares.iter().sum::<f64>() / degrees as f64).sqrt() };
        Ok(Statistics { count, mean, deviation, min, max })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn constant_and_empty_voxels() {
        let mut v = [0.1f32; 1000];
        assert_eq!(ZScore::TORCHIO.apply(&mut v, Over::All), Err(Degenerate::Constant));
        assert_eq!(v, [0.1; 1000]);
        ZScore::NNUNET.apply(&mut v, Over::All).unwrap();
        assert_eq!(v, [0.0; 1000]);
        assert_eq!(ZScore::MONAI.apply(&mut v, Over::NonZero), Err(Degenerate::Empty));
        assert_eq!(ZScore::MONAI.apply(&mut [], Over::All), Err(Degenerate::Empty));
        assert_eq!(ZScore::MONAI.apply(&mut v, Over::Mask(&[1])), Err(Degenerate::MaskSize));
        let mut v = [f32::NAN, 1.0, 2.0];
        let _ = ZScore::MONAI.apply(&mut v, Over::All);
        let mut v = [f32::INFINITY, 1.0, 2.0];
        assert_eq!(ZScore::MONAI.apply(&mut v, Over::All), Err(Degenerate::Constant));
    }

    #[test]
    fn outside_is_set_to_zero() {
        let mut v = [5.0, 1.0, 3.0];
        let rule = ZScore { ddof: 0, flat: Flat::Plus(0.0), outside: Outside::Zero };
        rule.apply(&mut v, Over::Mask(&[0, 1, 1])).unwrap();
        assert_eq!(v, [0.0, -1.0, 1.0]);
    }
}
