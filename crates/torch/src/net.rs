//! The graph that is built while a program is followed.

use crate::value::{Handle, Value};
use crate::{Error, Result};
use ampoule_graph::infer::{self, Tracker};
use ampoule_graph::op::OpError;
use ampoule_graph::{DType, Dim, Graph, Node, Op, Tensor, UnsupportedOp, ValueId, element_count, eval};
use bytes::Bytes;
use std::collections::{BTreeMap, HashMap};

/// Why a program cannot be followed further, or not in this way.
#[derive(Debug)]
pub(crate) enum Stop {
    /// Something that is wrong or not supported; the place is added by who follows the program.
    Wrong(String),
    /// A size of the input that was left free has to be this one.
    Size { symbol: String, size: usize },
    /// The input has to have this many axes.
    Rank(usize),
    /// The program decides by a size that was left free.
    Free(String),
    /// The file cannot be used.
    Error(Error),
}

/// Shorthand for what may stop.
pub(crate) type Followed<T> = std::result::Result<T, Stop>;

impl From<OpError> for Stop {
    fn from(e: OpError) -> Self {
        Stop::Wrong(e.to_string())
    }
}

impl From<Error> for Stop {
    fn from(e: Error) -> Self {
        Stop::Error(e)
    }
}

/// Shorthand for a [`Stop::Wrong`].
pub(crate) fn wrong<T>(reason: impl Into<String>) -> Followed<T> {
    Err(Stop::Wrong(reason.into()))
}

/// Most nodes of a graph: passes may look at all of them for each of them.
const NODES: usize = 50_000;
/// Most elements of constants that are computed at once.
const FOLDED: usize = 1 << 18;
/// Most bytes of constants that are made here, beside those of the file.
const MADE: usize = 2 << 30;

/// A graph and what is known of it so far.
#[derive(Default)]
pub(crate) struct Net {
    /// As built so far.
    pub graph: Graph,
    tracker: Tracker,
    sizes: HashMap<(ValueId, usize), ValueId>,
    vectors: HashMap<Vec<i64>, ValueId>,
    scalars: HashMap<u32, ValueId>,
    turned: HashMap<ValueId, ValueId>,
    counts: HashMap<String, usize>,
    unknown: BTreeMap<String, String>,
    made: usize,
    /// Where the program is: file and line, or the name of a node.
    pub place: String,
    /// Whether the number of axes of the inputs is a guess.
    pub guessed: bool,
}

impl Net {
    /// A value with the name `name`, or one like it.
    pub fn named(&mut self, name: &str) -> ValueId {
        let n = self.counts.entry(name.to_owned()).or_default();
        let unique = if *n == 0 { name.to_owned() } else { format!("{name}_{n}") };
        *n += 1;
        self.graph.values.push(ampoule_graph::Value { name: unique, ..Default::default() });
        ValueId(self.graph.values.len() - 1)
    }

    /// Notes an operator that is not known.
    pub fn note_unknown(&mut self, op: &str) {
        let place = self.place.clone();
        self.unknown.entry(op.to_owned()).or_insert(place);
    }

    /// All operators that are not known, as an error.
    pub fn unsupported(&self) -> Option<ampoule_graph::Error> {
        let list = self.unknown.iter().map(|(op, place)| UnsupportedOp {
            op: op.clone(),
            node: place.clone(),
            reason: "it is not known".into(),
        });
        let list: Vec<UnsupportedOp> = list.collect();
        (!list.is_empty()).then_some(ampoule_graph::Error::Unsupported(list))
    }

    /// A constant of the file, as the type that it is computed in.
    pub fn weight(&mut self, name: &str, t: &Tensor) -> Followed<ValueId> {
        let id = self.named(name);
        self.graph.set_constant(id, computed(t)?);
        Ok(id)
    }

    /// A constant that is made here.
    pub fn made(&mut self, t: Tensor) -> Followed<ValueId> {
        self.made = self.made.saturating_add(t.bytes().len());
        if self.made > MADE {
            return wrong("its constants are too large together");
        }
        let id = self.named("constant");
        self.graph.set_constant(id, t);
        Ok(id)
    }

