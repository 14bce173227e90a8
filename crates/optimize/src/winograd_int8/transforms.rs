//! Quantized layers whose products may be taken in Winograd's transform domain, rounded there to INT8: 2.25 times fewer
//! of them, for a little more rounding. The quantization step of each transform position is chosen from the layers' own
//! inputs over calibration cases.

use ampoule_engine::winograd_int8::{Layers, Steps};
use ampoule_engine::{Observe, Observed};
use ampoule_graph::{Graph, Op, ValueId};
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};

/// Positions of the transform of a 4×4 tile.
const POINTS: usize = 16;
/// Magnitudes that transformed quantized values less their zero point have: up to 4 · 255.
const MAGNITUDES: usize = 1021;
/// Tiles of a tensor that are looked at each time, spread over it.
const TILES: usize = 1 << 17;

/// How often each magnitude occurred at each position.
type Counts = Vec<[u64; MAGNITUDES]>;

/// What the transforms of layers' inputs look like, as it is seen.
pub struct Transforms {
    /// Node, output and input of each layer.
    layers: Vec<(String, String, String)>,
    /// Scale and zero point by input.
    parameters: Arc<HashMap<String, (f32, f32)>>,
    seen: Arc<Mutex<HashMap<String, Counts>>>,
}

/// A layer with the quantization steps of its input in the transform domain.
#[derive(Clone, Debug)]
pub struct LayerSteps {
    /// Node.
    pub node: String,
    /// Its output, by which the model names it.
    pub output: String,
    /// The steps of least squared error.
    pub steps: Steps,
    /// That error relative to the power of the transformed input.
    pub error: f64,
}

/// The single number of a constant.
fn number(g: &Graph, v: Option<ValueId>) -> Option<f32> {
    let values = g.constants.get(&v?)?.to_f32()?;
    (values.len() == 1).then(|| values[0])
}

impl Transforms {
    /// Watches the inputs of those layers of a quantized graph that suit: convolutions of one group whose
    /// steps are 1 and whose last two axes have three taps.
    pub fn of(quantized: &Graph) -> Self {
        let producers = quantized.producers();
        let made = |v: Option<ValueId>| producers[v?.0].map(|p| &quantized.nodes[p]);
        let (mut layers, mut parameters) = (Vec::new(), HashMap::new());
        for n in &quantized.nodes {
            let Op::Conv { window, group: 1 } = &n.op else { continue };
            let weights = made(n.input(1)).filter(|d| matches!(d.op, Op::Dequantize { .. }));
            let dims = weights.and_then(|d| quantized.constants.get(&d.input(0)?)).map(|t| t.dims().to_vec());
            let ones = window.strides.iter().chain(&window.dilations).all(|s| *s == 1);
            if !ones || !dims.is_some_and(|d| d.len() >= 4 && d.ends_with(&[3, 3])) {
                continue;
            }
            let Some(d) = made(n.input(0)).filter(|d| matches!(d.op, Op::Dequantize { .. })) else {
                continue;
            };
            let Some(q) = made(d.input(0)) else { continue };
            let (Op::Quantize { to, .. }, Some(x), Some(y)) = (&q.op, q.input(0), n.output()) else {
                continue;
            };
            let Some((low, _)) = to.range() else { continue };
            let (Some(scale), zero) = (number(quantized, d.input(1)), number(quantized, d.input(2))) else {
                continue;
            };
            let x = quantized.value(x).name.clone();
            parameters.insert(x.clone(), (scale, zero.unwrap_or(0.0) - low as f32));
            layers.push((quantized.node_name(n).to_owned(), quantized.value(y).name.clone(), x));
        }
        Transforms { layers, parameters: Arc::new(parameters), seen: Arc::default() }
    }

    /// Whether no layer suits.
    pub fn is_empty(&self) -> bool {
        self.layers.is_empty()
    }

