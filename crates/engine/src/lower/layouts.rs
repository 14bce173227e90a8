//! Which axis of a value lies innermost where the operators around it read and write it: channels for
//! images, the last axis for the rows of matrix products and layer normalisations.
//!
//! Element-wise operators want nothing themselves, so the values around them agree, and the most
//! operators among them decide. What reaches only transpositions and reshapes follows what lies beyond.

use ampoule_graph::infer::axis;
use ampoule_graph::{Graph, Node, Op, ValueId};

/// What lies innermost.
#[derive(Clone, Copy, PartialEq)]
enum Inner {
    Channels,
    Last,
}

/// For each value whether it lies row-major, and not channels-last.
pub(super) fn row_major(graph: &Graph) -> Vec<bool> {
    let mut sets = Sets::new(graph);
    for n in &graph.nodes {
        sets.join(n);
    }
    let mut votes = vec![0i64; graph.values.len()];
    for n in &graph.nodes {
        for (v, inner) in wanted(graph, n) {
            votes[sets.root(v.0)] += if inner == Inner::Last { 1 } else { -1 };
        }
    }
    let mut inner: Vec<Option<Inner>> = votes
        .iter()
        .map(|&v| match v {
            0 => None,
            v if v > 0 => Some(Inner::Last),
            _ => Some(Inner::Channels),
        })
        .collect();
    while spread(graph, &mut sets, &mut inner) {}
    (0..graph.values.len()).map(|v| inner[sets.root(v)] == Some(Inner::Last)).collect()
}

fn rank(graph: &Graph, v: ValueId) -> usize {
    graph.value(v).shape.as_ref().map_or(0, Vec::len)
}

/// Values that lie alike: a forest of parents.
struct Sets<'g> {
    graph: &'g Graph,
    parent: Vec<usize>,
}

impl<'g> Sets<'g> {
    fn new(graph: &'g Graph) -> Self {
        Sets { graph, parent: (0..graph.values.len()).collect() }
    }

    fn root(&mut self, mut v: usize) -> usize {
        while self.parent[v] != v {
            self.parent[v] = self.parent[self.parent[v]];
            v = self.parent[v];
        }
        v
    }

    /// Joins what `n` reads and writes element by element or moves along axes that stay.
    fn join(&mut self, n: &Node) {
        use Op::{Binary, Cast, Clip, Concat, Expand, Identity, Pad, Slice, Split, Unary, Variadic, Where};
        let alike =
            matches!(n.op, Unary(_) | Binary(_) | Variadic(_) | Clip | Where | Cast { .. } | Identity);
        let moved = matches!(n.op, Concat { .. } | Expand | Pad { .. } | Slice | Split { .. });
        let quantizer = matches!(n.op, Op::Quantize { .. } | Op::Dequantize { .. });
        let Some(y) = n.outputs.iter().flatten().next().copied() else { return };
        let graph = self.graph;
        let joined = |v: &ValueId| rank(graph, *v) == rank(graph, y) && !graph.constants.contains_key(v);
        let inputs = match (alike || matches!(n.op, Concat { .. }), moved || quantizer) {
            (true, _) => &n.inputs[..],
            (false, true) => &n.inputs[..n.inputs.len().min(1)],
            (false, false) => return,
        };
        for v in inputs.iter().chain(&n.outputs).flatten().copied().filter(joined) {
            let (a, b) = (self.root(v.0), self.root(y.0));
            self.parent[a] = b;
        }
    }
}