    /// A constant vector of integers.
    pub fn ints(&mut self, values: &[i64]) -> Followed<ValueId> {
        if let Some(id) = self.vectors.get(values) {
            return Ok(*id);
        }
        let id = self.made(Tensor::i64s(values))?;
        self.vectors.insert(values.to_vec(), id);
        Ok(id)
    }

    /// A constant number without axes.
    pub fn number(&mut self, x: f32) -> Followed<ValueId> {
        if let Some(id) = self.scalars.get(&x.to_bits()) {
            return Ok(*id);
        }
        let id = self.made(Tensor::f32(&[], &[x]))?;
        self.scalars.insert(x.to_bits(), id);
        Ok(id)
    }

    /// Adds a node with one output.
    pub fn one(&mut self, op: Op, inputs: &[ValueId]) -> Followed<ValueId> {
        let inputs: Vec<Option<ValueId>> = inputs.iter().map(|&i| Some(i)).collect();
        Ok(self.node(op, inputs, 1)?[0])
    }

    /// Adds a node. Small constants are computed at once.
    pub fn node(&mut self, op: Op, inputs: Vec<Option<ValueId>>, outputs: usize) -> Followed<Vec<ValueId>> {
        if self.graph.nodes.len() >= NODES {
            return wrong(format!("the network has more than {NODES} operators"));
        }
        let constant = inputs.iter().flatten().all(|i| self.graph.constants.contains_key(i));
        let kind = op.name().to_lowercase();
        let outs: Vec<ValueId> = (0..outputs).map(|_| self.named(&kind)).collect();
        let name = self.graph.value(outs[0]).name.clone();
        let node = Node { name, op, inputs, outputs: outs.iter().map(|&o| Some(o)).collect() };
        self.graph.nodes.push(node);
        self.tracker.last_node(&mut self.graph)?;
        for &out in &outs {
            let dims = self.graph.value(out).dims();
            if dims.is_some_and(|d| element_count(&d).is_none_or(|n| n > infer::LARGEST)) {
                return wrong("a tensor of too many elements");
            }
        }
        if constant && self.is_small(&outs) {
            self.fold(&outs)?;
        }
        Ok(outs)
    }

    /// Whether the last node computes little of little.
    fn is_small(&self, outs: &[ValueId]) -> bool {
        let Some(node) = self.graph.nodes.last() else { return false };
        let count = |id: &ValueId| self.graph.value(*id).dims().and_then(|d| element_count(&d));
        let all = node.inputs.iter().flatten().chain(outs);
        all.map(count).try_fold(0usize, |n, c| n.checked_add(c?)).is_some_and(|n| n <= FOLDED)
    }

    fn fold(&mut self, outs: &[ValueId]) -> Followed<()> {
        let Some(node) = self.graph.nodes.pop() else { return Ok(()) };
        let inputs: Vec<Option<Tensor>> =
            node.inputs.iter().map(|i| i.and_then(|i| self.graph.constants.get(&i).cloned())).collect();
        let results = eval::node(&node.op, &inputs, outs.len())?;
        // Values of the outputs are entered anew, so that their elements are known.
        for (&out, t) in outs.iter().zip(results) {
            self.made = self.made.saturating_add(t.bytes().len());
            self.graph.set_constant(out, t);
            self.tracker.refresh(&self.graph, out);
        }
        if self.made > MADE { wrong("its constants are too large together") } else { Ok(()) }
    }

    /// Dimensions of a value.
    pub fn dims(&self, id: ValueId) -> Followed<Vec<Dim>> {
        match &self.graph.value(id).shape {
            Some(s) => Ok(s.clone()),
            None => wrong("a tensor whose number of axes is not known"),
        }
    }

    /// Number of axes.
    pub fn rank(&self, id: ValueId) -> Followed<usize> {
        self.dims(id).map(|d| d.len())
    }

    /// Sizes of a value that has none that is free.
    pub fn sizes(&self, id: ValueId, what: &str) -> Followed<Vec<usize>> {
        let dims = self.dims(id)?;
        dims.iter().map(Dim::known).collect::<Option<_>>().ok_or_else(|| Stop::Free(what.into()))
    }

