//! Single operators over shapes, axes and layouts against the reference; none of them may run in it.

use ampoule_engine::{Options, Session};
use ampoule_graph::op::*;
use ampoule_graph::{DType, Dim, Graph, Node, Op, Tensor, ValueId, eval};
use ampoule_testing::{known, random};

/// An input of the operator.
#[derive(Clone)]
enum Input {
    /// Computed values of these dimensions.
    Given(Vec<usize>),
    /// Computed values from 0 to below 3.
    Positive(Vec<usize>),
    /// Computed integers from `-below` to below `below`.
    Integers(Vec<usize>, i64),
    Constant(Tensor),
    Omitted,
}

use Input::{Constant, Given, Integers, Omitted, Positive};

fn ints(v: &[i64]) -> Input {
    Constant(Tensor::i64s(v))
}

fn scalar(v: f32) -> Input {
    Constant(Tensor::f32(&[], &[v]))
}

/// The graph of one operator, whose given inputs come through a transposition if `turned`, and its inputs.
fn graph(op: &Op, inputs: &[Input], outputs: usize, turned: bool) -> (Graph, Vec<Tensor>) {
    let mut g = Graph::new("operator");
    let mut given = Vec::new();
    let mut list = Vec::new();
    for (i, input) in inputs.iter().enumerate() {
        let (dims, dtype) = match input {
            Constant(t) => {
                list.push(Some(g.constant("constant", t.clone())));
                continue;
            }
            Omitted => {
                list.push(None);
                continue;
            }
            Given(d) | Positive(d) => (d.clone(), DType::F32),
            Integers(d, _) => (d.clone(), DType::I64),
        };
        let turned = turned && dims.len() > 1;
        let own: Vec<usize> = if turned { dims.iter().rev().copied().collect() } else { dims.clone() };
        let id = g.fresh(&format!("x{i}"));
        g.values[id.0].dtype = Some(dtype);
        g.values[id.0].shape = Some(known(&own));
        g.inputs.push(id);
        let v = random(own.iter().product(), 7 + i as u64);
        given.push(match input {
            Integers(_, below) => {
                let whole: Vec<i64> = v.iter().map(|x| (x * *below as f32).floor() as i64).collect();
                Tensor::i64(&own, &whole)
            }
            Positive(_) => Tensor::f32(&own, &v.iter().map(|x| x.abs() * 3.0).collect::<Vec<_>>()),
            _ => Tensor::f32(&own, &v.iter().map(|x| x * 3.0).collect::<Vec<_>>()),
        });
        list.push(Some(match turned {
            true => node(&mut g, Op::Transpose { perm: vec![] }, vec![Some(id)], 1)[0],
            false => id,
        }));
    }
    g.outputs = node(&mut g, op.clone(), list, outputs);
    (g, given)
}

fn node(g: &mut Graph, op: Op, inputs: Vec<Option<ValueId>>, outputs: usize) -> Vec<ValueId> {
    let ids: Vec<ValueId> = (0..outputs).map(|_| g.fresh("y")).collect();
    let outputs = ids.iter().copied().map(Some).collect();
    g.nodes.push(Node { name: "n".into(), op, inputs, outputs });
    ids
}

fn close(got: &Tensor, want: &Tensor, what: &str) {
    assert_eq!((got.dims(), got.dtype()), (want.dims(), want.dtype()), "{what}");
    let (a, b) = (got.to_f64().unwrap(), want.to_f64().unwrap());
    let most = if got.dtype().is_int() { 0.0 } else { 3e-5 };
    for (i, (x, y)) in a.iter().zip(&b).enumerate() {
        let fits = x == y || (x.is_nan() && y.is_nan()) || (x - y).abs() <= most * y.abs().max(1.0);
        assert!(fits, "{what}: element {i} is {x} instead of {y}");
    }
}

