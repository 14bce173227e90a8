//! Quantizers and dequantizers (QDQ).

use super::{Lower, R};
use ampoule_graph::{DType, Node, Op, eval};
use ampoule_kernels::eltwise;

/// Scale and zero point of a whole tensor.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Code {
    pub scale: f32,
    pub zero: f32,
}

impl Lower<'_> {
    /// The scale and zero point of a node that has one for all values.
    fn code(&self, n: &Node) -> R<Option<Code>> {
        let Some(scale) = self.floats(n, 1) else { return Ok(None) };
        if let Some(s) = scale.iter().find(|s| !(**s > 0.0 && s.is_finite())) {
            return Err(format!("a scale of {s}; scales must be finite and above 0"));
        }
        let zero = match n.input(2) {
            None => Some(vec![0.0; scale.len()]),
            Some(_) => self.constant(n, 2).and_then(|t| t.to_f32()),
        };
        Ok(match (&scale[..], zero.as_deref()) {
            ([scale], Some([zero])) => Some(Code { scale: *scale, zero: *zero }),
            _ => None,
        })
    }

    /// A quantizer or dequantizer: of a constant folded, else an element-wise function.
    pub(super) fn quantizer(&mut self, n: &Node) -> R<bool> {
        let (Some(x), Some(y)) = (n.input(0), n.output()) else { return Ok(false) };
        let code = self.code(n)?;
        if self.constants.contains_key(&x) {
            let args: Option<Vec<_>> = n
                .inputs
                .iter()
                .map(|i| i.map(|i| self.constants.get(&i).cloned()).map_or(Some(None), |t| t.map(Some)))
                .collect();
            let Some(args) = args else { return Ok(false) };
            let folded = eval::node(&n.op, &args, 1)?;
            self.constants.extend(folded.into_iter().map(|t| (y, t)));
            self.packed(n, 0);
            return Ok(true);
        }
        let (Some(Code { scale, zero }), Some(t)) = (code, self.graph.value(x).dtype) else {
            return Ok(false);
        };
        let f = match &n.op {
            Op::Quantize { to, .. } if t == DType::F32 => {
                let Some((low, high)) = to.range() else { return Ok(false) };
                eltwise::Unary::Quantize { scale, zero, low: low as f32, high: high as f32 }
            }
            Op::Dequantize { .. } => eltwise::Unary::Dequantize { scale, zero },
            _ => return Ok(false),
        };
        let mut view = self.get(x)?;
        if view.elem != self.elem(y) {
            // Codes of eight bits are exact in bfloat16 too.
            if matches!(t, DType::U16 | DType::I16 | DType::I32) {
                return Ok(false);
            }
            view = self.stored_as(n, view, self.elem(y));
        }
        self.apply_to(n, f, view)
    }
}