    /// Element type.
    pub fn dtype(&self, id: ValueId) -> DType {
        self.graph.value(id).dtype.unwrap_or(DType::F32)
    }

    /// The tensor of a constant.
    pub fn constant(&self, id: ValueId) -> Option<&Tensor> {
        self.graph.constants.get(&id)
    }

    /// `axis` counted from the front.
    pub fn axis(&self, id: ValueId, axis: i64) -> Followed<usize> {
        Ok(ampoule_graph::infer::axis(axis, self.rank(id)?)?)
    }

    /// The size of an axis: a number, or a graph value where it is free.
    pub fn size(&mut self, id: ValueId, axis: usize) -> Followed<Value> {
        let dims = self.dims(id)?;
        if let Some(n) = dims[axis].known() {
            return Ok(Value::Int(n as i64));
        }
        if let Some(v) = self.sizes.get(&(id, axis)) {
            return Ok(Value::Symbol(*v));
        }
        let op = Op::Shape { start: axis as i64, end: Some(axis as i64 + 1) };
        let v = self.one(op, &[id])?;
        self.sizes.insert((id, axis), v);
        Ok(Value::Symbol(v))
    }

    /// All sizes.
    pub fn shape(&mut self, id: ValueId) -> Followed<Vec<Value>> {
        (0..self.rank(id)?).map(|a| self.size(id, a)).collect()
    }

    /// What is known of a size.
    pub fn dim(&mut self, v: &Value) -> Dim {
        match v {
            Value::Int(n) => usize::try_from(*n).map_or(Dim::Unknown, Dim::Known),
            Value::Symbol(id) => match self.tracker.elements(&self.graph, *id) {
                Some([d]) => d.clone(),
                _ => Dim::Unknown,
            },
            _ => Dim::Unknown,
        }
    }

    /// A number of one element and one axis, as an integer where it is known.
    pub fn settled(&mut self, id: ValueId) -> Value {
        if let Some(t) = self.constant(id) {
            let (truth, int) = (t.dtype() == DType::Bool, t.to_i64().and_then(|v| v.first().copied()));
            match (truth, int, t.to_f64().and_then(|v| v.first().copied())) {
                (true, Some(n), _) => return Value::Bool(n != 0),
                (false, Some(n), _) => return Value::Int(n),
                (_, None, Some(x)) => return Value::Float(x),
                _ => {}
            }
        }
        match self.tracker.elements(&self.graph, id) {
            Some([Dim::Known(n)]) => Value::Int(*n as i64),
            _ => Value::Symbol(id),
        }
    }

    /// A vector of integers of which some may be free.
    pub fn vector(&mut self, list: &[Value]) -> Followed<ValueId> {
        let known: Option<Vec<i64>> =
            list.iter().map(|v| if let Value::Int(n) = v { Some(*n) } else { None }).collect();
        if let Some(known) = known {
            return self.ints(&known);
        }
        let parts = list
            .iter()
            .map(|v| match v {
                Value::Int(n) => self.ints(&[*n]),
                Value::Symbol(id) if self.dtype(*id) == DType::I64 => Ok(*id),
                other => wrong(format!("{} where a size is expected", other.kind())),
            })
            .collect::<Followed<Vec<_>>>()?;
        self.one(Op::Concat { axis: 0 }, &parts)
    }

    /// The same elements under other sizes, of which one may be -1.
    pub fn reshape(&mut self, x: ValueId, list: &[Value]) -> Followed<ValueId> {
        let dims = self.dims(x)?;
        let mut list = list.to_vec();
        // A size that stays is written as 0, and the only other one that is free as -1: what exporters write.
        for (i, v) in list.iter_mut().enumerate() {
            let kept = matches!(v, Value::Symbol(_))
                && dims.get(i).is_some_and(|d| *d != Dim::Unknown && *d == self.dim(v));
            if kept {
                *v = Value::Int(0);
            }
        }
        let open = list.iter().filter(|v| matches!(v, Value::Symbol(_) | Value::Int(-1))).count();
        if open == 1 {
            for v in list.iter_mut().filter(|v| matches!(v, Value::Symbol(_))) {
                *v = Value::Int(-1);
            }
        }
        let zero_sized = dims.contains(&Dim::Known(0));
        if zero_sized && list.iter().any(|v| matches!(v, Value::Int(0))) {
            return wrong("a tensor without elements");
        }
        let target = self.vector(&list)?;
        self.one(Op::Reshape { allow_zero: false }, &[x, target])
    }

