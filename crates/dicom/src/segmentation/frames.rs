//! Frames: one for each slice that a segment has voxels in, a bit a pixel; or one for each slice that has labels, with their
//! values.

use super::shared::{decimals, derivation, item, number, sequence};
use super::{Kind, Origin, Segmentation};
use crate::Error;
use crate::stack::Slice;
use dicom_core::{DataElement, PrimitiveValue, VR};
use dicom_dictionary_std::tags;
use dicom_object::InMemDicomObject;

/// Frames with their pixels.
pub(super) struct Frames {
    /// Functional groups of each.
    pub items: Vec<InMemDicomObject>,
    /// Pixels of all, of an even number of bytes.
    pub pixels: PrimitiveValue,
    /// Their type.
    pub vr: VR,
    /// Bits of a pixel.
    pub bits: u16,
}

pub(super) fn frames(s: &Segmentation, origin: &Origin) -> Result<Frames, Error> {
    match s.kind {
        Kind::Binary => binary(s, origin),
        Kind::Labelmap => labelmap(s, origin),
    }
}

/// A pixel data element has a length of 32 bits.
fn fits(bytes: usize) -> Result<usize, Error> {
    match u32::try_from(bytes + 2) {
        Ok(_) => Ok(bytes),
        Err(_) => Err(Error::Unsupported("the labels are too large for a Segmentation object".into())),
    }
}

fn binary(s: &Segmentation, origin: &Origin) -> Result<Frames, Error> {
    let slices = &origin.stack.frames[origin.frame];
    let plane = s.labels.dims[0] * s.labels.dims[1];
    let mut wanted: Vec<(usize, usize)> = Vec::new();
    for (number, segment) in s.segments.iter().enumerate() {
        let has = |z: &usize| s.labels.data[z * plane..][..plane].contains(&segment.value);
        wanted.extend((0..slices.len()).filter(has).map(|z| (number, z)));
    }
    // An image has a frame, also where nothing was found.
    if wanted.is_empty() {
        wanted.push((0, 0));
    }
    let bytes = fits((wanted.len() * plane).div_ceil(8))?;
    let mut bits = vec![0; bytes.next_multiple_of(2)];
    for (i, (number, z)) in wanted.iter().enumerate() {
        fill(&mut bits, i * plane, s, *z, s.segments[*number].value);
    }
    let items = wanted.iter().map(|(number, z)| groups(origin, Some(*number), *z, &slices[*z])).collect();
    Ok(Frames { items, pixels: PrimitiveValue::from(bits), vr: VR::OB, bits: 1 })
}

/// Sets the bits of the pixels of a value in a slice, rows from the first one down.
fn fill(bits: &mut [u8], at: usize, s: &Segmentation, z: usize, value: u16) {
    let [columns, rows, _] = s.labels.dims;
    let plane = &s.labels.data[z * columns * rows..][..columns * rows];
    for (y, row) in plane.chunks_exact(columns).rev().enumerate() {
        for (x, _) in row.iter().enumerate().filter(|(_, v)| **v == value) {
            let bit = at + y * columns + x;
            bits[bit / 8] |= 1 << (bit % 8);
        }
    }
}

fn labelmap(s: &Segmentation, origin: &Origin) -> Result<Frames, Error> {
    let slices = &origin.stack.frames[origin.frame];
    let [columns, rows, _] = s.labels.dims;
    let plane = columns * rows;
    let known = |v: &u16| s.segments.iter().any(|segment| segment.value == *v);
    let of = |z: usize| &s.labels.data[z * plane..][..plane];
    let mut wanted: Vec<usize> = (0..slices.len()).filter(|z| of(*z).iter().any(known)).collect();
    if wanted.is_empty() {
        wanted.push(0);
    }
    let highest = s.segments.iter().map(|segment| segment.value).max().unwrap_or(0);
    let wide = highest > u16::from(u8::MAX);
    fits(wanted.len() * plane * if wide { 2 } else { 1 })?;
    let rows_down = wanted.iter().flat_map(|z| of(*z).chunks_exact(columns).rev());
    let mut values: Vec<u16> = rows_down.flatten().map(|v| if known(v) { *v } else { 0 }).collect();
    let items = wanted.iter().map(|z| groups(origin, None, *z, &slices[*z])).collect();
    if wide {
        let pixels = PrimitiveValue::U16(values.into_iter().collect());
        return Ok(Frames { items, pixels, vr: VR::OW, bits: 16 });
    }
    values.resize(values.len().next_multiple_of(2), 0);
    let bytes: Vec<u8> = values.into_iter().map(|v| v as u8).collect();
    Ok(Frames { items, pixels: PrimitiveValue::from(bytes), vr: VR::OB, bits: 8 })
}

/// What is said of a frame: the place of its slice, and its segment where it has one.
fn groups(origin: &Origin, segment: Option<usize>, z: usize, slice: &Slice) -> InMemDicomObject {
    let segment = segment.map(|s| s as u32 + 1);
    let index = segment.into_iter().chain([z as u32 + 1]).collect();
    let content = item([DataElement::new(tags::DIMENSION_INDEX_VALUES, VR::UL, PrimitiveValue::U32(index))]);
    let position = item([decimals(tags::IMAGE_POSITION_PATIENT, &slice.position)]);
    let mut groups = item([
        sequence(tags::FRAME_CONTENT_SEQUENCE, vec![content]),
        sequence(tags::PLANE_POSITION_SEQUENCE, vec![position]),
        sequence(tags::DERIVATION_IMAGE_SEQUENCE, vec![derivation(origin, slice.instance, slice.frame)]),
    ]);
    if let Some(segment) = segment {
        let identification = item([number(tags::REFERENCED_SEGMENT_NUMBER, segment as u16)]);
        groups.put(sequence(tags::SEGMENT_IDENTIFICATION_SEQUENCE, vec![identification]));
    }
    groups
}
