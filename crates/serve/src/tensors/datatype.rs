//! Element types by their names in the Open Inference Protocol.

use ampoule_graph::DType;

/// Types and their names.
const NAMES: [(DType, &str); 13] = [
    (DType::Bool, "BOOL"),
    (DType::U8, "UINT8"),
    (DType::U16, "UINT16"),
    (DType::U32, "UINT32"),
    (DType::U64, "UINT64"),
    (DType::I8, "INT8"),
    (DType::I16, "INT16"),
    (DType::I32, "INT32"),
    (DType::I64, "INT64"),
    (DType::F16, "FP16"),
    (DType::Bf16, "BF16"),
    (DType::F32, "FP32"),
    (DType::F64, "FP64"),
];

/// The protocol's name of a type; `None` for types that it does not have.
pub(crate) fn datatype(dtype: DType) -> Option<&'static str> {
    NAMES.iter().find(|n| n.0 == dtype).map(|n| n.1)
}

/// The type that the protocol calls `name`; `None` for strings (`BYTES`) and unknown names.
pub(crate) fn dtype(name: &str) -> Option<DType> {
    NAMES.iter().find(|n| n.1 == name).map(|n| n.0)
}
