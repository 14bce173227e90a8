//! Constant tensors: element type, dimensions and little-endian bytes.

use crate::{DType, Error, Result};
use bytes::Bytes;
use half::{bf16, f16};

/// A constant tensor, row-major, little-endian, sub-byte types packed low bits first as ONNX packs
/// them. Cloning shares the bytes.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    dtype: DType,
    dims: Vec<usize>,
    data: Bytes,
    strings: Vec<Bytes>,
}

/// Number of elements of `dims`, or `None` on overflow.
pub fn element_count(dims: &[usize]) -> Option<usize> {
    dims.iter().try_fold(1usize, |n, &d| n.checked_mul(d))
}

impl Tensor {
    /// A tensor of raw bytes; fails when their number is not what `dtype` and `dims` need.
    pub fn from_bytes(dtype: DType, dims: Vec<usize>, data: Bytes) -> Result<Self> {
        let want = element_count(&dims).and_then(|n| dtype.bytes_of(n));
        if want != Some(data.len()) || dtype == DType::Str {
            return Err(Error::TensorData { dtype, dims, given: data.len(), unit: "bytes" });
        }
        Ok(Tensor { dtype, dims, data, strings: Vec::new() })
    }

    /// A tensor of strings.
    pub fn from_strings(dims: Vec<usize>, strings: Vec<Bytes>) -> Result<Self> {
        if element_count(&dims) != Some(strings.len()) {
            return Err(Error::TensorData { dtype: DType::Str, dims, given: strings.len(), unit: "strings" });
        }
        Ok(Tensor { dtype: DType::Str, dims, data: Bytes::new(), strings })
    }

    /// A float32 tensor. Panics when `values` does not fill `dims` (a programming error).
    pub fn f32(dims: &[usize], values: &[f32]) -> Self {
        assert_eq!(element_count(dims), Some(values.len()), "float32 {dims:?}");
        let data: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        Tensor { dtype: DType::F32, dims: dims.to_vec(), data: data.into(), strings: Vec::new() }
    }

    /// An int64 tensor. Panics when `values` does not fill `dims` (a programming error).
    pub fn i64(dims: &[usize], values: &[i64]) -> Self {
        assert_eq!(element_count(dims), Some(values.len()), "int64 {dims:?}");
        let data: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        Tensor { dtype: DType::I64, dims: dims.to_vec(), data: data.into(), strings: Vec::new() }
    }

    /// A one-dimensional int64 tensor.
    pub fn i64s(values: &[i64]) -> Self {
        Self::i64(&[values.len()], values)
    }

    /// Element type.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// Dimensions, outermost first.
    pub fn dims(&self) -> &[usize] {
        &self.dims
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        self.dims.iter().product()
    }

    /// Whether there are no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The packed little-endian bytes (empty for strings).
    pub fn bytes(&self) -> &Bytes {
        &self.data
    }

    /// The strings of a string tensor.
    pub fn strings(&self) -> &[Bytes] {
        &self.strings
    }

    /// The same data under other dimensions of the same count.
    pub fn reshaped(&self, dims: Vec<usize>) -> Result<Self> {
        if element_count(&dims) != Some(self.len()) {
            return Err(Error::TensorData { dtype: self.dtype, dims, given: self.len(), unit: "elements" });
        }
        Ok(Tensor { dims, ..self.clone() })
    }

    /// All elements as float64; `None` for strings, complex and sub-16-bit floating point types.
    pub fn to_f64(&self) -> Option<Vec<f64>> {
        if self.dtype.is_float() {
            let b = &self.data;
            return Some(match self.dtype {
                DType::F32 => le(b, |x: [u8; 4]| f32::from_le_bytes(x) as f64),
                DType::F64 => le(b, f64::from_le_bytes),
                DType::F16 => le(b, |x| f16::from_le_bytes(x).to_f64()),
                _ => le(b, |x| bf16::from_le_bytes(x).to_f64()),
            });
        }
        self.to_i64().map(|v| v.into_iter().map(|x| x as f64).collect())
    }

