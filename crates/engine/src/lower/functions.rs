//! Functions of elements that have no vector kernel, with operands that broadcast.

use super::{Lower, R};
use crate::step::{Function, Kind, Stored};
use ampoule_graph::{DType, Node, Op};
use ampoule_kernels::Elem;
use ampoule_runtime::run::loops::Loops;
use ampoule_runtime::view::Home;
use ampoule_runtime::{OutOfMemory, View};

/// Most operands.
const MOST: usize = 3;

impl Lower<'_> {
    /// A constant of one value.
    pub(super) fn scalar(&mut self, value: f32) -> View {
        self.out.constants.push(Stored::F32(vec![value]));
        let home = Home::Constant(self.out.constants.len() - 1);
        View { home, elem: Elem::F32, offset: 0, dims: vec![], strides: vec![] }
    }

    /// Lowers `n` as a function of the elements of its inputs.
    pub(super) fn function(&mut self, n: &Node) -> R<bool> {
        let Some(y) = n.output() else { return Ok(false) };
        if n.inputs.len() > MOST || n.inputs.is_empty() || n.outputs.len() != 1 {
            return Ok(false);
        }
        let mut dtypes = Vec::new();
        let mut reads = Vec::new();
        for i in 0..n.inputs.len() {
            let Some(id) = n.input(i) else { return Ok(false) };
            dtypes.push(self.graph.value(id).dtype.unwrap_or(DType::F32));
            reads.push(self.get(id)?);
        }
        self.apply_function(n, y, dtypes, reads)
    }

    fn apply_function(
        &mut self,
        n: &Node,
        y: ampoule_graph::ValueId,
        dtypes: Vec<DType>,
        reads: Vec<View>,
    ) -> R<bool> {
        let f = Function::of(&n.op, &dtypes);
        let dims = self.dims(y)?;
        if !f.possible() || reads.iter().any(|v| v.dims.len() > dims.len()) {
            return Ok(false);
        }
        let main = reads.iter().find(|v| v.dims == dims).cloned();
        let out = match main {
            Some(v) => self.place_like(y, &v)?,
            None => self.place(y, &dims),
        };
        self.set(y, out.clone());
        let reads: Vec<View> = reads.iter().map(|v| v.expanded(&dims)).collect();
        let mut views: Vec<&View> = reads.iter().collect();
        views.push(&out);
        let loops = Loops::new(&views);
        self.push(n, Kind::Map(f, loops), reads, vec![out], 0);
        Ok(true)
    }

    /// A clip whose bounds are computed.
    pub(super) fn computed_clip(&mut self, n: &Node) -> R<bool> {
        let (Some(x), Some(y)) = (n.input(0), n.output()) else { return Ok(false) };
        if !self.is_float(x) {
            return Ok(false);
        }
        let mut reads = vec![self.get(x)?];
        for (i, none) in [(1, f32::NEG_INFINITY), (2, f32::INFINITY)] {
            let v = match n.input(i) {
                Some(id) => self.get(id)?,
                None => self.scalar(none),
            };
            if v.len() != 1 {
                return Ok(false);
            }
            reads.push(View { dims: vec![], strides: vec![], ..v });
        }
        self.apply_function(n, y, vec![DType::F32; 3], reads)
    }

    /// The upper or lower triangle, by a constant mask.
    pub(super) fn trilu(&mut self, n: &Node, upper: bool) -> R<bool> {
        let Some(y) = n.output() else { return Ok(false) };
        let k = match n.input(1) {
            None => 0,
            Some(_) => match self.constant(n, 1).and_then(|t| t.to_i64()).as_deref() {
                Some([k]) => *k,
                _ => return Ok(false),
            },
        };
        let x = self.input(n, 0)?;
        let [.., rows, columns] = x.dims[..] else { return Ok(false) };
        if x.is_empty() {
            return Ok(false);
        }
        OutOfMemory::check(4 * rows * columns)?;
        let kept = |i: usize| {
            let above = (i % columns) as i64 - (i / columns) as i64;
            (if upper { above >= k } else { above <= k }) as u8 as f32
        };
        self.out.constants.push(Stored::F32((0..rows * columns).map(kept).collect()));
        let home = Home::Constant(self.out.constants.len() - 1);
        let strides = vec![columns as isize, 1];
        let mask = View { home, elem: Elem::F32, offset: 0, dims: vec![rows, columns], strides };
        let zero = self.scalar(0.0);
        let dims = self.dims(y)?;
        let out = self.place_like(y, &x)?;
        self.set(y, out.clone());
        let reads = vec![mask.expanded(&dims), x, zero.expanded(&dims)];
        let mut views: Vec<&View> = reads.iter().collect();
        views.push(&out);
        let loops = Loops::new(&views);
        let f = Function::of(&Op::Where, &[DType::Bool, DType::F32, DType::F32]);
        self.push(n, Kind::Map(f, loops), reads, vec![out], 0);
        Ok(true)
    }

    /// Between types whose values float32 carries alike, a cast is a view.
    pub(super) fn carried_alike(from: DType, to: DType) -> bool {
        let wide = |d: DType| matches!(d, DType::I32 | DType::I64);
        let small = matches!(from, DType::Bool | DType::U8 | DType::I8 | DType::U16 | DType::I16);
        (from.is_int() && matches!(to, DType::F32 | DType::F64)) || ((small || wide(from)) && wide(to))
    }
}
