//! Element types of ONNX tensors.

/// Element type of a tensor, with ONNX's own numbering in [`DType::code`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum DType {
    F32,
    U8,
    I8,
    U16,
    I16,
    I32,
    I64,
    Str,
    Bool,
    F16,
    F64,
    U32,
    U64,
    Complex64,
    Complex128,
    Bf16,
    F8E4M3Fn,
    F8E4M3Fnuz,
    F8E5M2,
    F8E5M2Fnuz,
    U4,
    I4,
    F4E2M1,
    F8E8M0,
    U2,
    I2,
}

/// `(type, ONNX code, bits per element, name)`; strings have no fixed size and say 0 bits.
const TABLE: &[(DType, i32, usize, &str)] = &[
    (DType::F32, 1, 32, "float32"),
    (DType::U8, 2, 8, "uint8"),
    (DType::I8, 3, 8, "int8"),
    (DType::U16, 4, 16, "uint16"),
    (DType::I16, 5, 16, "int16"),
    (DType::I32, 6, 32, "int32"),
    (DType::I64, 7, 64, "int64"),
    (DType::Str, 8, 0, "string"),
    (DType::Bool, 9, 8, "bool"),
    (DType::F16, 10, 16, "float16"),
    (DType::F64, 11, 64, "float64"),
    (DType::U32, 12, 32, "uint32"),
    (DType::U64, 13, 64, "uint64"),
    (DType::Complex64, 14, 64, "complex64"),
    (DType::Complex128, 15, 128, "complex128"),
    (DType::Bf16, 16, 16, "bfloat16"),
    (DType::F8E4M3Fn, 17, 8, "float8e4m3fn"),
    (DType::F8E4M3Fnuz, 18, 8, "float8e4m3fnuz"),
    (DType::F8E5M2, 19, 8, "float8e5m2"),
    (DType::F8E5M2Fnuz, 20, 8, "float8e5m2fnuz"),
    (DType::U4, 21, 4, "uint4"),
    (DType::I4, 22, 4, "int4"),
    (DType::F4E2M1, 23, 4, "float4e2m1"),
    (DType::F8E8M0, 24, 8, "float8e8m0"),
    (DType::U2, 25, 2, "uint2"),
    (DType::I2, 26, 2, "int2"),
];

impl DType {
    fn row(self) -> &'static (DType, i32, usize, &'static str) {
        // The table lists every variant (tested), so the fallback row is never taken.
        TABLE.iter().find(|r| r.0 == self).unwrap_or(&TABLE[0])
    }

    /// The type with ONNX's `TensorProto.DataType` number `code`.
    pub fn from_code(code: i32) -> Option<Self> {
        TABLE.iter().find(|r| r.1 == code).map(|r| r.0)
    }

    /// ONNX's `TensorProto.DataType` number.
    pub fn code(self) -> i32 {
        self.row().1
    }

    /// Bits per element; 0 for strings.
    pub fn bits(self) -> usize {
        self.row().2
    }

    /// Bytes of `count` elements packed as ONNX's `raw_data` packs them, or `None` on overflow.
    pub fn bytes_of(self, count: usize) -> Option<usize> {
        count.checked_mul(self.bits()).map(|b| b.div_ceil(8))
    }

    /// Lower-case name as numpy spells it.
    pub fn name(self) -> &'static str {
        self.row().3
    }

    /// Whether values are computed as floating point.
    pub fn is_float(self) -> bool {
        matches!(self, DType::F32 | DType::F64 | DType::F16 | DType::Bf16)
    }

    /// Least and greatest value of an integer type of at most 32 bits.
    pub fn range(self) -> Option<(i64, i64)> {
        Some(match self {
            DType::U8 => (0, u8::MAX as i64),
            DType::I8 => (i8::MIN as i64, i8::MAX as i64),
            DType::U16 => (0, u16::MAX as i64),
            DType::I16 => (i16::MIN as i64, i16::MAX as i64),
            DType::I32 => (i32::MIN as i64, i32::MAX as i64),
            DType::U32 => (0, u32::MAX as i64),
            _ => return None,
        })
    }

    /// Whether values are integers (booleans included) that [`crate::eval`] computes with.
    pub fn is_int(self) -> bool {
        matches!(
            self,
            DType::U8
                | DType::I8
                | DType::U16
                | DType::I16
                | DType::I32
                | DType::I64
                | DType::U32
                | DType::U64
                | DType::Bool
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_types_run_from_1_to_26_without_gaps() {
        for (i, row) in TABLE.iter().enumerate() {
            assert_eq!(row.1 as usize, i + 1);
            assert_eq!(DType::from_code(row.1), Some(row.0));
            assert_eq!(row.0.code(), row.1);
        }
        assert_eq!(DType::from_code(0), None);
        assert_eq!(DType::I4.bytes_of(3), Some(2));
        assert_eq!(DType::F64.bytes_of(usize::MAX), None);
    }
}
