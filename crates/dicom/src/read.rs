//! A series as a volume.

use crate::Error;
use crate::header::{self, Header};
use crate::pixels;
use crate::place::{Opener, Place};
use crate::series::{assembled, slices};
use crate::stack::{Lean, Slice, Stack};
use ampoule_imaging::Nifti;
use ampoule_imaging::nifti::DataType;

/// A series as a volume.
#[derive(Debug)]
pub struct Volume {
    /// Its voxels with an affine in RAS, as of a NIfTI file.
    pub image: Nifti,
    /// For each slice along the third axis the number of its instance among the places, and its frame.
    pub slices: Vec<[usize; 2]>,
}

/// Reads a series; `frame` chooses one of several images at every position. Voxels are as stored where all slices have one
/// slope and intercept, else float32. Refuses, before any pixel is read, what would take more than `most` bytes.
pub fn read(places: &[Place], frame: Option<usize>, most: u64) -> Result<Volume, Error> {
    let mut opener = Opener::new(most);
    let mut headers = Vec::new();
    let mut all = Vec::new();
    for (i, place) in places.iter().enumerate() {
        let o = header::open(&mut opener, place, most)?;
        all.extend(slices(&o.header, &o.pixels, i)?);
        headers.push(o.header);
    }
    let stack = assembled(all, places)?;
    let chosen = chosen(&stack, frame)?;
    let kind = match stack.lean {
        // Values between pixels.
        Some(_) => Kind { datatype: DataType::F32, scaling: None },
        None => Kind::of(chosen, &headers),
    };
    Nifti::room(stack.dims, kind.datatype, most)?;
    let raw = voxels(&mut opener, places, &stack, chosen, &kind, most)?;
    let mut notes = notes(&headers);
    notes.extend(stack.lean.as_ref().map(tilted));
    let mut image = Nifti::of_voxels(stack.dims, kind.datatype, raw, &stack.affine, notes)?;
    if let Some([slope, intercept]) = kind.scaling {
        image.header.set_scaling(slope, intercept);
    }
    let slices = chosen.iter().map(|s| [s.instance, s.frame]).collect();
    Ok(Volume { image, slices })
}

/// What a user should know of images.
fn notes(headers: &[Header]) -> Vec<String> {
    let mut notes = Vec::new();
    if headers.iter().any(|h| h.lossy) {
        notes.push("the series was compressed with a loss before it came here".into());
    }
    if headers.iter().any(|h| h.layout.photometric == "MONOCHROME1") {
        notes.push("the series is shown with black and white exchanged (MONOCHROME1); its values are taken as they are".into());
    }
    notes
}

fn tilted(lean: &Lean) -> String {
    format!(
        "the gantry was tilted by {:.1} degrees; slices were moved back within their planes, between pixels linearly, and lie in a grid of {} by {} pixels, which has the least value where no slice is",
        lean.degrees, lean.size[0], lean.size[1]
    )
}

/// The slices of one frame.
fn chosen(stack: &Stack, frame: Option<usize>) -> Result<&[Slice], Error> {
    let frames = stack.frames.len();
    match frame {
        None if frames > 1 => {
            let (by, values) = (stack.by.0, stack.by.1.join(", "));
            Err(Error::Frames { frames, by, values })
        }
        Some(f) if f >= frames => {
            Err(Error::Unsupported(format!("frame {f} was asked for, there are {frames} (counted from 0)")))
        }
        f => Ok(&stack.frames[f.unwrap_or(0)]),
    }
}

/// How voxels are held.
struct Kind {
    datatype: DataType,
    /// One slope and intercept of all; `None` where they are applied to each slice.
    scaling: Option<[f64; 2]>,
}

impl Kind {
    fn of(slices: &[Slice], headers: &[Header]) -> Kind {
        let of = |s: &Slice| (pixels::datatype(&headers[s.instance].layout), [s.slope, s.intercept]);
        let mut all = slices.iter().map(of);
        let first = all.next();
        match first.filter(|f| all.all(|o| o == *f)) {
            Some((datatype, scaling)) => Kind { datatype, scaling: Some(scaling) },
            None => Kind { datatype: DataType::F32, scaling: None },
        }
    }
}

/// The voxels, file by file: rows from the last one up, slices along their normal.
fn voxels(
    opener: &mut Opener,
    places: &[Place],
    stack: &Stack,
    chosen: &[Slice],
    kind: &Kind,
    most: u64,
) -> Result<Vec<u8>, Error> {
    let width = kind.datatype.bytes();
    let [columns, rows, _] = stack.dims;
    let (line, plane) = (columns * width, columns * rows * width);
    let mut raw = vec![0; plane * chosen.len()];
    let mut order: Vec<usize> = (0..chosen.len()).collect();
    order.sort_by_key(|k| (chosen[*k].instance, chosen[*k].frame));
    let mut open: Option<(usize, header::Opened)> = None;
    let mut least = f32::INFINITY;
    for k in order {
        let slice = &chosen[k];
        if open.as_ref().is_none_or(|(i, _)| *i != slice.instance) {
            open = Some((slice.instance, header::open(opener, &places[slice.instance], most)?));
        }
        let Some((_, opened)) = &mut open else { continue };
        let frame = pixels::frame(opened, slice.frame)?;
        let frame = match kind.scaling {
            Some(_) => frame,
            None => scaled(&frame, pixels::datatype(&opened.header.layout), slice),
        };
        let frame = match &stack.lean {
            Some(lean) => moved_back(lean, &frame, (k, pixels_of(&opened.header)), &mut least),
            None => frame,
        };
        if frame.len() != plane {
            return Err(Error::damaged(format!(
                "{} changed while it was read",
                places[slice.instance].name()
            )));
        }
        let to = &mut raw[k * plane..][..plane];
        to.chunks_exact_mut(line)
            .rev()
            .zip(frame.chunks_exact(line))
            .for_each(|(to, from)| to.copy_from_slice(from));
    }
    if stack.lean.is_some() {
        let shown = if least.is_finite() { least } else { 0.0 };
        for v in raw.as_chunks_mut::<4>().0 {
            if f32::from_le_bytes(*v).is_nan() {
                *v = shown.to_le_bytes();
            }
        }
    }
    Ok(raw)
}

/// Columns times rows of an instance.
fn pixels_of(h: &Header) -> usize {
    h.rows * h.columns
}

/// Slice `k` in float32, of so many pixels, on the straight grid; nothing where it has another number. `least` becomes the
/// least value so far.
fn moved_back(lean: &Lean, frame: &[u8], (k, pixels): (usize, usize), least: &mut f32) -> Vec<u8> {
    let values: Vec<f32> = frame.as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect();
    if values.len() != pixels {
        return Vec::new();
    }
    *least = values.iter().fold(*least, |a, v| a.min(*v));
    lean.straightened(&values, k).into_iter().flat_map(f32::to_le_bytes).collect()
}

/// Values of a slice in float32.
fn scaled(frame: &[u8], t: DataType, slice: &Slice) -> Vec<u8> {
    let value = |v: f32| (f64::from(v) * slice.slope + slice.intercept) as f32;
    t.decode(frame).into_iter().flat_map(|v| value(v).to_le_bytes()).collect()
}
