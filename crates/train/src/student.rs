//! Small architectures by name, with random weights: students that learn from a larger network.

use ampoule_graph::build::Builder;
use ampoule_graph::op::{Pool, Unary, Window};
use ampoule_graph::{Dim, Graph, Op, Tensor, ValueId};
use ampoule_random::Random;

/// Names of the architectures; a number of filters follows, for example `resunet-8`.
pub const STUDENTS: [&str; 3] = ["unet", "resunet", "convnet"];

/// Why there is no student of a name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StudentError {
    /// An architecture or a number of filters that there is not.
    #[error("`{name}` is no student; there are {} followed by -N", STUDENTS.join(", "))]
    Unknown {
        /// The name.
        name: String,
    },
    /// An architecture for another task.
    #[error("`{name}` does not fit the task; take {fits}")]
    OtherTask {
        /// The name.
        name: String,
        /// What fits.
        fits: &'static str,
    },
}

/// What a student must be like to take its teacher's place.
#[derive(Clone, Debug)]
pub struct Place {
    /// Name of the input.
    pub input: String,
    /// Name of the output.
    pub output: String,
    /// Channels of the input.
    pub channels: usize,
    /// Channels of the output: softmax over them, or a sigmoid of a single one.
    pub classes: usize,
    /// Spatial axes: 2 or 3.
    pub axes: usize,
    /// Whether a whole image has one result.
    pub whole: bool,
    /// Every size is a multiple of this.
    pub multiple: usize,
}

/// The architecture `name` in that place, with weights drawn by `seed` (He and others, "Delving deep into
/// rectifiers", 2015).
///
/// `unet-N` and `resunet-N` give a result for every voxel: N filters at full size, twice as many at each halving
/// of it up to 8·N, batch normalisation, residual blocks in the latter (Ronneberger and others, 2015; Zhang and
/// others, 2018). `convnet-N` gives one for the whole image.
pub fn student(name: &str, place: &Place, seed: u64) -> Result<Graph, StudentError> {
    let known = || StudentError::Unknown { name: name.to_owned() };
    let (kind, n) = name.rsplit_once('-').ok_or_else(known)?;
    let n: usize = n.parse().ok().filter(|n| (2..=256).contains(n)).ok_or_else(known)?;
    if !STUDENTS.contains(&kind) {
        return Err(known());
    }
    if (kind == "convnet") != place.whole {
        let fits = if place.whole { "convnet-N" } else { "unet-N or resunet-N" };
        return Err(StudentError::OtherTask { name: name.to_owned(), fits });
    }
    let mut s = Student { b: Builder::new(name), random: Random::new(seed), axes: place.axes };
    let batch = Dim::Symbol("batch".into());
    let mut dims = vec![batch.clone(), Dim::Known(place.channels)];
    dims.extend((0..place.axes).map(|i| Dim::Symbol(format!("size{i}"))));
    let x = s.b.input(&place.input, &dims);
    let features = match kind {
        "convnet" => s.convnet(x, place.channels, n),
        _ => s.unet(x, place, n, kind == "resunet"),
    };
    let (y, out) = match place.whole {
        true => {
            let x = s.b.node(Op::GlobalAveragePool, &[features.0]);
            let x = s.b.node(Op::Flatten { axis: 1 }, &[x]);
            let w = s.weights(&[place.classes, features.1], features.1);
            let w = s.b.constant("weight", w);
            let bias = s.b.constant("bias", Tensor::f32(&[place.classes], &vec![0.0; place.classes]));
            let gemm = Op::Gemm { alpha: 1.0, beta: 1.0, trans_a: false, trans_b: true };
            (s.b.node(gemm, &[x, w, bias]), vec![batch, Dim::Known(place.classes)])
        }
        false => {
            let mut out = dims;
            out[1] = Dim::Known(place.classes);
            (s.conv(features.0, [features.1, place.classes], 1, 1, true), out)
        }
    };
    let y = if place.classes == 1 { s.b.unary(y, Unary::Sigmoid) } else { s.b.softmax(y) };
    s.b.output(y, &place.output, &out);
    Ok(s.b.finish())
}

struct Student {
    b: Builder,
    random: Random,
    axes: usize,
}

/// A value and its channels.
type Features = (ValueId, usize);

impl Student {
    /// Normal with deviation `sqrt(2 / fan_in)`.
    fn weights(&mut self, dims: &[usize], fan_in: usize) -> Tensor {
        let deviation = (2.0 / fan_in as f32).sqrt();
        let value = |_| deviation * self.random.normal();
        Tensor::f32(dims, &(0..dims.iter().product()).map(value).collect::<Vec<f32>>())
    }