/// Runs an operator both ways; what it computes must not depend on the layout, nor its bits on threads.
fn check(op: Op, inputs: &[Input], outputs: usize) {
    for turned in [false, true] {
        let dims: Vec<Vec<usize>> = inputs
            .iter()
            .filter_map(|i| match i {
                Given(d) | Positive(d) | Integers(d, _) => Some(d.clone()),
                Constant(t) => Some(t.dims().to_vec()),
                Omitted => None,
            })
            .collect();
        let what = format!("{op:?} of {dims:?}{}", if turned { ", transposed" } else { "" });
        let (g, given) = graph(&op, inputs, outputs, turned);
        let mut inferred = g.clone();
        ampoule_graph::infer::infer(&mut inferred).unwrap_or_else(|e| panic!("{what}: {e}"));
        let want = eval::run(&inferred, &given).unwrap_or_else(|e| panic!("{what}: {e}"));
        let shapes: Vec<Vec<usize>> = given.iter().map(|t| t.dims().to_vec()).collect();
        let mut first: Option<Vec<Vec<f32>>> = None;
        for threads in [1, 3] {
            let options = Options { isa: ampoule_testing::asked_tier(), threads, ..Options::default() };
            let mut s = Session::new(g.clone(), &shapes, &options).unwrap_or_else(|e| panic!("{what}: {e}"));
            let slow: Vec<String> =
                s.steps().into_iter().filter(|s| s.kernel == "reference").map(|s| s.op).collect();
            assert!(slow.is_empty(), "{what}: {slow:?} runs in the reference");
            let got = s.run_tensors(&given).unwrap_or_else(|e| panic!("{what}: {e}"));
            got.iter().zip(&want).for_each(|(g, w)| close(g, w, &what));
            let bits: Vec<Vec<f32>> = got.iter().map(|t| t.to_f32().unwrap()).collect();
            let same = |a: &[f32], b: &[f32]| a.iter().zip(b).all(|(a, b)| a.to_bits() == b.to_bits());
            let first = first.get_or_insert_with(|| bits.clone());
            assert!(
                first.iter().zip(&bits).all(|(a, b)| same(a, b)),
                "{what}: other bits with {threads} threads"
            );
        }
    }
}

/// Shapes of every rank, with odd sizes and batches.
fn shapes() -> Vec<Vec<usize>> {
    [&[37][..], &[3, 70], &[2, 5, 33], &[2, 19, 7, 6], &[2, 3, 4, 5, 6]].map(<[usize]>::to_vec).to_vec()
}

/// All non-empty sets of axes.
fn sets(rank: usize) -> Vec<Vec<i64>> {
    (1..1usize << rank).map(|m| (0..rank).filter(|i| m >> i & 1 == 1).map(|i| i as i64).collect()).collect()
}

#[test]
fn reductions_over_any_axes() {
    for (d, kind) in shapes().iter().flat_map(|d| Reduction::ALL.iter().map(move |k| (d, *k))) {
        for (i, set) in sets(d.len()).iter().enumerate() {
            // A product of many values is 0 or far too large.
            if kind == Reduction::Prod && set.iter().map(|a| d[*a as usize]).product::<usize>() > 20 {
                continue;
            }
            let op = Op::Reduce { kind, keep_dims: i % 2 == 0, noop_with_empty_axes: false };
            // The logarithm of a sum that cancels has few right digits.
            let x = if kind == Reduction::LogSum { Positive(d.clone()) } else { Given(d.clone()) };
            check(op, &[x, ints(set)], 1);
        }
    }
    let all = Op::Reduce { kind: Reduction::LogSumExp, keep_dims: false, noop_with_empty_axes: false };
    check(all.clone(), &[Given(vec![400_000])], 1);
    check(all, &[Given(vec![3, 50_000]), ints(&[1])], 1);
    // Few results of many values, whose parts are joined.
    for (kind, set) in [(Reduction::Mean, [2, 3]), (Reduction::Max, [1, 2]), (Reduction::L2, [1, 3])] {
        let op = Op::Reduce { kind, keep_dims: true, noop_with_empty_axes: false };
        check(op, &[Given(vec![1, 20, 130, 70]), ints(&set)], 1);
    }
    let whole = Op::Reduce { kind: Reduction::Max, keep_dims: true, noop_with_empty_axes: false };
    check(whole, &[Integers(vec![2, 5, 7], 100), ints(&[0, 2])], 1);
}

