//! Statistics and affine maps per channel, and normalisation of rows.

use super::{ForElement, dispatch};
use crate::block::Shared;
use crate::layout::Layout;
use crate::{Area, Cpu};
use ampoule_kernels::gemm::Act;
use ampoule_kernels::{Elem, Element, Grid, layer_norm, norm};

/// Totals of each channel about a shift: shift, sum, sum of squares.
pub type Totals = (Vec<f32>, Vec<f64>, Vec<f64>);

/// Totals per channel of batch entry `entry`, whose pixels lie evenly: from fixed chunks, added up in order.
pub fn totals(cpu: Cpu, x: Area, g: &Grid, entry: usize) -> Totals {
    struct Step<'a>(Cpu<'a>, Area<'a>, &'a Grid);
    impl ForElement for Step<'_> {
        type Out = Totals;
        fn call<E: Element>(self) -> Totals {
            let Step(cpu, x, g) = self;
            let (c, volume) = (g.channels(), g.volume());
            let src: Shared<E> =
                Shared::read(x.reading(&Layout::rows(volume.max(1), g.pixel(), c), 0).cast());
            // SAFETY: the first pixel of the entry, which was checked.
            let first = unsafe { std::slice::from_raw_parts(src.at(0).cast_const(), c) };
            let shift: Vec<f32> = first.iter().map(|x| x.get()).collect();
            let chunk = norm::chunk(g);
            let chunks = volume.div_ceil(chunk);
            let mut sums = vec![0f64; 2 * c * chunks];
            cpu.pool().chunks(chunks, (&mut sums, 2 * c), |i, part| {
                let first = i * chunk;
                let count = (volume - first).min(chunk);
                let (sum, square) = part.split_at_mut(c);
                let p = src.at(first * g.pixel()).cast_const();
                // SAFETY: pixels that were checked.
                unsafe { norm::partial_sums(cpu.isa(), p, g.pixel(), count, &shift, sum, square) };
            });
            let mut total = vec![0f64; 2 * c];
            for part in sums.chunks((2 * c).max(1)) {
                for (t, p) in total.iter_mut().zip(part) {
                    *t += p;
                }
            }
            let square = total.split_off(c);
            (shift, total, square)
        }
    }
    dispatch(x.elem(), Step(cpu, x.skip(entry * g.strides[0]), g))
}

/// Adds sums and sums of squares about `shift` of the channels of dense pixels to `sum` and `square`.
pub fn partial_sums(cpu: Cpu, x: &[f32], shift: &[f32], sum: &mut [f64], square: &mut [f64]) {
    let c = shift.len();
    assert!(c > 0 && x.len().is_multiple_of(c), "pixels of other channels");
    // SAFETY: the slice holds whole pixels; the kernel checks the other sizes.
    unsafe { norm::partial_sums(cpu.isa(), x.as_ptr(), c, x.len() / c, shift, sum, square) };
}

/// `y = act(x·scale + shift + residual)` per channel.
#[derive(Clone, Copy)]
pub struct Map<'a> {
    /// One factor per channel.
    pub scale: &'a [f32],
    /// One summand per channel.
    pub shift: &'a [f32],
    /// Activation.
    pub act: Act,
    /// Factor and summand that dequantize the residual.
    pub residual: [f32; 2],
    /// Factor and summand that quantize the output.
    pub output: [f32; 2],
}

/// Applies `map` to batch entry `entry` of `x`; grids whose pixels lie evenly. It may work in place.
pub fn affine(
    cpu: Cpu,
    map: Map,
    entry: usize,
    (x, gx): (Area, &Grid),
    (y, gy): (Area, &Grid),
    residual: Option<(Area, &Grid)>,
) {
    assert!(gx.volume() == gy.volume() && gx.channels() == map.scale.len(), "values of another size");
    assert!(residual.is_none_or(|r| r.1.volume() == gy.volume()), "a residual of another size");
    let residual = residual.map(|(r, g)| (r.skip(entry * g.strides[0]), g.pixel()));
    dispatch(
        x.elem(),
        AffineFrom {
            cpu,
            map,
            volume: gx.volume(),
            x: (x.skip(entry * gx.strides[0]), gx.pixel()),
            y: (y.skip(entry * gy.strides[0]), gy.pixel()),
            residual,
        },
    );
}

