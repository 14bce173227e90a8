//! Steps with statistics or factors per channel: normalisation, means, squeeze-and-excitation.

use super::{Affine, Context, Exact, Norm, Raw, Step, grid};
use ampoule_kernels::gemm::Act;
use ampoule_kernels::{Elem, Element, Grid, bf16, f16, norm};
use ampoule_runtime::view::View;

impl Step {
    /// Totals per channel of batch entry `n`, from fixed chunks added up in order.
    /// Safety: as for [`Step::run`].
    unsafe fn totals<E: Element>(&self, cx: &Context, g: &Grid, n: usize) -> (Vec<f32>, Vec<f64>, Vec<f64>) {
        let c = g.channels();
        let base = cx.at::<E>(&self.reads[0]).wrapping_add(n * g.strides[0]);
        // SAFETY: the first pixel of the entry.
        let shift: Vec<f32> =
            unsafe { std::slice::from_raw_parts(base, c) }.iter().map(|x| x.get()).collect();
        let chunk = norm::chunk(g);
        let chunks = g.volume().div_ceil(chunk);
        let mut sums = vec![0f64; 2 * c * chunks];
        let (src, out) = (Raw(base), Raw(sums.as_mut_ptr()));
        let (volume, isa) = (g.volume(), cx.isa);
        cx.pool.run(chunks, &|i, _| {
            let first = i * chunk;
            let count = (volume - first).min(chunk);
            // SAFETY: pixels of the view; each chunk has its own part of the sums.
            unsafe {
                let part = std::slice::from_raw_parts_mut(out.get().add(2 * c * i), 2 * c);
                let (sum, square) = part.split_at_mut(c);
                let p = src.get().add(first * g.pixel());
                norm::partial_sums(isa, p, g.pixel(), count, &shift, sum, square);
            }
        });
        let mut total = vec![0f64; 2 * c];
        for part in sums.chunks(2 * c) {
            for (t, p) in total.iter_mut().zip(part) {
                *t += p;
            }
        }
        let square = total.split_off(c);
        (shift, total, square)
    }

    /// [`Step::affine`] of the only batch entry of a first input of any type.
    /// Safety: as for [`Step::run`].
    pub(super) unsafe fn affine_of(&self, cx: &Context, n: &Norm, gi: &Grid) -> Affine {
        // SAFETY: passed on from the caller.
        unsafe {
            match self.reads[0].elem {
                Elem::F32 => self.affine::<f32>(cx, n, gi, 0),
                Elem::Bf16 => self.affine::<bf16>(cx, n, gi, 0),
                Elem::F16 => self.affine::<f16>(cx, n, gi, 0),
                Elem::U8 => self.affine::<u8>(cx, n, gi, 0),
            }
        }
    }

    /// Scale and shift per channel of a normalisation of batch entry `b` of the first input.
    /// Safety: as for [`Step::run`].
    unsafe fn affine<E: Element>(&self, cx: &Context, n: &Norm, gi: &Grid, b: usize) -> Affine {
        let Some(group) = n.group else { return (n.gamma.clone(), n.beta.clone()) };
        if let (Some(s), Some(exact)) = (n.sums, &n.codes.exact) {
            return exact_affine(cx.sums[s].exact_totals(gi.channels()), gi.volume(), n, exact);
        }
        let (shift, sum, square) = match n.sums {
            Some(s) => cx.sums[s].totals(gi.channels()),
            // SAFETY: passed on from the caller.
            None => unsafe { self.totals::<E>(cx, gi, b) },
        };
        let (sum, square, shift) = grouped(group, gi.volume(), sum, square, shift);
        norm::instance_affine(gi.volume(), n.epsilon, &shift, &sum, &square, &n.gamma, &n.beta)
    }

    /// Safety: as for [`Step::run`]; the output must be of type `O`.
    pub(super) unsafe fn normalise<O: Element>(&self, cx: &Context, n: &Norm) -> Result<(), String> {
        // SAFETY: passed on from the caller.
        unsafe {
            match self.reads[0].elem {
                Elem::F32 => self.normalise_as::<f32, O>(cx, n),
                Elem::Bf16 => self.normalise_as::<bf16, O>(cx, n),
                Elem::F16 => self.normalise_as::<f16, O>(cx, n),
                Elem::U8 => self.normalise_as::<u8, O>(cx, n),
            }
        }
    }

    /// Safety: as for [`Step::run`]; input and output must be of types `E` and `O`.
    unsafe fn normalise_as<E: Element, O: Element>(&self, cx: &Context, n: &Norm) -> Result<(), String> {
        let (gi, go) = (grid(&self.reads[0])?, grid(&self.writes[0])?);
        let gr = self.reads.get(1).map(grid).transpose()?;
        let volume = gi.volume();
        let (map, code) = (n.codes.residual, n.codes.output);
        for b in 0..gi.dims[0] {
            // SAFETY: passed on from the caller.
            let (scale, shift) = unsafe { self.affine::<E>(cx, n, &gi, b) };
            let src = Raw(cx.at::<E>(&self.reads[0]).wrapping_add(b * gi.strides[0]));
            let dst = Raw(cx.at::<O>(&self.writes[0]).wrapping_add(b * go.strides[0]));
            let residual = self.reads.get(1).zip(gr);
            let elem = residual.map_or(Elem::F32, |(v, _)| v.elem);
            let res = residual.map(|(v, g)| Raw(cx.bytes(v).wrapping_add(b * g.strides[0] * elem.size())));
            let res_pixel = gr.map_or(0, |g| g.pixel());
            let pixels = norm::pixels(gi.channels());
            cx.pool.run(volume.div_ceil(pixels), &|i, _| {
                let first = i * pixels;
                let residual = res.map_or(std::ptr::null(), |r| {
                    r.get().wrapping_add(first * res_pixel * elem.size()).cast_const()
                });
                let args = norm::Affine {
                    src: (src.get().wrapping_add(first * gi.pixel()), gi.pixel()),
                    dst: (dst.get().wrapping_add(first * go.pixel()), go.pixel()),
                    residual: (residual, res_pixel),
                    stored: (elem, map),
                    count: (volume - first).min(pixels),
                    scale: &scale,
                    shift: &shift,
                    act: n.act,
                    output: code,
                };
                // SAFETY: pixels of the views, chunks are disjoint.
                unsafe { norm::affine(cx.isa, args) };
            });
        }
        Ok(())
    }