#[test]
fn extremes_sums_and_softmax_along_any_axis() {
    for d in shapes() {
        for axis in 0..d.len() as i64 {
            for (max, keep_dims, last) in [(true, true, false), (false, false, true)] {
                check(Op::ArgExtreme { max, axis, keep_dims, last }, &[Given(d.clone())], 1);
            }
            let k = (d[axis as usize] / 2 + 1) as i64;
            check(Op::TopK { axis, largest: axis % 2 == 0 }, &[Given(d.clone()), ints(&[k])], 2);
            let op = Op::CumSum { exclusive: axis % 2 == 0, reverse: axis % 3 == 0 };
            check(op, &[Given(d.clone()), Constant(Tensor::i64(&[], &[axis - d.len() as i64]))], 1);
            check(Op::Softmax { axis, log: true }, &[Given(d.clone())], 1);
        }
    }
}

#[test]
fn padding_in_every_mode() {
    for mode in [PadMode::Constant, PadMode::Reflect, PadMode::Edge, PadMode::Wrap] {
        for d in shapes() {
            let before: Vec<i64> = (0..d.len()).map(|i| (d[i] as i64 - 1).min(i as i64 % 3)).collect();
            let after: Vec<i64> = (0..d.len()).map(|i| (d[i] as i64 - 1).min(2 - i as i64)).collect();
            check(Op::Pad { mode }, &[Given(d.clone()), ints(&[before, after].concat()), scalar(0.5)], 1);
        }
    }
    check(
        Op::Pad { mode: PadMode::Constant },
        &[Given(vec![1, 3, 6, 7]), ints(&[0, 0, -1, 2, 0, 0, -2, 0])],
        1,
    );
    let axes = [Given(vec![1, 3, 6, 7]), ints(&[2, 1]), Omitted, ints(&[-1])];
    check(Op::Pad { mode: PadMode::Edge }, &axes, 1);
}

#[test]
fn gathered_and_scattered_elements() {
    for d in shapes() {
        for axis in 0..d.len() as i64 {
            let n = d[axis as usize] as i64;
            for index in [vec![n - 1], vec![0, n - 1, n / 2, -1], vec![n - 1, 0], (0..n).rev().collect()] {
                check(Op::Gather { axis }, &[Given(d.clone()), ints(&index)], 1);
            }
            let op = Op::Gather { axis };
            check(op.clone(), &[Given(d.clone()), Constant(Tensor::i64(&[], &[-n]))], 1);
            check(op.clone(), &[Given(d.clone()), Constant(Tensor::i64(&[2, 2], &[0, n - 1, 1 - n, 0]))], 1);
            check(op.clone(), &[Given(d.clone()), Integers(vec![5], n)], 1);
            check(op, &[Given(d.clone()), Integers(vec![2, 3], n)], 1);
            let mut part = d.clone();
            part[axis as usize] = 3;
            if axis > 0 {
                part[0] = 1;
            }
            let op = Op::Indexed(Indexed::GatherElements { axis });
            check(op, &[Given(d.clone()), Integers(part.clone(), n)], 1);
            for (_, reduction) in Scatter::ALL {
                let op = Op::Indexed(Indexed::ScatterElements { axis, reduction });
                check(op, &[Given(d.clone()), Integers(part.clone(), n), Given(part.clone())], 1);
            }
        }
    }
}

#[test]
fn gathered_and_scattered_slices() {
    let d = vec![4, 5, 4, 3];
    for (batch_dims, index) in
        [(0, vec![2, 3, 1]), (0, vec![7, 3]), (0, vec![3, 4]), (1, vec![4, 2, 2]), (2, vec![4, 5, 3, 1])]
    {
        let op = Op::Indexed(Indexed::GatherNd { batch_dims });
        check(op.clone(), &[Given(d.clone()), Integers(index.clone(), 3)], 1);
        let count = index.iter().product();
        let list: Vec<i64> = random(count, 3).iter().map(|x| (x * 3.0).floor() as i64).collect();
        check(op, &[Given(d.clone()), Constant(Tensor::i64(&index, &list))], 1);
    }
    for (_, reduction) in Scatter::ALL {
        let op = Op::Indexed(Indexed::ScatterNd { reduction });
        check(op.clone(), &[Given(d.clone()), Integers(vec![6, 2], 4), Given(vec![6, 4, 3])], 1);
        check(op, &[Given(d.clone()), Integers(vec![3, 4], 3), Given(vec![3])], 1);
    }
}

