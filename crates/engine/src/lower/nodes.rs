//! Which steps each node becomes.

use super::{Lower, R};
use crate::error::LowerError;
use crate::step::{Arg, Kind};
use ampoule_graph::{DType, Node, Op};

impl Lower<'_> {
    pub(super) fn node(&mut self, index: usize) -> R<()> {
        let graph = self.graph;
        let n = &graph.nodes[index];
        let floats = n.inputs.iter().chain(&n.outputs).flatten().all(|&i| self.is_float(i));
        let moved = floats || n.output().is_some_and(|y| self.stored_u8[y.0]);
        if let Some(pending) = self.attention.remove(&index) {
            return self.end_attention(n, pending);
        }
        if self.rms_norm(index)? || self.chain(index)? {
            return Ok(());
        }
        let done = match &n.op {
            Op::Conv { window, group } => self.conv(n, window, *group)?,
            Op::ConvTranspose { window, group, output_padding, output_shape } => {
                self.conv_transpose(n, window, *group, output_padding, output_shape)?
            }
            Op::MaxPool(p) if moved => self.pool(n, p, true)?,
            Op::AveragePool(p) if moved => self.pool(n, p, false)?,
            Op::GlobalAveragePool => self.global_average(n)?,
            Op::GlobalMaxPool => self.global_max(n)?,
            Op::BatchNorm { epsilon } => self.batch_norm(n, *epsilon)?,
            Op::InstanceNorm { epsilon } => self.instance_norm(n, 1, *epsilon)?,
            Op::GroupNorm { groups, epsilon } => {
                let channels = n.input(0).map(|x| self.dims(x)).transpose()?.and_then(|d| d.get(1).copied());
                match channels.filter(|c| *groups > 0 && c % groups == 0) {
                    Some(c) => self.instance_norm(n, c / groups, *epsilon)?,
                    None => return Err(LowerError::Groups { groups: *groups }),
                }
            }
            Op::LayerNorm { axis, epsilon } if floats => self.layer_norm(n, *axis, *epsilon)?,
            Op::Unary(u) if floats => self.unary(n, *u)?,
            Op::Binary(b) if floats => self.binary(n, *b)?,
            Op::Variadic(v) if floats => self.variadic(n, *v)?,
            Op::Clip if floats => self.clip(n)?,
            Op::Unary(_) | Op::Binary(_) | Op::Variadic(_) | Op::Clip => self.function(n)?,
            Op::Quantize { .. } | Op::Dequantize { .. } => self.quantizer(n)?,
            Op::Softmax { axis, log: false } => self.softmax(n, *axis)?,
            Op::Softmax { axis, log: true } => self.log_softmax(n, *axis)?,
            Op::Reduce { kind, keep_dims, noop_with_empty_axes } => {
                self.reduce(n, *kind, *keep_dims, *noop_with_empty_axes)?
            }
            Op::ArgExtreme { max, axis, keep_dims, last } => {
                self.extreme(n, *max, *axis, *keep_dims, *last)?
            }
            Op::TopK { axis, largest } => self.top(n, *axis, *largest)?,
            Op::CumSum { exclusive, reverse } => self.cumsum(n, *exclusive, *reverse)?,
            Op::Gather { axis } => self.gather(n, *axis)?,
            Op::Indexed(op) => self.indexed(n, *op)?,
            Op::Tile => self.tile(n)?,
            Op::DepthToSpace { block, column_row } => self.depth_to_space(n, *block, *column_row)?,
            Op::SpaceToDepth { block } => self.space_to_depth(n, *block)?,
            Op::Einsum { equation } if floats => self.einsum(n, equation)?,
            Op::Recurrent(r) => self.recurrent(n, r)?,
            Op::GridSample(rule) => self.grid_sample(n, rule)?,
            Op::Trilu { upper } => self.trilu(n, *upper)?,
            Op::Where => self.function(n)?,
            Op::MatMul if floats => self.matmul(n)?,
            Op::Gemm { alpha, beta, trans_a, trans_b } if floats => {
                self.gemm(n, *alpha, *beta, *trans_a, *trans_b)?
            }
            // Scales and sizes are constants of other types.
            Op::Resize(r) if moved || n.input(0).is_some_and(|x| self.is_float(x)) => self.resize(n, r)?,
            Op::Concat { axis } => self.concat(n, *axis)?,
            Op::Pad { mode } => self.pad(n, *mode)?,
            Op::Cast { to } => self.cast(n, *to)?,
            // Views. What is none, the reference computes, so that every operator runs.
            _ => self.as_view(n)?,
        };
        if !done {
            self.reference(n)?;
        }
        Ok(())
    }

    /// A step that the graph's reference computes.
    pub(super) fn reference(&mut self, n: &Node) -> R<()> {
        let graph = self.graph;
        let mut reads = Vec::new();
        let mut args = Vec::new();
        for id in &n.inputs {
            args.push(match id {
                None => Arg::Missing,
                Some(id) => match self.constants.get(id) {
                    Some(t) => Arg::Constant(t.clone()),
                    None => {
                        reads.push(self.get(*id)?);
                        Arg::Read(reads.len() - 1, graph.value(*id).dtype.unwrap_or(DType::F32))
                    }
                },
            });
        }
        let mut writes = Vec::new();
        for id in n.outputs.iter().flatten() {
            let dims = self.dims(*id)?;
            let v = self.place(*id, &dims);
            self.set(*id, v.clone());
            writes.push(v);
        }
        let outputs = n.outputs.iter().map(Option::is_some).collect();
        self.push(n, Kind::Reference { op: n.op.clone(), args, outputs }, reads, writes, 0);
        Ok(())
    }
}
