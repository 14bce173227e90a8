//! Operators inside small networks: outputs against the float64 reference, gradients against its differences.

mod drawn;

use ampoule_graph::build::Builder;
use ampoule_graph::op::{Binary, Op, PadMode, Reduction, Unary, Window};
use ampoule_graph::{Dim, Graph, Tensor, ValueId, eval, passes};
use ampoule_runtime::Pool;
use ampoule_testing::{random, relative_error, tiers};
use ampoule_train::{Machine, Net, Options, Role, build};
use std::sync::Arc;

/// Sizes of the images that all networks see.
const INPUT: [usize; 4] = [2, 3, 4, 6];

/// A network that ends in what `f` makes of four channels.
fn network(f: impl FnOnce(&mut Builder, ValueId) -> ValueId) -> Graph {
    let mut b = Builder::new("operators");
    let x = b.input("x", &INPUT.map(Dim::Known));
    let weight = Tensor::f32(&[4, 3, 1, 1], &random(12, 3));
    let h = b.conv(x, weight, Some(Tensor::f32(&[4], &random(4, 4))), Window::of(&[1, 1]));
    let y = f(&mut b, h);
    // What is not the name of a layer would be left out as a head.
    b.output(y, "y", &[]);
    let mut g = b.finish();
    let y = g.outputs[0];
    g.values[y.0].shape = None;
    g
}

/// Element `i`, in the network's order, of a value of sizes `dims` in the graph's: channels last for images.
fn in_graph_order(dims: &[usize], v: &[f32]) -> Vec<f32> {
    if !(3..=5).contains(&dims.len()) {
        return v.to_vec();
    }
    let (c, p) = (dims[1], dims[2..].iter().product::<usize>());
    let at = |i: usize| (i / (c * p) * p + i % p) * c + i / p % c;
    (0..v.len()).map(|i| v[at(i)]).collect()
}

/// The inverse of [`in_graph_order`].
fn in_network_order(dims: &[usize], v: &[f32]) -> Vec<f32> {
    let places = in_graph_order(dims, &(0..v.len()).map(|i| i as f32).collect::<Vec<_>>());
    let mut out = vec![0.0; v.len()];
    places.iter().zip(v).for_each(|(p, v)| out[*p as usize] = *v);
    out
}

fn net(g: &Graph) -> Net {
    let on = Machine::new(*tiers().last().unwrap(), Arc::new(Pool::new(2)));
    build(g, &[INPUT.to_vec()], on, &Options::default()).unwrap_or_else(|e| panic!("{e}"))
}

/// Σ y·r of the reference.
fn total(g: &Graph, x: &Tensor, r: &[f32]) -> f64 {
    let y = eval::run(g, std::slice::from_ref(x)).unwrap()[0].to_f64().unwrap();
    y.iter().zip(r).map(|(y, r)| y * *r as f64).sum()
}

fn check(name: &str, g: &Graph) {
    let mut g = g.clone();
    passes::trainable(&mut g).unwrap();
    let values = random(INPUT.iter().product(), 9);
    let x = Tensor::f32(&INPUT, &values);
    let mut n = net(&g);
    n.input(0).copy_from_slice(&in_network_order(&INPUT, &values));
    n.forward();
    let wanted = &eval::run(&g, std::slice::from_ref(&x)).unwrap()[0];
    let found = in_graph_order(wanted.dims(), n.output(0));
    let e = relative_error(&found, &wanted.to_f32().unwrap());
    assert!(e < 1e-5, "{name}: the output is off by {e}");
    let r = random(found.len(), 11);
    n.gradient(0).copy_from_slice(&in_network_order(wanted.dims(), &r));
    n.backward();
    let mut seen = 0;
    for p in n.params.list.iter().filter(|p| p.role != Role::Running && !p.name.is_empty()) {
        let id = g.value_named(&p.name).unwrap();
        let step = 1e-3;
        let slope = |i: usize| {
            let at = |by: f32| {
                let mut g = g.clone();
                let mut v = p.values.clone();
                v[i] += by;
                g.set_constant(id, Tensor::f32(&p.dims, &v));
                total(&g, &x, &r)
            };
            ((at(step) - at(-step)) / (2.0 * step as f64)) as f32
        };
        let wanted: Vec<f32> = (0..p.values.len()).map(slope).collect();
        // What a softmax does not change has no gradient but rounding.
        let size = wanted.iter().fold(0.5f32, |m, w| m.max(w.abs()));
        let e = p.grad.iter().zip(&wanted).fold(0f32, |m, (a, b)| m.max((a - b).abs())) / size;
        assert!(e < 5e-3, "{name}: the gradient of {} is off by {e}: {:?} {wanted:?}", p.name, p.grad);
        seen += 1;
    }
    assert!(seen >= 2, "{name}: {seen} parameters");
}