    /// Safety: as for [`Step::run`]; inputs and output must be of types `E` and `O`.
    pub(super) unsafe fn scale<E: Element, O: Element>(
        &self,
        cx: &Context,
        code: [f32; 2],
    ) -> Result<(), String> {
        let (gi, go) = (grid(&self.reads[0])?, grid(&self.writes[0])?);
        let (volume, channels) = (gi.volume(), gi.channels());
        let zeros = vec![0f32; channels];
        for b in 0..gi.dims[0] {
            let entry = |v: &View, s: usize| Raw(cx.at::<E>(v).wrapping_add(b * s));
            let src = entry(&self.reads[0], gi.strides[0]);
            let dst = Raw(cx.at::<O>(&self.writes[0]).wrapping_add(b * go.strides[0]));
            let factors = &self.reads[1];
            let batch = if factors.dims[0] == 1 { 0 } else { factors.strides[0].unsigned_abs() };
            // SAFETY: one factor per channel, contiguous.
            let scale = unsafe { std::slice::from_raw_parts(entry(factors, batch).get(), channels) };
            let scale: Vec<f32> = scale.iter().map(|x| x.get()).collect();
            let pixels = norm::pixels(channels);
            cx.pool.run(volume.div_ceil(pixels), &|i, _| {
                let first = i * pixels;
                let args = norm::Affine {
                    src: (src.get().wrapping_add(first * gi.pixel()), gi.pixel()),
                    dst: (dst.get().wrapping_add(first * go.pixel()), go.pixel()),
                    residual: (std::ptr::null(), 0),
                    stored: (E::ELEM, [1.0, 0.0]),
                    count: (volume - first).min(pixels),
                    scale: &scale,
                    shift: &zeros,
                    act: Act::None,
                    output: code,
                };
                // SAFETY: pixels of the views, chunks are disjoint.
                unsafe { norm::affine(cx.isa, args) };
            });
        }
        Ok(())
    }

    /// Safety: as for [`Step::run`].
    pub(super) unsafe fn average<E: Element>(&self, cx: &Context) -> Result<(), String> {
        let (gi, go) = (grid(&self.reads[0])?, grid(&self.writes[0])?);
        for b in 0..gi.dims[0] {
            // SAFETY: passed on from the caller.
            let (shift, sum, _) = unsafe { self.totals::<E>(cx, &gi, b) };
            for (c, (s, t)) in shift.iter().zip(&sum).enumerate() {
                let mean = *s as f64 + t / gi.volume() as f64;
                // SAFETY: channel c of batch entry b of the output.
                unsafe { *cx.at::<E>(&self.writes[0]).add(b * go.strides[0] + c) = E::of(mean as f32) };
            }
        }
        Ok(())
    }
}

/// Replaces per-channel totals by those of its group of `group` channels, all relative to the
/// group's first shift and scaled to one channel's count.
fn grouped(
    group: usize,
    count: usize,
    mut sum: Vec<f64>,
    mut square: Vec<f64>,
    mut shift: Vec<f32>,
) -> (Vec<f64>, Vec<f64>, Vec<f32>) {
    if group == 1 {
        return (sum, square, shift);
    }
    let n = count as f64;
    for first in (0..sum.len()).step_by(group) {
        let base = shift[first];
        let (mut s, mut q) = (0.0, 0.0);
        for c in first..first + group {
            // Σ(x-base) and Σ(x-base)² from the sums about this channel's own shift.
            let d = shift[c] as f64 - base as f64;
            s += sum[c] + n * d;
            q += square[c] + 2.0 * d * sum[c] + n * d * d;
        }
        for c in first..first + group {
            sum[c] = s / group as f64;
            square[c] = q / group as f64;
            shift[c] = base;
        }
    }
    (sum, square, shift)
}

/// Scale and shift per channel of what an integer convolution stored, from the exact totals of its
/// sums over `count` pixels: mean and variance are ratios of integers, rounded once.
fn exact_affine((sum, square): (Vec<i128>, Vec<i128>), count: usize, n: &Norm, exact: &Exact) -> Affine {
    let volume = count.max(1) as i128;
    (0..sum.len())
        .map(|c| {
            let mean = sum[c] as f64 / volume as f64;
            let spread = (square[c] * volume - sum[c] * sum[c]).max(0);
            let variance = spread as f64 / (volume as f64 * volume as f64);
            let unit = exact.unit[c];
            let scale = n.gamma[c] as f64 / (variance + n.epsilon as f64 / (unit * unit)).sqrt();
            ((scale * exact.factor) as f32, (n.beta[c] as f64 - mean * scale) as f32)
        })
        .unzip()
}
