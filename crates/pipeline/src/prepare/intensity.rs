//! Steps that change intensities.

use super::{Content, Image, Kept, Refused};
use crate::recipe::{Channels, Divisor, Outside, Over, Step};
use ampoule_imaging::Volume;
use ampoule_imaging::normalise::{self as imaging, Degenerate, Flat, ZScore, histogram, range};

fn flat() -> Refused {
    "its intensities are constant where the network looks; there is nothing to see".into()
}

fn refused(e: Degenerate) -> Refused {
    match e {
        Degenerate::Constant => flat(),
        other => format!("its intensities cannot be normalised: {other}").into(),
    }
}

/// Voxels as imaging names them.
fn over(o: Over, mask: Option<&Volume<u8>>) -> imaging::Over<'_> {
    match o {
        Over::All => imaging::Over::All,
        Over::Nonzero => imaging::Over::NonZero,
        Over::Positive => imaging::Over::Positive,
        Over::AboveMean => imaging::Over::AboveMean,
        // Without a crop there is nothing outside.
        Over::Mask => mask.map_or(imaging::Over::All, |m| imaging::Over::Mask(&m.data)),
    }
}

pub(super) fn apply(image: &mut Image<'_>, step: &Step, kept: &mut Kept) -> Content<()> {
    let mask = image.mask.take();
    let done = on(image.floats_mut(), mask.as_ref(), step, kept);
    image.mask = mask;
    done
}

/// Does a step to some channels as if there were no others.
pub(super) fn on_channels(
    image: &mut Image<'_>,
    only: &[usize],
    step: &Step,
    kept: &mut Kept,
) -> Content<()> {
    let mask = image.mask.take();
    let list = image.floats_mut();
    let empty = || Volume { dims: [0; 3], data: Vec::new() };
    let there = |c: &&usize| **c < list.len();
    let chosen: Vec<usize> = only.iter().filter(there).copied().collect();
    let mut some: Vec<Volume<f32>> =
        chosen.iter().map(|c| std::mem::replace(&mut list[*c], empty())).collect();
    let done = on(&mut some, mask.as_ref(), step, kept);
    for (c, v) in chosen.into_iter().zip(some) {
        list[c] = v;
    }
    image.mask = mask;
    done
}

fn on(list: &mut [Volume<f32>], mask: Option<&Volume<u8>>, step: &Step, kept: &mut Kept) -> Content<()> {
    match step {
        Step::ZScore { over: o, channels, outside, ddof, least_deviation, scale, shift } => {
            let rule = Rule { over: *o, outside: *outside, ddof: *ddof, least: *least_deviation };
            z_score(list, mask, &rule, *channels, *scale, *shift)
        }
        Step::Clip { low, high } => {
            list.iter_mut().for_each(|v| range::clip(&mut v.data, *low, *high));
            Ok(())
        }
        Step::Threshold { low, high } => {
            list.iter_mut().for_each(|v| range::threshold(&mut v.data, *low, *high));
            Ok(())
        }
        Step::PercentileClip { low, high, over: o, channels } => {
            let ranges = ranges(list, over(*o, mask), *channels, [*low, *high])?;
            let both = list.iter_mut().zip(ranges);
            both.for_each(|(v, (a, b))| range::clip(&mut v.data, a as f64, b as f64));
            Ok(())
        }
        Step::Ct { low, high, mean, deviation } => {
            let by = range::Ct { low: *low, high: *high, mean: *mean, deviation: *deviation };
            list.iter_mut().for_each(|v| range::ct(&mut v.data, &by));
            Ok(())
        }
        Step::PercentileRescale { low, high, over: o, channels, clip, to, keep } => {
            let ranges = ranges(list, over(*o, mask), *channels, [*low, *high])?;
            for (v, (a, b)) in list.iter_mut().zip(&ranges) {
                rescale(&mut v.data, *a, *b, *clip, *to)?;
            }
            if !keep.is_empty() {
                kept.insert(keep.clone(), ranges);
            }
            Ok(())
        }
        Step::KeptRescale { from } => {
            let ranges = kept.get(from).ok_or_else(|| format!("the recipe keeps no range `{from}`"))?;
            list.iter_mut()
                .zip(ranges)
                .try_for_each(|(v, (a, b))| rescale(&mut v.data, *a, *b, true, [0.0, 1.0]))
        }
        Step::MeanDeviation { mean, deviation, maximum } => {
            for ((v, m), d) in list.iter_mut().zip(mean).zip(deviation) {
                let (m, d, most) = (*m as f32, *d as f32, *maximum as f32);
                range::multiply_add(&mut v.data, 1.0 / (most * d), -m / d);
            }
            Ok(())
        }
        Step::MinMax { channels } => {
            let ranges: Vec<(f32, f32)> = list.iter().map(|v| range::least_and_most(&v.data)).collect();
            let all =
                ranges.iter().fold((f32::INFINITY, f32::NEG_INFINITY), |r, x| (r.0.min(x.0), r.1.max(x.1)));
            for (v, own) in list.iter_mut().zip(ranges) {
                let (least, most) = if *channels == Channels::Each { own } else { all };
                let factor = if most > least { 1.0 / (most - least) } else { 0.0 };
                range::multiply_add(&mut v.data, factor, -least * factor);
            }
            Ok(())
        }
        Step::Divide { by: Divisor::Number(by) } => {
            let factor = 1.0 / *by as f32;
            list.iter_mut().for_each(|v| v.data.iter_mut().for_each(|x| *x *= factor));
            Ok(())
        }
        Step::Divide { by: Divisor::Maximum } => {
            for v in list {
                let top = range::least_and_most(&v.data).1;
                if top <= 0.0 {
                    return Err("it has no positive intensities; there is nothing to see".into());
                }
                v.data.iter_mut().for_each(|x| *x /= top);
            }
            Ok(())
        }
        Step::Scale { by, add } => {
            list.iter_mut().for_each(|v| range::multiply_add_f64(&mut v.data, *by, *add));
            Ok(())
        }
        Step::Brainmage {} => {
            list.iter_mut().try_for_each(|v| range::brainmage(&mut v.data)).map_err(refused)
        }
        Step::Truncate {} => {
            list.iter_mut().for_each(|v| v.data.iter_mut().for_each(|x| *x = x.trunc()));
            Ok(())
        }
        Step::HistogramMatch { landmarks, reference, over: o } => {
            let reference: Vec<f32> = reference.iter().map(|v| *v as f32).collect();
            for v in list {
                match <[f64; 13]>::try_from(&landmarks[..]) {
                    Ok(to) => histogram::standardise(&mut v.data, over(*o, mask), &to).map_err(refused)?,
                    Err(_) => histogram::match_histograms(&mut v.data, &reference).map_err(refused)?,
                }
            }
            Ok(())
        }
        Step::Only { step, .. } => on(list, mask, step, kept),
        Step::Orient { .. }
        | Step::CropNonzero { .. }
        | Step::CentreCrop { .. }
        | Step::Resize { .. }
        | Step::Resample { .. }
        | Step::Stain(_)
        | Step::Reduce { .. }
        | Step::Pad { .. } => Ok(()),
    }
}

