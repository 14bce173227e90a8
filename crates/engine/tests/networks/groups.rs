//! Convolutions of narrow groups, several of which run as one.

use super::separable::{alike_everywhere, coded, convolution};
use ampoule_graph::Op;
use ampoule_graph::op::*;
use ampoule_testing::{Network, known};

/// Inputs and outputs of a group, groups, kernel, stride.
const CASES: [([usize; 2], usize, usize, usize); 9] = [
    ([2, 2], 24, 3, 1),
    ([4, 4], 10, 3, 1),
    ([4, 4], 9, 3, 2),
    ([8, 8], 4, 3, 1),
    ([8, 5], 7, 5, 1),
    ([3, 6], 8, 1, 1),
    ([16, 16], 3, 3, 2),
    ([6, 24], 4, 3, 1),
    ([40, 3], 5, 3, 1),
];

#[test]
fn narrow_groups_match_the_reference() {
    for (([inputs, outputs], group, kernel, stride), quantized) in
        CASES.into_iter().flat_map(|c| [(c, false), (c, true)])
    {
        let dims = [2, inputs * group, 19, 14];
        let mut n = Network::new("groups", 5);
        let x = n.b.input("x", &known(&dims));
        let x = coded(&mut n, quantized, x);
        let window = Window::of(&[kernel, kernel]).stride(stride).pad(kernel as i64 / 2);
        let weights = [outputs * group, inputs, kernel, kernel];
        let y = convolution(&mut n, quantized, x, weights, window, group);
        let y = n.b.node(Op::Unary(Unary::Relu), &[y]);
        let y = coded(&mut n, quantized, y);
        let side = |s: usize| (s - 1) / stride + 1;
        n.b.output(y, "y", &known(&[2, outputs * group, side(dims[2]), side(dims[3])]));
        let what = format!("{group} groups of {inputs} and {outputs}, kernel {kernel}, stride {stride}");
        alike_everywhere(&n.b.finish(), &dims, quantized, &what, |_| ());
    }
}
