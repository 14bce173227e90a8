//! Constant weights.

use super::{Lower, R};
use crate::error::LowerError;
use ampoule_graph::{DType, Node, Tensor};
use bytes::Bytes;

/// Constant weights as float32 or as integers less their zero point, read in place: a copy of them all
/// would double the peak.
pub(super) struct ConstantWeights {
    bytes: Bytes,
    int8: Option<(DType, i32)>,
}

impl ConstantWeights {
    pub fn of(t: &Tensor) -> Option<Self> {
        match t.dtype() {
            DType::F32 => Some(ConstantWeights { bytes: t.bytes().clone(), int8: None }),
            d if d.is_float() => {
                let bytes: Vec<u8> = t.to_f32()?.iter().flat_map(|v| v.to_le_bytes()).collect();
                Some(ConstantWeights { bytes: bytes.into(), int8: None })
            }
            _ => None,
        }
    }

    /// Integers of eight bits.
    pub fn quantized(t: &Tensor, zero: i32) -> Option<Self> {
        let int8 = matches!(t.dtype(), DType::I8 | DType::U8).then_some((t.dtype(), zero));
        int8.map(|_| ConstantWeights { bytes: t.bytes().clone(), int8 })
    }

    // Called for every weight while a network loads.
    #[inline]
    pub fn get(&self, i: usize) -> f32 {
        match self.int8 {
            Some((DType::I8, zero)) => (self.bytes[i] as i8 as i32 - zero) as f32,
            Some((_, zero)) => (self.bytes[i] as i32 - zero) as f32,
            None => {
                let b = &self.bytes[4 * i..4 * i + 4];
                f32::from_le_bytes([b[0], b[1], b[2], b[3]])
            }
        }
    }

    /// Sums of the magnitudes of weights of shape `dims` per entry of axis `channel`.
    pub fn magnitudes(&self, dims: &[usize], channel: usize) -> Vec<f64> {
        let inner: usize = dims[channel + 1..].iter().product();
        let mut sums = vec![0.0; dims[channel]];
        for i in 0..dims.iter().product() {
            sums[i / inner % dims[channel]] += self.get(i).abs() as f64;
        }
        sums
    }

    /// Whether integers fit signed bytes and any sum of products with bytes fits 32 bits.
    pub fn exact(&self, dims: &[usize], channel: usize) -> bool {
        let fits = |i: usize| (-128.0..=127.0).contains(&self.get(i));
        let most = self.magnitudes(dims, channel).into_iter().fold(0.0, f64::max);
        (0..dims.iter().product()).all(fits) && 255.0 * most < (1u64 << 31) as f64
    }
}

impl Lower<'_> {
    /// Weights, their dimensions and the bias, when they are constants.
    pub(super) fn parameters(&self, n: &Node) -> R<Option<(ConstantWeights, Vec<usize>, Option<Vec<f32>>)>> {
        let kept = n.input(1).and_then(|w| self.int8_weights.get(&w));
        let values = match kept {
            Some((x, zero, _)) => self.constants.get(x).map(|t| (t, ConstantWeights::quantized(t, *zero))),
            None => self.constant(n, 1).map(|t| (t, ConstantWeights::of(t))),
        };
        let Some((t, Some(w))) = values else { return Ok(None) };
        let dims = t.dims().to_vec();
        if !(3..=5).contains(&dims.len()) {
            return Err(LowerError::Axes { axes: dims.len() });
        }
        let bias = self.floats(n, 2);
        Ok((n.input(2).is_none() || bias.is_some()).then_some((w, dims, bias)))
    }

    /// Constant weights of two axes, of floats or kept INT8.
    pub(super) fn matrix(&self, n: &Node) -> Option<(ConstantWeights, [usize; 2])> {
        let (t, w) = match n.input(1).and_then(|w| self.int8_weights.get(&w)) {
            Some((x, zero, _)) => self.constants.get(x).map(|t| (t, ConstantWeights::quantized(t, *zero)))?,
            None => self.constant(n, 1).map(|t| (t, ConstantWeights::of(t)))?,
        };
        Some((w?, t.dims().try_into().ok()?))
    }
}