/// What the node wants of its inputs and outputs.
fn wanted(graph: &Graph, n: &Node) -> Vec<(ValueId, Inner)> {
    use Op::{
        AveragePool, BatchNorm, Conv, ConvTranspose, DepthToSpace, Gemm, GlobalAveragePool, GlobalMaxPool,
    };
    use Op::{GridSample, GroupNorm, InstanceNorm, LayerNorm, MatMul, MaxPool, Resize, SpaceToDepth};
    let inner = match &n.op {
        Conv { .. } | ConvTranspose { .. } | MaxPool(_) | AveragePool(_) | Resize(_) => Inner::Channels,
        BatchNorm { .. } | InstanceNorm { .. } | GroupNorm { .. } => Inner::Channels,
        GlobalAveragePool | GlobalMaxPool | GridSample(_) => Inner::Channels,
        DepthToSpace { .. } | SpaceToDepth { .. } => Inner::Channels,
        LayerNorm { .. } | MatMul | Gemm { .. } => Inner::Last,
        Op::Softmax { axis: a, .. } => match n.input(0).map(|x| (axis(*a, rank(graph, x)), rank(graph, x))) {
            Some((Ok(a), rank)) if a + 1 == rank => Inner::Last,
            Some((Ok(1), _)) => Inner::Channels,
            _ => return Vec::new(),
        },
        _ => return Vec::new(),
    };
    let inputs = if matches!(n.op, MatMul | Gemm { .. }) { 2 } else { 1 };
    let image = |v: &ValueId| (3..=5).contains(&rank(graph, *v));
    let all = n.inputs.iter().take(inputs).chain(n.outputs.iter().take(1)).flatten().copied();
    all.filter(image).map(|v| (v, inner)).collect()
}

/// Carries decisions over transpositions and reshapes to values that have none; whether it carried any.
fn spread(graph: &Graph, sets: &mut Sets, inner: &mut [Option<Inner>]) -> bool {
    let mut changed = false;
    // Both ways, so that a long row of nodes takes one round.
    for n in graph.nodes.iter().chain(graph.nodes.iter().rev()) {
        let (Some(x), Some(y)) = (n.input(0), n.output()) else { continue };
        let (a, b) = (sets.root(x.0), sets.root(y.0));
        let found = match (inner[a], inner[b]) {
            (None, Some(i)) => backwards(graph, n, x, y, i).map(|i| (a, i)),
            (Some(i), None) => forwards(graph, n, x, y, i).map(|i| (b, i)),
            _ => None,
        };
        if let Some((set, i)) = found {
            inner[set] = Some(i);
            changed = true;
        }
    }
    changed
}

/// The axis that `i` names in a value of `rank` axes.
fn named(i: Inner, rank: usize) -> Option<usize> {
    match i {
        Inner::Channels => Some(1),
        Inner::Last => rank.checked_sub(1),
    }
}

/// What innermost axis `k` of `rank` is called.
fn called(k: usize, rank: usize) -> Option<Inner> {
    match k {
        _ if k + 1 == rank => Some(Inner::Last),
        1 => Some(Inner::Channels),
        _ => None,
    }
}

/// What the input of `n` should be when its output is `i`.
fn backwards(graph: &Graph, n: &Node, x: ValueId, y: ValueId, i: Inner) -> Option<Inner> {
    match &n.op {
        Op::Transpose { perm } if perm.len() == rank(graph, x) => {
            called(*perm.get(named(i, perm.len())?)?, perm.len())
        }
        Op::Reshape { .. } | Op::Flatten { .. } | Op::Squeeze | Op::Unsqueeze => kept(graph, x, y, i),
        _ => None,
    }
}

/// What the output of `n` should be when its input is `i`.
fn forwards(graph: &Graph, n: &Node, x: ValueId, y: ValueId, i: Inner) -> Option<Inner> {
    match &n.op {
        Op::Transpose { perm } if perm.len() == rank(graph, x) => {
            let from = named(i, perm.len())?;
            called(perm.iter().position(|&p| p == from)?, perm.len())
        }
        Op::Reshape { .. } | Op::Flatten { .. } | Op::Squeeze | Op::Unsqueeze => kept(graph, x, y, i),
        _ => None,
    }
}

/// The innermost axis, where a reshape keeps it.
fn kept(graph: &Graph, x: ValueId, y: ValueId, i: Inner) -> Option<Inner> {
    let (a, b) = (graph.value(x).dims()?, graph.value(y).dims()?);
    let same = match i {
        Inner::Last => a.last() == b.last(),
        Inner::Channels => a.len() > 2 && b.len() > 2 && a[..2] == b[..2],
    };
    same.then_some(i)
}
