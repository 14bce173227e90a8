//! Networks drawn at random: every byte decides something, so that a fuzzer can steer, and a seed can draw.

mod features;
mod layers;
mod tokens;

use crate::{Network, Random, asked_tier, known};
use ampoule_graph::{Graph, ValueId};
use std::ops::Range;

/// Values of one tensor in a drawn network; more would make the float64 reference slow.
const MOST_VALUES: usize = 40_000;
/// Layers of a drawn network.
const MOST_LAYERS: usize = 14;

/// A drawn network.
pub struct Drawn {
    /// The graph, with one input `x` and one output `y`.
    pub graph: Graph,
    /// Sizes of the input: batch, channels, and one to three axes of space.
    pub dims: Vec<usize>,
    /// What was drawn, layer by layer, for messages.
    pub layers: Vec<String>,
    /// Whether a normalisation over few values, an exponential or a division may magnify rounding errors.
    pub sensitive: bool,
}

/// The network of these bytes; `None` where they end before a first layer.
pub fn drawn(bytes: &[u8]) -> Option<Drawn> {
    let mut of = Draw::new(bytes)?;
    while of.layers.len() < MOST_LAYERS && !of.bytes.is_over() {
        of.layer();
    }
    of.finish()
}

/// The network of a seed.
pub fn drawn_by(seed: u64) -> Drawn {
    let mut random = Random::at(&[0xD2A3, seed]);
    loop {
        let count = 20 + random.below(100);
        let bytes: Vec<u8> = (0..count).map(|_| random.below(256) as u8).collect();
        // Layers that do not suit the sizes are left out, which may be all of them.
        if let Some(found) = drawn(&bytes) {
            return found;
        }
    }
}

/// The seeds of a test: those that `AMPOULE_DRAWN=FROM..TO` asks for, else the first `count`, of which a third on another
/// feature set than the best of this CPU.
pub fn drawn_seeds(count: u64) -> Range<u64> {
    let best = ampoule_kernels::available().last().map(|f| f.name());
    let other = asked_tier().is_some_and(|asked| Some(asked.as_str()) != best);
    let asked = std::env::var("AMPOULE_DRAWN").ok();
    let ends = asked.as_deref().map(|a| a.split_once("..").expect("AMPOULE_DRAWN=FROM..TO"));
    let usual = 0..if other { count / 3 } else { count };
    ends.map_or(usual, |(a, b)| a.parse().expect("a seed")..b.parse().expect("a seed"))
}

/// Bytes that decide; zeros once they are over.
struct Decisions<'a>(&'a [u8]);

impl Decisions<'_> {
    fn is_over(&self) -> bool {
        self.0.is_empty()
    }

    /// From 0 to below `n`.
    fn below(&mut self, n: usize) -> usize {
        let Some((&first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        usize::from(first) % n.max(1)
    }

    fn one_of<T: Copy>(&mut self, list: &[T]) -> T {
        list[self.below(list.len())]
    }

    fn coin(&mut self) -> bool {
        self.below(2) == 1
    }
}

/// A network that is being drawn: the value that the next layer takes, and those that later layers may go back to.
struct Draw<'a> {
    bytes: Decisions<'a>,
    net: Network,
    input: Vec<usize>,
    x: ValueId,
    /// Sizes of `x`: batch, channels, space.
    dims: Vec<usize>,
    kept: Vec<(ValueId, Vec<usize>)>,
    layers: Vec<String>,
    sensitive: bool,
}

impl<'a> Draw<'a> {
    fn new(bytes: &'a [u8]) -> Option<Self> {
        let mut bytes = Decisions(bytes);
        let axes = bytes.one_of(&[2, 2, 2, 3, 3, 1]);
        let channels = bytes.one_of(&[1, 3, 16, 4, 8, 32, 5, 33, 2, 48]);
        let most = [40, 20, 11][axes - 1];
        let mut dims = vec![bytes.one_of(&[1, 1, 1, 2, 3]), channels];
        dims.extend((0..axes).map(|_| 3 + bytes.below(most)));
        if bytes.is_over() {
            return None;
        }
        let mut net = Network::new("drawn", 7);
        let x = net.b.input("x", &known(&dims));
        let (kept, layers) = (Vec::new(), Vec::new());
        Some(Draw { bytes, net, input: dims.clone(), x, dims, kept, layers, sensitive: false })
    }

    /// Axes of space.
    fn axes(&self) -> usize {
        self.dims.len() - 2
    }

    /// `x` is now `value`, of these sizes, made by `what`.
    fn becomes(&mut self, value: ValueId, dims: Vec<usize>, what: String) {
        self.layers.push(format!("{what} -> {dims:?}"));
        (self.x, self.dims) = (value, dims);
    }

    fn finish(mut self) -> Option<Drawn> {
        if self.layers.is_empty() {
            return None;
        }
        self.head();
        self.net.b.output(self.x, "y", &known(&self.dims));
        Some(Drawn {
            graph: self.net.b.finish(),
            dims: self.input,
            layers: self.layers,
            sensitive: self.sensitive,
        })
    }
}