fn ints(b: &mut Builder, v: &[i64]) -> ValueId {
    b.constant("list", Tensor::i64s(v))
}

fn floats(b: &mut Builder, dims: &[usize], seed: u64) -> ValueId {
    // Away from 0, where quotients and slopes change too fast for differences.
    let values: Vec<f32> = random(dims.iter().product(), seed).iter().map(|v| v.abs() + 0.3).collect();
    b.constant("factors", Tensor::f32(dims, &values))
}

#[test]
fn moves_have_gradients() {
    let pad = |mode| {
        network(move |b, x| {
            let (pads, value) =
                (ints(b, &[0, 0, 1, 2, 0, 0, 2, 1]), b.constant("v", Tensor::f32(&[], &[0.5])));
            b.node(Op::Pad { mode }, &[x, pads, value])
        })
    };
    for mode in [PadMode::Constant, PadMode::Reflect, PadMode::Edge, PadMode::Wrap] {
        check(&format!("pad {mode:?}"), &pad(mode));
    }
    for column_row in [false, true] {
        let g = network(|b, x| b.node(Op::DepthToSpace { block: 2, column_row }, &[x]));
        check("depth to space", &g);
    }
    check("space to depth", &network(|b, x| b.node(Op::SpaceToDepth { block: 2 }, &[x])));
    check("transpose", &network(|b, x| b.node(Op::Transpose { perm: vec![0, 2, 3, 1] }, &[x])));
    let windows = network(|b, x| {
        // Windows of an image as transformers cut them: values of six axes.
        let (six, four) = (ints(b, &[2, 4, 2, 2, 3, 2]), ints(b, &[4, 4, 2, -1]));
        let v = b.node(Op::Reshape { allow_zero: false }, &[x, six]);
        let v = b.node(Op::Transpose { perm: vec![0, 2, 4, 3, 5, 1] }, &[v]);
        b.node(Op::Reshape { allow_zero: false }, &[v, four])
    });
    check("windows", &windows);
    let slice = network(|b, x| {
        let (starts, ends, axes, steps) = (ints(b, &[-1]), ints(b, &[-6]), ints(b, &[3]), ints(b, &[-2]));
        b.node(Op::Slice, &[x, starts, ends, axes, steps])
    });
    check("slice", &slice);
    let gather = network(|b, x| {
        let at = b.constant("at", Tensor::i64(&[2, 2], &[0, 3, 3, 1]));
        b.node(Op::Gather { axis: 1 }, &[x, at])
    });
    check("gather", &gather);
    let join = network(|b, x| {
        let own = floats(b, &[2, 4, 1, 6], 5);
        b.node(Op::Concat { axis: 2 }, &[x, own, x])
    });
    check("concat", &join);
    let expand = network(|b, x| {
        let (shape, axes) = (ints(b, &[2, 3, 1, 1]), ints(b, &[1]));
        let v = b.node(
            Op::Reduce { kind: Reduction::Sum, keep_dims: false, noop_with_empty_axes: false },
            &[x, axes],
        );
        let v = b.node(Op::Unsqueeze, &[v, axes]);
        b.node(Op::Expand, &[v, shape])
    });
    check("expand", &expand);
}

