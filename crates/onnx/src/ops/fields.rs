//! Attributes as protobuf fields.

use crate::proto::{AttributeProto, AttributeType};
use bytes::Bytes;

pub(crate) fn int(name: &str, i: i64) -> AttributeProto {
    AttributeProto { name: name.into(), i, r#type: AttributeType::Int as i32, ..Default::default() }
}

pub(crate) fn float(name: &str, f: f32) -> AttributeProto {
    AttributeProto { name: name.into(), f, r#type: AttributeType::Float as i32, ..Default::default() }
}

pub(crate) fn text(name: &str, s: &str) -> AttributeProto {
    let s = Bytes::copy_from_slice(s.as_bytes());
    AttributeProto { name: name.into(), s, r#type: AttributeType::String as i32, ..Default::default() }
}

pub(crate) fn ints(name: &str, v: impl IntoIterator<Item = i64>) -> AttributeProto {
    let ints = v.into_iter().collect();
    AttributeProto { name: name.into(), ints, r#type: AttributeType::Ints as i32, ..Default::default() }
}

pub(crate) fn sizes(out: &mut Vec<AttributeProto>, name: &str, v: &[usize]) {
    if !v.is_empty() {
        out.push(ints(name, v.iter().map(|&x| x as i64)));
    }
}