    /// All elements as float32, `None` where [`Tensor::to_f64`] is `None`.
    pub fn to_f32(&self) -> Option<Vec<f32>> {
        if self.dtype == DType::F32 {
            return Some(le(&self.data, f32::from_le_bytes));
        }
        self.to_f64().map(|v| v.into_iter().map(|x| x as f32).collect())
    }

    /// All elements as int64 (uint64 wraps); `None` when the type is not an integer.
    pub fn to_i64(&self) -> Option<Vec<i64>> {
        let b = &self.data;
        Some(match self.dtype {
            DType::U8 | DType::Bool => b.iter().map(|&x| x as i64).collect(),
            DType::I8 => b.iter().map(|&x| x as i8 as i64).collect(),
            DType::U16 => le(b, |x| u16::from_le_bytes(x) as i64),
            DType::I16 => le(b, |x| i16::from_le_bytes(x) as i64),
            DType::I32 => le(b, |x| i32::from_le_bytes(x) as i64),
            DType::U32 => le(b, |x| u32::from_le_bytes(x) as i64),
            DType::I64 => le(b, i64::from_le_bytes),
            DType::U64 => le(b, |x| u64::from_le_bytes(x) as i64),
            DType::U4 => self.nibbles(|n| n as i64),
            DType::I4 => self.nibbles(|n| ((n << 4) as i8 >> 4) as i64),
            _ => return None,
        })
    }

    fn nibbles(&self, f: impl Fn(u8) -> i64) -> Vec<i64> {
        (0..self.len()).map(|i| f(self.data[i / 2] >> (4 * (i % 2)) & 15)).collect()
    }

    /// A tensor of `dtype` from float64 values, rounded to nearest even (floats) or truncated and
    /// wrapped (integers). `None` for types that cannot be computed with.
    pub fn from_f64(dtype: DType, dims: &[usize], v: &[f64]) -> Option<Self> {
        if !dtype.is_float() {
            let ints: Vec<i64> = v.iter().map(|&x| x as i64).collect();
            return Self::from_i64(dtype, dims, &ints);
        }
        let data: Vec<u8> = match dtype {
            DType::F32 => v.iter().flat_map(|&x| (x as f32).to_le_bytes()).collect(),
            DType::F64 => v.iter().flat_map(|&x| x.to_le_bytes()).collect(),
            DType::F16 => v.iter().flat_map(|&x| f16::from_f64(x).to_le_bytes()).collect(),
            _ => v.iter().flat_map(|&x| bf16::from_f64(x).to_le_bytes()).collect(),
        };
        Tensor::from_bytes(dtype, dims.to_vec(), data.into()).ok()
    }

    /// The same tensor with `f(index, element)` in place of each element, rounded to its type; `None` where there are no
    /// floats.
    pub fn map_f64(&self, f: impl FnMut(usize, f64) -> f64) -> Option<Self> {
        self.mapped(self.dtype, f)
    }

    /// The same elements in another floating-point type; `None` where either is none.
    pub(crate) fn in_floats(&self, to: DType) -> Option<Self> {
        self.mapped(to, |_, v| v)
    }

    /// Element by element: arrays of float64 would take several times the memory of large weights.
    fn mapped(&self, to: DType, mut f: impl FnMut(usize, f64) -> f64) -> Option<Self> {
        let read: fn(&[u8]) -> f64 = match self.dtype {
            DType::F32 => |b| b.first_chunk().map_or(0.0, |b| f32::from_le_bytes(*b) as f64),
            DType::F64 => |b| b.first_chunk().map_or(0.0, |b| f64::from_le_bytes(*b)),
            DType::F16 => |b| b.first_chunk().map_or(0.0, |b| f16::from_le_bytes(*b).to_f64()),
            DType::Bf16 => |b| b.first_chunk().map_or(0.0, |b| bf16::from_le_bytes(*b).to_f64()),
            _ => return None,
        };
        let write: fn(f64, &mut Vec<u8>) = match to {
            DType::F32 => |v, out| out.extend((v as f32).to_le_bytes()),
            DType::F64 => |v, out| out.extend(v.to_le_bytes()),
            DType::F16 => |v, out| out.extend(f16::from_f64(v).to_le_bytes()),
            DType::Bf16 => |v, out| out.extend(bf16::from_f64(v).to_le_bytes()),
            _ => return None,
        };
        let mut data = Vec::with_capacity(to.bytes_of(self.len())?);
        for (k, element) in self.data.chunks_exact(self.dtype.bits() / 8).enumerate() {
            write(f(k, read(element)), &mut data);
        }
        Some(Tensor { dtype: to, data: data.into(), ..self.clone() })
    }

