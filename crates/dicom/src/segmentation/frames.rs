//! Frames: one for each slice that a segment has voxels in, a bit a pixel.

use super::shared::{decimals, derivation, item, number, sequence};
use super::{Origin, Segmentation};
use crate::Error;
use crate::stack::Slice;
use dicom_core::{DataElement, PrimitiveValue, VR};
use dicom_dictionary_std::tags;
use dicom_object::InMemDicomObject;

/// Frames with their pixels.
pub(super) struct Frames {
    /// Functional groups of each.
    pub items: Vec<InMemDicomObject>,
    /// Bits of all, the first pixel in the lowest bit, of an even number of bytes.
    pub bits: Vec<u8>,
}

pub(super) fn frames(s: &Segmentation, origin: &Origin) -> Result<Frames, Error> {
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
    let bytes = (wanted.len() * plane).div_ceil(8);
    if u32::try_from(bytes + 2).is_err() {
        return Err(Error::Unsupported("the labels are too large for a Segmentation object".into()));
    }
    let mut bits = vec![0; bytes.next_multiple_of(2)];
    for (i, (number, z)) in wanted.iter().enumerate() {
        fill(&mut bits, i * plane, s, *z, s.segments[*number].value);
    }
    let items = wanted.iter().map(|(number, z)| groups(origin, *number, *z, &slices[*z])).collect();
    Ok(Frames { items, bits })
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

fn groups(origin: &Origin, segment: usize, z: usize, slice: &Slice) -> InMemDicomObject {
    let segment = segment as u32 + 1;
    let index = PrimitiveValue::U32([segment, z as u32 + 1].into_iter().collect());
    let content = item([DataElement::new(tags::DIMENSION_INDEX_VALUES, VR::UL, index)]);
    let position = item([decimals(tags::IMAGE_POSITION_PATIENT, &slice.position)]);
    let identification = item([number(tags::REFERENCED_SEGMENT_NUMBER, segment as u16)]);
    item([
        sequence(tags::FRAME_CONTENT_SEQUENCE, vec![content]),
        sequence(tags::PLANE_POSITION_SEQUENCE, vec![position]),
        sequence(tags::SEGMENT_IDENTIFICATION_SEQUENCE, vec![identification]),
        sequence(tags::DERIVATION_IMAGE_SEQUENCE, vec![derivation(origin, slice.instance, slice.frame)]),
    ])
}