#[test]
fn moved_and_repeated_blocks() {
    for (c, h, w, block) in [(8, 5, 3, 2), (27, 2, 4, 3)] {
        for column_row in [false, true] {
            check(Op::DepthToSpace { block, column_row }, &[Given(vec![2, c, h, w])], 1);
        }
        check(Op::SpaceToDepth { block }, &[Given(vec![2, 3, h * block, w * block])], 1);
    }
    for d in shapes() {
        let repeats: Vec<i64> = (0..d.len() as i64).map(|i| 1 + i % 3).collect();
        check(Op::Tile, &[Given(d.clone()), ints(&repeats)], 1);
    }
    check(Op::Trilu { upper: true }, &[Given(vec![2, 5, 7]), Constant(Tensor::i64(&[], &[-1]))], 1);
    check(Op::Trilu { upper: false }, &[Given(vec![5, 4])], 1);
}

#[test]
fn powers_and_other_functions() {
    let d = vec![2, 5, 6, 7];
    for e in [2.0, 1.0, 3.0, 4.0, -1.0, -2.0, 2.5, 0.0] {
        check(Op::Binary(Binary::Pow), &[Given(d.clone()), scalar(e)], 1);
    }
    for e in [0.5, -0.5, 1.7] {
        check(Op::Binary(Binary::Pow), &[Positive(vec![33, 4]), scalar(e)], 1);
    }
    check(Op::Binary(Binary::Pow), &[Given(d.clone()), Given(vec![5, 1, 1])], 1);
    for u in Unary::ALL {
        // These are predicates of booleans and have no floating-point form.
        if *u != Unary::Not {
            check(Op::Unary(*u), &[Given(vec![2, 3, 7, 5])], 1);
        }
    }
    for b in [Binary::Equal, Binary::Less, Binary::GreaterOrEqual, Binary::PRelu, Binary::Mod { fmod: true }]
    {
        check(Op::Binary(b), &[Given(d.clone()), Given(vec![5, 1, 7])], 1);
    }
    for b in [Binary::Add, Binary::Mul, Binary::Div, Binary::Less] {
        check(Op::Binary(b), &[Integers(d.clone(), 9), Integers(vec![7], 9)], 1);
    }
    for v in Variadic::ALL {
        check(Op::Variadic(*v), &[Given(d.clone()), Given(vec![5, 1, 1]), Given(vec![7])], 1);
        check(Op::Variadic(*v), &[Given(d.clone()), Given(d.clone())], 1);
    }
    let condition = Constant(Tensor::from_i64(DType::Bool, &[6, 1], &[1, 0, 0, 1, 0, 1]).unwrap());
    check(Op::Where, &[condition, Given(d.clone()), Given(vec![5, 1, 1])], 1);
    check(Op::Clip, &[Given(d.clone()), Given(vec![]), Omitted], 1);
    for to in [DType::I64, DType::Bool, DType::U8] {
        check(Op::Cast { to }, &[Integers(d.clone(), 9)], 1);
    }
    check(Op::Cast { to: DType::I32 }, &[Given(d)], 1);
}