    /// For the options of a session of the float graph.
    pub fn observe(&self) -> Observe {
        let (parameters, seen) = (self.parameters.clone(), self.seen.clone());
        let names = parameters.keys().cloned().collect();
        let sink = move |v: &Observed<'_>| {
            let Some(&(scale, zero)) = parameters.get(v.name) else { return };
            let mut own = vec![[0u64; MAGNITUDES]; POINTS];
            let quantize =
                |x: f32| ((x / scale).round_ties_even() + zero).clamp(0.0, 255.0) as i32 - zero as i32;
            count(&v.to_vec(), v.dims(), quantize, &mut own);
            let mut seen = seen.lock().unwrap_or_else(|e| e.into_inner());
            let all = seen.entry(v.name.to_owned()).or_insert_with(|| vec![[0; MAGNITUDES]; POINTS]);
            for (all, own) in all.iter_mut().flatten().zip(own.iter().flatten()) {
                *all += own;
            }
        };
        Observe { names: Arc::new(names), sink: Arc::new(sink) }
    }

    /// The layers whose inputs were seen.
    pub fn steps(&self) -> Vec<LayerSteps> {
        let seen = self.seen.lock().unwrap_or_else(|e| e.into_inner());
        let of = |(node, output, input): &(String, String, String)| {
            let counts = seen.get(input)?;
            let found: Vec<(f32, f64)> = counts.iter().map(best).collect();
            let power = |h: &[u64; MAGNITUDES]| {
                h.iter().enumerate().map(|(d, c)| (d * d) as f64 * *c as f64).sum::<f64>()
            };
            let error: f64 = found.iter().map(|f| f.1).sum();
            let power: f64 = counts.iter().map(power).sum();
            Some(LayerSteps {
                node: node.clone(),
                output: output.clone(),
                steps: Steps::of(std::array::from_fn(|i| found[i].0)),
                error: error / power.max(1.0),
            })
        };
        self.layers.iter().filter_map(of).collect()
    }
}

impl LayerSteps {
    /// What a model notes of these layers.
    pub fn record<'a>(list: impl IntoIterator<Item = &'a LayerSteps>) -> Layers {
        list.into_iter().map(|r| (r.output.clone(), r.steps)).collect::<BTreeMap<_, _>>()
    }
}

/// Counts the magnitudes of `Bᵀ·d·B` over tiles of values in ONNX's order.
fn count(values: &[f32], dims: &[usize], quantize: impl Fn(f32) -> i32, into: &mut Counts) {
    let [.., h, w] = *dims else { return };
    if h < 4 || w < 4 || values.is_empty() {
        return;
    }
    let (down, across) = ((h - 2) / 2, (w - 2) / 2);
    let tiles = values.len() / (h * w) * down * across;
    for t in (0..tiles).step_by(tiles.div_ceil(TILES) | 1) {
        let (plane, ty, tx) = (t / (down * across), t / across % down, t % across);
        let first = plane * h * w + 2 * ty * w + 2 * tx;
        let mut d = [[0i32; 4]; 4];
        for (i, row) in d.iter_mut().enumerate() {
            for (j, v) in row.iter_mut().enumerate() {
                *v = quantize(values[first + i * w + j]);
            }
        }
        let line = |d: [i32; 4]| [d[0] - d[2], d[1] + d[2], d[2] - d[1], d[1] - d[3]];
        let rows = d.map(line);
        for j in 0..4 {
            let column = line([rows[0][j], rows[1][j], rows[2][j], rows[3][j]]);
            for (i, v) in column.into_iter().enumerate() {
                into[4 * i + j][v.unsigned_abs() as usize] += 1;
            }
        }
    }
}

/// The largest magnitude that a byte is to hold, by the squared error of rounding and clipping, and
/// that error.
fn best(counts: &[u64; MAGNITUDES]) -> (f32, f64) {
    let most = counts.iter().rposition(|c| *c > 0).unwrap_or(0).max(127);
    let error = |clip: usize| -> f64 {
        // Integers of up to 127 are held as they are.
        let width = clip as f64 / 127.0;
        let rounding = if clip <= 127 { 0.0 } else { width * width / 12.0 };
        let of = |(d, c): (usize, &u64)| {
            let each = if d > clip {
                ((d - clip) as f64).powi(2)
            } else if d == 0 {
                0.0
            } else {
                rounding
            };
            each * *c as f64
        };
        counts.iter().enumerate().map(of).sum()
    };
    let tries = (127..=most).map(|clip| (clip as f32, error(clip)));
    tries.min_by(|a, b| a.1.total_cmp(&b.1)).unwrap_or((127.0, 0.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transforms_are_counted_and_outliers_clipped() {
        // A plane of ones: only the position of both sums sees it.
        let mut counts = vec![[0; MAGNITUDES]; POINTS];
        count(&[1.0; 8 * 6], &[1, 1, 8, 6], |x| x as i32, &mut counts);
        for (i, h) in counts.iter().enumerate() {
            let at = if i == 5 { 4 } else { 0 };
            assert_eq!((h[at], h.iter().sum::<u64>()), (6, 6), "position {i}");
        }
        let mut h = [0; MAGNITUDES];
        h[100] = 1000;
        assert_eq!(best(&h), (127.0, 0.0));
        h[1..500].fill(1000);
        h[900] = 1;
        let (clip, error) = best(&h);
        assert!((450.0..600.0).contains(&clip) && error > 0.0, "{clip}");
    }
}