/// Areas with the distance between their pixels.
#[derive(Clone, Copy)]
struct AffineFrom<'a> {
    cpu: Cpu<'a>,
    map: Map<'a>,
    volume: usize,
    x: (Area<'a>, usize),
    y: (Area<'a>, usize),
    residual: Option<(Area<'a>, usize)>,
}

impl ForElement for AffineFrom<'_> {
    type Out = ();
    fn call<E: Element>(self) {
        dispatch(self.y.0.elem(), AffineTo::<E>(self, std::marker::PhantomData));
    }
}

struct AffineTo<'a, E>(AffineFrom<'a>, std::marker::PhantomData<E>);

impl<E: Element> ForElement for AffineTo<'_, E> {
    type Out = ();
    fn call<O: Element>(self) {
        let AffineFrom { cpu, map, volume, x: (x, from), y: (y, to), residual } = self.0;
        let channels = map.scale.len();
        let (reads, writes) = (Layout::rows(volume, from, channels), Layout::rows(volume, to, channels));
        y.assert_in_place(&writes, (&x, &reads));
        let src: Shared<E> = Shared::read(x.reading(&reads, 0).cast());
        let dst: Shared<O> = Shared::new(y.writing(&writes, 0).cast());
        let (stored, step) = residual.map_or((Elem::F32, 0), |(r, step)| (r.elem(), step));
        let added = residual.map(|(r, step)| {
            let lies = Layout::rows(volume, step, channels);
            y.assert_in_place(&writes, (&r, &lies));
            Shared::read(r.reading(&lies, 0))
        });
        let pixels = norm::pixels(channels);
        cpu.pool().run(volume.div_ceil(pixels), &|i, _| {
            let first = i * pixels;
            let residual =
                added.map_or(std::ptr::null(), |r| r.at(first * step * stored.size()).cast_const());
            let args = norm::Affine {
                src: (src.at(first * from), from),
                dst: (dst.at(first * to), to),
                residual: (residual, step),
                stored: (stored, map.residual),
                count: (volume - first).min(pixels),
                scale: map.scale,
                shift: map.shift,
                act: map.act,
                output: map.output,
            };
            // SAFETY: checked above; pixels are the item's own.
            unsafe { norm::affine(cpu.isa(), args) };
        });
    }
}

/// Rows of an item of [`rows`].
const ROWS: usize = 16;

/// Dense rows to normalise, of as many values as there are factors.
#[derive(Clone, Copy)]
pub struct Rows<'a> {
    /// Rows.
    pub count: usize,
    /// One factor per column.
    pub scale: &'a [f32],
    /// One summand per column.
    pub shift: &'a [f32],
    /// Added to the variance, or to the mean square.
    pub epsilon: f32,
    /// Whether the mean is subtracted: layer normalisation; else root-mean-square normalisation.
    pub centred: bool,
}

/// Normalises rows. It may work in place.
pub fn rows(cpu: Cpu, rows: Rows, x: Area, y: Area) {
    struct Step<'a>(Cpu<'a>, Rows<'a>, [Area<'a>; 2]);
    impl ForElement for Step<'_> {
        type Out = ();
        fn call<E: Element>(self) {
            let Step(cpu, Rows { count: rows, scale, shift, epsilon, centred }, [x, y]) = self;
            let n = scale.len();
            assert!(x.elem() == E::ELEM && shift.len() == n, "values stored otherwise");
            let layout = Layout::run(rows * n);
            y.assert_in_place(&layout, (&x, &layout));
            let src: Shared<E> = Shared::read(x.reading(&layout, 0).cast());
            let dst: Shared<E> = Shared::new(y.writing(&layout, 0).cast());
            cpu.pool().run(rows.div_ceil(ROWS), &|i, _| {
                let at = i * ROWS * n;
                let count = (rows - i * ROWS).min(ROWS);
                let (src, dst) = (src.at(at), dst.at(at));
                let own = layer_norm::Rows { src, dst, count, scale, shift, epsilon, centred };
                // SAFETY: checked above; rows are the item's own.
                unsafe { layer_norm::layer_norm(cpu.isa(), own) };
            });
        }
    }
    dispatch(y.elem(), Step(cpu, rows, [x, y]));
}