#[test]
fn products_of_any_form() {
    for (a, b) in [
        (vec![5], vec![5]),
        (vec![5], vec![2, 5, 3]),
        (vec![2, 4, 5], vec![5]),
        (vec![2, 1, 4, 5], vec![3, 5, 7]),
    ] {
        check(Op::MatMul, &[Given(a), Given(b)], 1);
    }
    for (trans_a, trans_b) in [(false, false), (true, false), (false, true), (true, true)] {
        let op = Op::Gemm { alpha: 0.5, beta: 2.0, trans_a, trans_b };
        let (a, b) = (if trans_a { [6, 4] } else { [4, 6] }, if trans_b { [5, 6] } else { [6, 5] });
        check(op.clone(), &[Given(a.to_vec()), Given(b.to_vec()), Given(vec![5])], 1);
        check(op, &[Given(a.to_vec()), Given(b.to_vec())], 1);
    }
    for (equation, dims) in [
        ("blxd,blyd->blxy", vec![vec![2, 3, 4, 5], vec![2, 3, 6, 5]]),
        ("bhxy,bhyd->bhxd", vec![vec![2, 3, 4, 5], vec![2, 3, 5, 6]]),
        ("bhwc,hkc->bhwk", vec![vec![2, 3, 4, 5], vec![3, 6, 5]]),
        ("nhw,ixh->nixw", vec![vec![3, 4, 5], vec![2, 6, 4]]),
        ("...ij,...jk", vec![vec![2, 1, 3, 4], vec![5, 4, 6]]),
        ("ij,jk,kl->il", vec![vec![2, 3], vec![3, 4], vec![4, 5]]),
        ("ii->i", vec![vec![4, 4]]),
        ("ii", vec![vec![4, 4]]),
        ("ijk->ki", vec![vec![2, 3, 4]]),
        ("i,j->ij", vec![vec![3], vec![4]]),
        ("i,i", vec![vec![7], vec![7]]),
        ("ij,ij->j", vec![vec![3, 4], vec![3, 4]]),
        ("ab,cd->bd", vec![vec![2, 3], vec![4, 5]]),
        ("aab,b->a", vec![vec![3, 3, 4], vec![4]]),
    ] {
        let inputs: Vec<Input> = dims.into_iter().map(Given).collect();
        check(Op::Einsum { equation: equation.into() }, &inputs, 1);
    }
}

#[test]
fn samples_at_computed_positions() {
    for between in [Between::Nearest, Between::Linear, Between::Cubic] {
        for (outside, align_corners) in [
            (Outside::Zeros, false),
            (Outside::Border, true),
            (Outside::Reflection, false),
            (Outside::Reflection, true),
        ] {
            let op = Op::GridSample(GridSample { between, outside, align_corners });
            check(op.clone(), &[Given(vec![2, 5, 6, 7]), Given(vec![2, 4, 3, 2])], 1);
            check(op, &[Given(vec![1, 19, 4, 5, 6]), Given(vec![1, 3, 2, 4, 3])], 1);
        }
    }
}

#[test]
fn resampling_of_any_axes() {
    let resize = |interpolation| {
        Op::Resize(Resize {
            interpolation,
            coordinates: Coordinates::Asymmetric,
            antialias: false,
            axes: vec![],
            aspect: 0,
        })
    };
    for nearest in [Nearest::Floor, Nearest::RoundPreferFloor] {
        let op = resize(Interpolation::Nearest(nearest));
        let scales = |s: &[f32]| Constant(Tensor::f32(&[s.len()], s));
        check(op.clone(), &[Given(vec![3, 5]), Omitted, scales(&[2.0, 1.5])], 1);
        check(op.clone(), &[Given(vec![1, 3, 5, 4]), Omitted, scales(&[1.0, 2.0, 2.0, 0.5])], 1);
        check(op, &[Given(vec![1, 3, 5]), Omitted, scales(&[1.0, 1.0, 3.0])], 1);
    }
}

#[test]
fn recurrent_layers() {
    let (steps, batch, size, hidden) = (7, 3, 5, 6);
    let constant = |dims: &[usize], seed| Constant(Tensor::f32(dims, &random(dims.iter().product(), seed)));
    for cell in [
        Cell::Lstm,
        Cell::Gru { linear_before_reset: false },
        Cell::Gru { linear_before_reset: true },
        Cell::Rnn,
    ] {
        for direction in [Direction::Forward, Direction::Reverse, Direction::Bidirectional] {
            let rule = Recurrent { cell, direction, hidden };
            let (d, rows) = (rule.directions().len(), rule.gates() * hidden);
            let mut inputs = vec![
                Given(vec![steps, batch, size]),
                constant(&[d, rows, size], 1),
                constant(&[d, rows, hidden], 2),
            ];
            let outputs = if cell == Cell::Lstm { 3 } else { 2 };
            check(Op::Recurrent(rule), &inputs, outputs);
            inputs.extend([constant(&[d, 2 * rows], 3), Omitted, constant(&[d, batch, hidden], 4)]);
            if cell == Cell::Lstm {
                inputs.push(constant(&[d, batch, hidden], 5));
            }
            check(Op::Recurrent(rule), &inputs, outputs);
        }
    }
}