    fn conv(&mut self, x: ValueId, [i, o]: [usize; 2], k: usize, stride: usize, bias: bool) -> ValueId {
        let mut dims = vec![o, i];
        dims.extend(vec![k; self.axes]);
        let w = self.weights(&dims, i * k.pow(self.axes as u32));
        let bias = bias.then(|| Tensor::f32(&[o], &vec![0.0; o]));
        let window = Window::of(&vec![k; self.axes]).pad(k as i64 / 2).stride(stride);
        self.b.conv(x, w, bias, window)
    }

    fn norm(&mut self, x: ValueId, n: usize) -> ValueId {
        let of = |v: f32| Tensor::f32(&[n], &vec![v; n]);
        let list = [("scale", of(1.0)), ("bias", of(0.0)), ("mean", of(0.0)), ("variance", of(1.0))];
        let [s, b, m, v] = list.map(|(name, t)| self.b.constant(name, t));
        self.b.node(Op::BatchNorm { epsilon: 1e-5 }, &[x, s, b, m, v])
    }

    fn layer(&mut self, x: ValueId, io: [usize; 2], stride: usize) -> ValueId {
        let x = self.conv(x, io, 3, stride, false);
        let x = self.norm(x, io[1]);
        self.b.unary(x, Unary::Relu)
    }

    /// Two layers, with a way around them if `residual`.
    fn block(&mut self, x: ValueId, io: [usize; 2], stride: usize, residual: bool) -> Features {
        let y = self.layer(x, io, stride);
        if !residual {
            return (self.layer(y, [io[1]; 2], 1), io[1]);
        }
        let y = self.conv(y, [io[1]; 2], 3, 1, false);
        let y = self.norm(y, io[1]);
        let around = match io[0] == io[1] && stride == 1 {
            true => x,
            false => {
                let x = self.conv(x, io, 1, stride, false);
                self.norm(x, io[1])
            }
        };
        let y = self.b.add(y, around);
        (self.b.unary(y, Unary::Relu), io[1])
    }

    fn unet(&mut self, x: ValueId, place: &Place, n: usize, residual: bool) -> Features {
        const MOST: u32 = 4;
        let halvings = place.multiple.trailing_zeros().min(MOST);
        let filters = |level: u32| n << level.min(3);
        let mut down = vec![self.block(x, [place.channels, n], 1, residual)];
        for level in 1..=halvings {
            let (x, c) = down[level as usize - 1];
            down.push(self.block(x, [c, filters(level)], 2, residual));
        }
        let mut x = down[halvings as usize];
        for level in (0..halvings).rev() {
            let (side, c) = down[level as usize];
            let mut dims = vec![x.1, c];
            dims.extend(vec![2; self.axes]);
            let w = self.weights(&dims, x.1);
            let up = Window::of(&vec![2; self.axes]).stride(2);
            let bias = Tensor::f32(&[c], &vec![0.0; c]);
            let up = self.b.conv_transpose(x.0, w, Some(bias), up, vec![]);
            let joined = self.b.concat(&[up, side]);
            x = self.block(joined, [2 * c, c], 1, residual);
        }
        x
    }

    fn convnet(&mut self, x: ValueId, channels: usize, n: usize) -> Features {
        let mut x = (x, channels);
        for level in 0..4 {
            if level > 0 {
                let window = Window::of(&vec![2; self.axes]).stride(2);
                let pool = Pool { window, ceil_mode: false, count_include_pad: false };
                x.0 = self.b.node(Op::MaxPool(pool), &[x.0]);
            }
            x = self.block(x.0, [x.1, n << level], 1, false);
        }
        x
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(axes: usize, whole: bool, classes: usize) -> Place {
        let (input, output) = ("x".to_owned(), "y".to_owned());
        Place { input, output, channels: 3, classes, axes, whole, multiple: 16 }
    }

    #[test]
    fn students_are_graphs_and_seeds_decide() {
        for (name, axes, whole, classes) in
            [("unet-4", 2, false, 2), ("resunet-8", 3, false, 1), ("convnet-8", 2, true, 3)]
        {
            let p = place(axes, whole, classes);
            let mut g = student(name, &p, 1).unwrap();
            let mut shape = vec![1, 3];
            shape.extend(vec![32; axes]);
            g.set_input_dims(0, &shape);
            ampoule_graph::passes::optimize(&mut g).unwrap();
            let out = g.value(g.outputs[0]).dims().unwrap();
            assert_eq!(out[..2], [1, classes]);
            let count = |seed| student(name, &p, seed).unwrap();
            assert_eq!(count(2).parameter_count(), count(3).parameter_count());
            assert!(count(2).constants != count(3).constants && count(2).constants == count(2).constants);
        }
    }

    #[test]
    fn others_are_refused() {
        for bad in ["unet", "unet-0", "unet-x", "vgg-8", "convnet-8", "resunet-1000"] {
            assert!(student(bad, &place(2, false, 2), 1).is_err(), "{bad}");
        }
        assert!(student("unet-8", &place(2, true, 2), 1).unwrap_err().to_string().contains("convnet-N"));
    }
}