    /// Axes in another order; constants at once, whatever their size.
    pub fn transpose(&mut self, x: ValueId, perm: &[usize]) -> Followed<ValueId> {
        if perm.iter().enumerate().all(|(i, &p)| i == p) {
            return Ok(x);
        }
        let matrix = perm == [1, 0];
        if let (true, Some(t)) = (matrix, self.turned.get(&x)) {
            return Ok(*t);
        }
        let turned = self.constant(x).and_then(|t| permuted(t, perm));
        match turned {
            Some(t) => {
                let id = self.made(t)?;
                if matrix {
                    self.turned.insert(x, id);
                }
                Ok(id)
            }
            None => self.one(Op::Transpose { perm: perm.to_vec() }, &[x]),
        }
    }

    /// As this element type.
    pub fn cast(&mut self, x: ValueId, to: DType) -> Followed<ValueId> {
        if self.dtype(x) == to { Ok(x) } else { self.one(Op::Cast { to }, &[x]) }
    }

    /// The graph value of a tensor variable.
    pub fn id(&self, t: &Handle) -> Followed<ValueId> {
        match t.id() {
            Some(id) => Ok(id),
            None => wrong("it reads a tensor that was changed in place through another view of its memory"),
        }
    }

    /// A tensor variable of its own.
    pub fn tensor(&self, id: ValueId) -> Value {
        Value::Tensor(Handle::new(id))
    }
}

/// The type that values of `dtype` are computed in: float32, int64 or bool.
pub(crate) fn computed_type(dtype: DType) -> Option<DType> {
    match dtype {
        DType::F32 | DType::F64 | DType::F16 | DType::Bf16 => Some(DType::F32),
        DType::Bool => Some(DType::Bool),
        d if d.is_int() => Some(DType::I64),
        _ => None,
    }
}

/// A constant as the type that it is computed in.
fn computed(t: &Tensor) -> Result<Tensor> {
    let to = computed_type(t.dtype()).filter(|&to| to != t.dtype());
    let Some(to) = to else { return Ok(t.clone()) };
    let converted = match to {
        DType::F32 => t.to_f32().map(|v| Tensor::f32(t.dims(), &v)),
        _ => t.to_i64().map(|v| Tensor::i64(t.dims(), &v)),
    };
    converted.ok_or_else(|| Error::Pickle(format!("a constant of {}", t.dtype().name())))
}

/// A tensor with its axes in another order, for elements of whole bytes.
fn permuted(t: &Tensor, perm: &[usize]) -> Option<Tensor> {
    let width = t.dtype().bits() / 8;
    let dims: Vec<usize> = perm.iter().map(|&a| t.dims().get(a).copied()).collect::<Option<_>>()?;
    if width == 0 || t.is_empty() || dims.len() != t.dims().len() {
        return None;
    }
    let mut strides = vec![1; dims.len()];
    for i in (1..strides.len()).rev() {
        strides[i - 1] = strides[i] * t.dims()[i];
    }
    let strides: Vec<usize> = perm.iter().map(|&a| strides[a]).collect();
    let mut out = Vec::with_capacity(t.bytes().len());
    let mut index = vec![0usize; dims.len()];
    let mut at = 0;
    for _ in 0..t.len() {
        out.extend_from_slice(&t.bytes()[at * width..(at + 1) * width]);
        for k in (0..dims.len()).rev() {
            index[k] += 1;
            at += strides[k];
            if index[k] < dims[k] {
                break;
            }
            at -= strides[k] * dims[k];
            index[k] = 0;
        }
    }
    Tensor::from_bytes(t.dtype(), dims, Bytes::from(out)).ok()
}