#[test]
fn global_pooling_and_normalisation_of_any_rank() {
    for d in [vec![2, 5, 9], vec![1, 3, 2, 3, 2, 2], vec![2, 7, 5, 6]] {
        check(Op::GlobalAveragePool, &[Given(d.clone())], 1);
        check(Op::GlobalMaxPool, &[Given(d)], 1);
    }
}

/// Models that once ran in the reference or did not load.
#[test]
fn shared_cases_run_in_kernels() {
    let Some(folder) = ampoule_testing::shared("cases/engine") else { return };
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().flatten().map(|e| e.path()).collect();
    files.retain(|p| p.extension().is_some_and(|e| e == "onnx"));
    files.sort();
    assert!(files.len() > 30, "{} models", files.len());
    let mut slow = Vec::new();
    for path in files {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let g = ampoule_onnx::read_file(&path).unwrap_or_else(|e| panic!("{name}: {e}"));
        let size = |d: &Dim| d.known().unwrap_or(1);
        let shapes: Vec<Vec<usize>> =
            g.inputs.iter().map(|i| g.value(*i).shape.as_ref().unwrap().iter().map(size).collect()).collect();
        let options = Options { isa: ampoule_testing::asked_tier(), threads: 2, ..Options::default() };
        let s = Session::new(g, &shapes, &options).unwrap_or_else(|e| panic!("{name}: {e}"));
        let steps = s.steps().into_iter().filter(|s| s.kernel == "reference");
        slow.extend(steps.map(|s| format!("{name}: {} ({})", s.node, s.op)));
    }
    assert!(slow.is_empty(), "these run in the reference:\n{}", slow.join("\n"));
}

/// Inputs and outputs by `scripts/golden_operators.py`.
#[test]
fn operators_match_onnx_runtime() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/operators");
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().flatten().map(|e| e.path()).collect();
    files.sort();
    assert!(files.len() > 100, "{} models", files.len());
    let mut failures = Vec::new();
    for path in files {
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        let g = ampoule_onnx::read_file(&path).unwrap_or_else(|e| panic!("{name}: {e}"));
        let list = |label: &str| -> Vec<Tensor> {
            let named = |i: usize| g.constants.get(&g.value_named(&format!("{label} {i}"))?).cloned();
            (0..).map_while(named).collect()
        };
        let (given, expected) = (list("given"), list("expected"));
        assert!(!given.is_empty() && expected.len() == g.outputs.len(), "{name} holds no values");
        let shapes: Vec<Vec<usize>> = given.iter().map(|t| t.dims().to_vec()).collect();
        let options = Options { isa: ampoule_testing::asked_tier(), threads: 2, ..Options::default() };
        let run = || -> Result<Vec<Tensor>, String> {
            let mut s = Session::new(g.clone(), &shapes, &options).map_err(|e| e.to_string())?;
            if let Some(slow) = s.steps().iter().find(|s| s.kernel == "reference") {
                return Err(format!("{} runs in the reference", slow.op));
            }
            s.run_tensors(&given).map_err(|e| e.to_string())
        };
        match run() {
            Err(e) => failures.push(format!("{name}: {e}")),
            Ok(got) => failures.extend(got.iter().zip(&expected).filter_map(|(g, w)| differs(g, w, &name))),
        }
    }
    assert!(failures.is_empty(), "{} cases:\n{}", failures.len(), failures.join("\n"));
}

/// Where `got` is not `want`.
fn differs(got: &Tensor, want: &Tensor, name: &str) -> Option<String> {
    if got.dims() != want.dims() {
        return Some(format!("{name}: {:?} instead of {:?}", got.dims(), want.dims()));
    }
    let (a, b) = (got.to_f64()?, want.to_f64()?);
    let bad = |(x, y): (&f64, &f64)| x != y && (x - y).abs() > 5e-5 * y.abs().max(1.0);
    let at = a.iter().zip(&b).position(bad)?;
    Some(format!("{name}: element {at} is {} instead of {}", a[at], b[at]))
}
