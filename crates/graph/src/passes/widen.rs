//! Half and double floats as float32, in which the program computes.

use crate::{DType, Graph, Op, Tensor, ValueId};

/// Whether values of this type are computed in float32 instead.
fn other_float(d: DType) -> bool {
    d.is_float() && d != DType::F32
}

/// Makes every float16, bfloat16 and float64 value float32, constants, inputs and outputs included; returns how many
/// there were. A graph with nodes that hold graphs of their own stays, because those speak of types too.
pub fn widen(g: &mut Graph) -> usize {
    if g.nodes.iter().any(|n| matches!(&n.op, Op::Unknown(u) if u.subgraphs)) {
        return 0;
    }
    let found: Vec<ValueId> =
        g.constants.iter().filter(|(_, t)| other_float(t.dtype())).map(|(id, _)| *id).collect();
    let mut n = 0;
    for id in found {
        let wide = g.constants.get(&id).and_then(|t| Some(Tensor::f32(t.dims(), &t.to_f32()?)));
        if let Some(t) = wide {
            g.set_constant(id, t);
            n += 1;
        }
    }
    for v in g.values.iter_mut().filter(|v| v.dtype.is_some_and(other_float)) {
        v.dtype = Some(DType::F32);
        n += 1;
    }
    for node in &mut g.nodes {
        match &mut node.op {
            Op::Cast { to } if other_float(*to) => {
                *to = DType::F32;
                n += 1;
            }
            Op::ConstantOfShape { value } if other_float(value.dtype()) => {
                if let Some(v) = value.to_f32() {
                    *value = Tensor::f32(value.dims(), &v);
                    n += 1;
                }
            }
            _ => {}
        }
    }
    n
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::build::Builder;
    use crate::op::Binary;
    use crate::{Dim, infer};

    #[test]
    fn half_floats_become_float32_and_a_cast_between_them_nothing() {
        let mut b = Builder::new("half");
        let x = b.input("x", &[Dim::Known(2)]);
        let half = b.node(Op::Cast { to: DType::F16 }, &[x]);
        let two = b.constant("two", Tensor::from_f64(DType::F16, &[1], &[2.0]).unwrap());
        let y = b.node(Op::Binary(Binary::Mul), &[half, two]);
        b.output(y, "y", &[Dim::Known(2)]);
        let mut g = b.finish();
        g.values[y.0].dtype = Some(DType::F16);
        assert!(widen(&mut g) > 0);
        infer::infer(&mut g).unwrap();
        assert!(g.values.iter().all(|v| v.dtype == Some(DType::F32)));
        assert_eq!(widen(&mut g), 0);
    }
}