#[test]
fn functions_of_any_sizes_have_gradients() {
    for op in [Binary::Add, Binary::Sub, Binary::Mul, Binary::Div, Binary::PRelu] {
        for dims in [&[4usize, 1, 1][..], &[6], &[1, 1, 4, 1], &[2, 4, 4, 6], &[]] {
            let g = network(|b, x| {
                let k = floats(b, dims, 6);
                b.node(Op::Binary(op), &[x, k])
            });
            check(&format!("{op:?} {dims:?}"), &g);
        }
    }
    let computed = network(|b, x| {
        let axes = ints(b, &[3]);
        let mean = b.node(
            Op::Reduce { kind: Reduction::Mean, keep_dims: true, noop_with_empty_axes: false },
            &[x, axes],
        );
        let centred = b.node(Op::Binary(Binary::Sub), &[x, mean]);
        let e = b.unary(centred, Unary::Exp);
        let root = b.unary(e, Unary::Sqrt);
        b.node(Op::Binary(Binary::Div), &[centred, root])
    });
    check("a normalisation written out", &computed);
    use Reduction::{L1, L2, LogSum, Max, Mean, Min, Sum, SumSquare};
    for kind in [Sum, Mean, L1, L2, SumSquare, LogSum, Max, Min] {
        for list in [&[1][..], &[3, 2], &[0, 2, 3], &[]] {
            let g = network(|b, x| {
                let axes = ints(b, list);
                // A logarithm is of what is above 0.
                let x = if kind == LogSum { b.unary(x, Unary::Exp) } else { x };
                b.node(Op::Reduce { kind, keep_dims: true, noop_with_empty_axes: false }, &[x, axes])
            });
            check(&format!("{kind:?} over {list:?}"), &g);
        }
    }
    for u in [
        Unary::Neg,
        Unary::Exp,
        Unary::Abs,
        Unary::Softplus,
        Unary::Softsign,
        Unary::Sin,
        Unary::Cos,
        Unary::Gelu { tanh: true },
        Unary::Gelu { tanh: false },
        Unary::Selu { alpha: 1.673_263_2, gamma: 1.050_701 },
    ] {
        check(&format!("{u:?}"), &network(|b, x| b.unary(x, u)));
    }
}

/// Tokens of four features.
fn tokens(b: &mut Builder, x: ValueId) -> ValueId {
    let shape = ints(b, &[0, 4, -1]);
    let v = b.node(Op::Reshape { allow_zero: false }, &[x, shape]);
    b.node(Op::Transpose { perm: vec![0, 2, 1] }, &[v])
}

#[test]
fn normalisation_and_softmax_along_any_axis_have_gradients() {
    let norm = network(|b, x| {
        let t = tokens(b, x);
        let (s, h) = (floats(b, &[4], 7), floats(b, &[4], 8));
        b.node(Op::LayerNorm { axis: -1, epsilon: 1e-5 }, &[t, s, h])
    });
    check("layer norm", &norm);
    let image = network(|b, x| {
        let (s, h) = (floats(b, &[4, 4, 6], 7), floats(b, &[4, 4, 6], 8));
        b.node(Op::LayerNorm { axis: 1, epsilon: 1e-5 }, &[x, s, h])
    });
    check("layer norm of images", &image);
    for axis in [0, 2, 3] {
        let g = network(|b, x| {
            let v = b.node(Op::Softmax { axis, log: false }, &[x]);
            b.unary(v, Unary::Tanh)
        });
        check(&format!("softmax {axis}"), &g);
    }
}

#[test]
fn attention_has_gradients() {
    let block = |equations: bool| {
        network(move |b, x| {
            let t = tokens(b, x);
            let position = floats(b, &[1, 24, 4], 20);
            let t = b.add(t, position);
            let part = |b: &mut Builder, seed| {
                let w = floats(b, &[4, 4], seed);
                let v = b.node(Op::MatMul, &[t, w]);
                let bias = floats(b, &[4], seed + 1);
                let v = b.add(v, bias);
                let heads = ints(b, &[0, 0, 2, 2]);
                let v = b.node(Op::Reshape { allow_zero: false }, &[v, heads]);
                b.node(Op::Transpose { perm: vec![0, 2, 1, 3] }, &[v])
            };
            let (q, k, v) = (part(b, 21), part(b, 23), part(b, 25));
            let products = match equations {
                true => b.node(Op::Einsum { equation: "bhqd,bhkd->bhqk".into() }, &[q, k]),
                false => {
                    let turned = b.node(Op::Transpose { perm: vec![0, 1, 3, 2] }, &[k]);
                    b.node(Op::MatMul, &[q, turned])
                }
            };
            let scale = b.constant("scale", Tensor::f32(&[], &[0.7]));
            let products = b.node(Op::Binary(Binary::Mul), &[products, scale]);
            let weights = b.node(Op::Softmax { axis: -1, log: false }, &[products]);
            let out = b.node(Op::MatMul, &[weights, v]);
            let out = b.node(Op::Transpose { perm: vec![0, 2, 1, 3] }, &[out]);
            let joined = ints(b, &[0, 0, 4]);
            b.node(Op::Reshape { allow_zero: false }, &[out, joined])
        })
    };
    check("attention", &block(false));
    check("attention in Einstein sums", &block(true));
}