struct Rule {
    over: Over,
    outside: Outside,
    ddof: usize,
    least: Option<f64>,
}

fn z_score(
    list: &mut [Volume<f32>],
    mask: Option<&Volume<u8>>,
    rule: &Rule,
    channels: Channels,
    scale: f64,
    shift: f64,
) -> Content<()> {
    let whole = rule.over == Over::All && channels == Channels::Each && rule.least.is_none();
    if whole {
        let one =
            |v: &mut Volume<f32>| imaging::z_score(&mut v.data, rule.ddof, scale, shift).ok_or_else(flat);
        return list.iter_mut().try_for_each(one);
    }
    let how = ZScore {
        ddof: rule.ddof,
        flat: rule.least.map_or(Flat::Refuse, Flat::AtLeast),
        outside: match rule.outside {
            Outside::Keep => imaging::Outside::Kept,
            Outside::Change => imaging::Outside::Same,
            Outside::Zero => imaging::Outside::Zero,
        },
    };
    let o = over(rule.over, mask);
    match channels {
        Channels::Each => {
            for v in list.iter_mut() {
                how.apply(&mut v.data, o).map_err(refused)?;
            }
        }
        Channels::Together => {
            let mut all: Vec<&mut [f32]> = list.iter_mut().map(|v| &mut v.data[..]).collect();
            how.apply_together(&mut all, o).map_err(refused)?;
        }
    }
    if (scale, shift) != (1.0, 0.0) {
        list.iter_mut().for_each(|v| range::multiply_add_f64(&mut v.data, scale, shift));
    }
    Ok(())
}

/// The quantiles of every channel.
fn ranges(
    list: &[Volume<f32>],
    over: imaging::Over,
    channels: Channels,
    q: [f64; 2],
) -> Content<Vec<(f32, f32)>> {
    let of = |values: &[f32]| -> Content<(f32, f32)> {
        let found = imaging::quantiles(values, over, &q).map_err(refused)?;
        Ok((found[0] as f32, found[1] as f32))
    };
    match channels {
        Channels::Each => list.iter().map(|v| of(&v.data)).collect(),
        Channels::Together => {
            let all: Vec<f32> = list.iter().flat_map(|v| v.data.iter().copied()).collect();
            Ok(vec![of(&all)?; list.len()])
        }
    }
}

fn rescale(values: &mut [f32], low: f32, high: f32, clip: bool, to: [f64; 2]) -> Content<()> {
    if clip && to == [0.0, 1.0] {
        return imaging::rescale(values, low, high).ok_or_else(flat);
    }
    if high <= low {
        return Err(flat());
    }
    range::scale_range(values, (low as f64, high as f64), (Some(to[0]), Some(to[1])), clip);
    Ok(())
}