    /// A tensor of an integer or boolean `dtype` from int64 values, wrapped to its width.
    pub fn from_i64(dtype: DType, dims: &[usize], v: &[i64]) -> Option<Self> {
        let data: Vec<u8> = match dtype {
            DType::Bool => v.iter().map(|&x| (x != 0) as u8).collect(),
            DType::U8 | DType::I8 => v.iter().map(|&x| x as u8).collect(),
            DType::U16 | DType::I16 => v.iter().flat_map(|&x| (x as u16).to_le_bytes()).collect(),
            DType::U32 | DType::I32 => v.iter().flat_map(|&x| (x as u32).to_le_bytes()).collect(),
            DType::U64 | DType::I64 => v.iter().flat_map(|&x| x.to_le_bytes()).collect(),
            _ => return None,
        };
        Tensor::from_bytes(dtype, dims.to_vec(), data.into()).ok()
    }
}

fn le<const N: usize, T>(bytes: &[u8], f: impl Fn([u8; N]) -> T) -> Vec<T> {
    let (chunks, _) = bytes.as_chunks::<N>();
    chunks.iter().map(|c| f(*c)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_numeric_type_survives_a_round_trip() {
        let values = [0.0, 1.0, -1.0, 3.0, -7.0, 100.0];
        for code in 1..=16 {
            let dtype = DType::from_code(code).unwrap();
            let Some(t) = Tensor::from_f64(dtype, &[2, 3], &values) else { continue };
            let back = t.to_f64().unwrap();
            let unsigned = matches!(dtype, DType::U8 | DType::U16 | DType::U32);
            for (a, b) in values.iter().zip(&back) {
                let want = match dtype {
                    DType::Bool => (*a != 0.0) as i64 as f64,
                    _ if unsigned && *a < 0.0 => a + 2f64.powi(dtype.bits() as i32),
                    _ => *a,
                };
                assert_eq!(want, *b, "{}", dtype.name());
            }
        }
    }

    #[test]
    fn four_bit_values_are_low_nibble_first_and_signed() {
        let data = Bytes::from_static(&[0x8f, 0x07]);
        let t = Tensor::from_bytes(DType::I4, vec![3], data.clone()).unwrap();
        assert_eq!(t.to_i64().unwrap(), [-1, -8, 7]);
        let t = Tensor::from_bytes(DType::U4, vec![3], data).unwrap();
        assert_eq!(t.to_i64().unwrap(), [15, 8, 7]);
    }

    #[test]
    fn floats_are_mapped_in_their_own_type_or_another() {
        let values = [1.0, -2.5, 0.0, 1e-3];
        for dtype in [DType::F32, DType::F64, DType::F16, DType::Bf16] {
            let t = Tensor::from_f64(dtype, &[2, 2], &values).unwrap();
            let by_hand: Vec<f64> =
                t.to_f64().unwrap().iter().enumerate().map(|(k, v)| v * k as f64).collect();
            assert_eq!(t.map_f64(|k, v| v * k as f64), Tensor::from_f64(dtype, &[2, 2], &by_hand));
            for to in [DType::F32, DType::F64, DType::F16, DType::Bf16] {
                let wanted = Tensor::from_f64(to, &[2, 2], &t.to_f64().unwrap());
                assert_eq!(t.in_floats(to), wanted, "{dtype:?} {to:?}");
            }
            assert_eq!(t.in_floats(DType::I64), None);
        }
        assert_eq!(Tensor::i64s(&[1]).map_f64(|_, v| v), None);
    }

    #[test]
    fn wrong_byte_counts_are_refused() {
        assert!(Tensor::from_bytes(DType::F32, vec![2], Bytes::from_static(&[0; 7])).is_err());
        assert!(Tensor::from_bytes(DType::F32, vec![usize::MAX, 3], Bytes::new()).is_err());
    }
}
