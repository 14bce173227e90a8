//! A walk over the protobuf wire format that counts and measures nesting without allocating, so
//! that a small hostile file cannot become gigabytes of decoded messages.

use crate::{Error, Result};

/// The messages whose children are walked.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Model,
    Graph,
    Node,
    Attribute,
    Tensor,
    SparseTensor,
    Function,
    ValueInfo,
    /// Counted, not entered.
    Leaf,
}

/// The kind of sub-message in field `tag` of `kind`, if that field is one.
fn child(kind: Kind, tag: u64) -> Option<Kind> {
    use Kind::*;
    Some(match (kind, tag) {
        (Model, 7) => Graph,
        (Model, 8 | 14) => Leaf,
        (Model, 25) => Function,
        (Graph, 1) | (Function, 7) => Node,
        (Graph, 5) | (Attribute, 5 | 10) | (SparseTensor, 1 | 2) => Tensor,
        (Graph, 11..=13) | (Function, 12) => ValueInfo,
        (Graph, 15) | (Attribute, 22 | 23) => SparseTensor,
        (Graph, 14) | (Function, 9) | (Tensor, 13) | (ValueInfo, 2) => Leaf,
        (Node, 5) | (Function, 11) => Attribute,
        (Attribute, 6 | 11) => Graph,
        _ => return None,
    })
}

/// What a model file holds, counted before decoding.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Census {
    /// Messages of all kinds, at any depth.
    pub messages: u64,
    /// Deepest nesting of messages.
    pub depth: u64,
}

fn truncated() -> Error {
    Error::NotOnnx { reason: "the file ends inside a field".into() }
}

fn varint(buf: &mut &[u8]) -> Result<u64> {
    let mut value = 0u64;
    for shift in (0..70).step_by(7) {
        let (&byte, rest) = buf.split_first().ok_or_else(truncated)?;
        *buf = rest;
        value |= ((byte & 0x7f) as u64).checked_shl(shift).unwrap_or(0);
        if byte < 0x80 {
            return Ok(value);
        }
    }
    Err(Error::NotOnnx { reason: "a number is longer than ten bytes".into() })
}

fn take<'a>(buf: &mut &'a [u8], n: u64) -> Result<&'a [u8]> {
    let n = usize::try_from(n).map_err(|_| truncated())?;
    let (head, rest) = buf.split_at_checked(n).ok_or_else(truncated)?;
    *buf = rest;
    Ok(head)
}

/// Counts the messages of a serialized `ModelProto`, failing at the first limit exceeded.
pub(super) fn model(bytes: &[u8], max_messages: u64, max_depth: u64) -> Result<Census> {
    let mut census = Census::default();
    let mut stack = vec![(Kind::Model, bytes)];
    while let Some((kind, mut buf)) = stack.pop() {
        let depth = stack.len() as u64 + 1;
        if depth > max_depth {
            return Err(Error::Limit { what: "nesting depth", found: depth, limit: max_depth });
        }
        census.depth = census.depth.max(depth);
        while !buf.is_empty() {
            let key = varint(&mut buf)?;
            let field = match key & 7 {
                0 => {
                    varint(&mut buf)?;
                    continue;
                }
                1 => take(&mut buf, 8)?,
                2 => {
                    let n = varint(&mut buf)?;
                    take(&mut buf, n)?
                }
                5 => take(&mut buf, 4)?,
                w => return Err(Error::NotOnnx { reason: format!("wire type {w}") }),
            };
            let Some(inner) = child(kind, key >> 3).filter(|_| key & 7 == 2) else { continue };
            census.messages += 1;
            if census.messages > max_messages {
                return Err(Error::Limit {
                    what: "number of nodes, attributes and tensors",
                    found: census.messages,
                    limit: max_messages,
                });
            }
            if inner != Kind::Leaf {
                // Come back to the rest of this message after its child.
                stack.push((kind, buf));
                stack.push((inner, field));
                break;
            }
        }
    }
    Ok(census)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::*;
    use prost::Message;

    fn nested(depth: usize) -> Vec<u8> {
        let mut g = GraphProto::default();
        for _ in 0..depth {
            let a = AttributeProto { g: Some(g), ..Default::default() };
            let n = NodeProto { attribute: vec![a], ..Default::default() };
            g = GraphProto { node: vec![n], ..Default::default() };
        }
        ModelProto { graph: Some(g), ..Default::default() }.encode_to_vec()
    }

    #[test]
    fn counts_and_depth_are_those_of_the_file() {
        assert_eq!(model(&nested(0), 10, 10).unwrap(), Census { messages: 1, depth: 2 });
        assert_eq!(model(&nested(2), 10, 10).unwrap(), Census { messages: 7, depth: 8 });
        assert!(matches!(model(&nested(2), 6, 10), Err(Error::Limit { .. })));
        assert!(matches!(model(&nested(2), 10, 7), Err(Error::Limit { .. })));
    }

    #[test]
    fn truncation_anywhere_is_an_error_or_a_shorter_model() {
        let bytes = nested(3);
        for n in 0..bytes.len() {
            let _ = model(&bytes[..n], 100, 100);
        }
        assert!(model(&bytes[..bytes.len() - 1], 100, 100).is_err());
        assert!(model(&[0xff; 16], 100, 100).is_err());
    }
}
