//! What is read of an instance: its place in a series, its pixels' layout, and where each of its frames lies.

use crate::place::{Content, Opener, Place};
use crate::values::{float_or, floats, int, int_or, items, text, texts, three, two};
use crate::walk::{Pixels, Walked, walk};
use crate::{Error, objects};
use dicom_core::Tag;
use dicom_dictionary_std::tags;
use dicom_object::InMemDicomObject;
use dicom_transfer_syntax_registry::{TransferSyntaxIndex, TransferSyntaxRegistry};

/// The elements that are read of every instance, sorted. Name and number of the patient are compared with the series'
/// description, so that they get into no name of a result, and dropped.
const WANTED: &[Tag] = &[
    tags::SPECIFIC_CHARACTER_SET,
    tags::IMAGE_TYPE,
    tags::SOP_CLASS_UID,
    tags::SOP_INSTANCE_UID,
    tags::MODALITY,
    tags::STATION_NAME,
    tags::SERIES_DESCRIPTION,
    tags::PATIENT_NAME,
    tags::PATIENT_ID,
    tags::BODY_PART_EXAMINED,
    tags::ECHO_TIME,
    tags::INVERSION_TIME,
    tags::PROTOCOL_NAME,
    tags::TRIGGER_TIME,
    tags::DIFFUSION_B_VALUE,
    tags::STUDY_INSTANCE_UID,
    tags::SERIES_INSTANCE_UID,
    tags::SERIES_NUMBER,
    tags::ACQUISITION_NUMBER,
    tags::IMAGE_POSITION_PATIENT,
    tags::IMAGE_ORIENTATION_PATIENT,
    tags::FRAME_OF_REFERENCE_UID,
    tags::TEMPORAL_POSITION_IDENTIFIER,
    tags::SAMPLES_PER_PIXEL,
    tags::PHOTOMETRIC_INTERPRETATION,
    tags::NUMBER_OF_FRAMES,
    tags::ROWS,
    tags::COLUMNS,
    tags::PIXEL_SPACING,
    tags::BITS_ALLOCATED,
    tags::BITS_STORED,
    tags::HIGH_BIT,
    tags::PIXEL_REPRESENTATION,
    tags::RESCALE_INTERCEPT,
    tags::RESCALE_SLOPE,
    tags::LOSSY_IMAGE_COMPRESSION,
    tags::MODALITY_LUT_SEQUENCE,
    tags::SHARED_FUNCTIONAL_GROUPS_SEQUENCE,
    tags::PER_FRAME_FUNCTIONAL_GROUPS_SEQUENCE,
    tags::EXTENDED_OFFSET_TABLE,
];

/// What is known of an instance.
#[derive(Clone, Debug)]
pub(crate) struct Header {
    pub sop_class: String,
    pub sop_uid: String,
    pub study_uid: String,
    pub series_uid: String,
    pub frame_of_reference: String,
    pub modality: String,
    /// Body part that was examined.
    pub body_part: String,
    /// Name of the device.
    pub station: String,
    pub series_number: Option<i64>,
    /// Description of the series, without what names the patient.
    pub description: String,
    pub rows: usize,
    pub columns: usize,
    pub layout: PixelLayout,
    pub lossy: bool,
    /// Where each frame lies.
    pub frames: Vec<Frame>,
}

/// How pixels are stored.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct PixelLayout {
    pub syntax: String,
    pub allocated: u32,
    pub stored: u32,
    pub signed: bool,
    pub photometric: String,
}

/// Where a frame lies, and what its values mean.
#[derive(Clone, Debug, Default)]
pub(crate) struct Frame {
    pub position: Option<[f64; 3]>,
    /// Directions of rows and of columns.
    pub orientation: Option<[[f64; 3]; 2]>,
    /// Distances of rows and of columns in mm.
    pub spacing: Option<[f64; 2]>,
    pub slope: f64,
    pub intercept: f64,
    pub key: Key,
}

/// What tells images at one position apart.
#[derive(Clone, Debug, Default)]
pub(crate) struct Key {
    pub echo_time: Option<f64>,
    pub temporal: Option<f64>,
    pub b_value: Option<f64>,
    pub trigger_time: Option<f64>,
    pub inversion_time: Option<f64>,
    pub acquisition: Option<f64>,
    pub kind: String,
}

/// An instance with its pixels.
pub(crate) struct Opened {
    pub header: Header,
    pub pixels: Pixels,
    pub content: Content,
    /// Where packed frames begin, in bytes from the first fragment on; none where nothing says it.
    pub offsets: Vec<u64>,
}

/// Opens an instance; reading it may take `most` bytes besides its pixels.
pub(crate) fn open(opener: &mut Opener, place: &Place, most: u64) -> Result<Opened, Error> {
    let Walked { syntax, header, pixels, mut content } = walk(opener.open(place)?, WANTED, most)?;
    let object = parse(&header, &syntax)?;
    let header = Header::of(&object, &syntax, &pixels)?;
    let offsets = offsets(&object, &pixels, &mut content)?;
    Ok(Opened { header, pixels, content, offsets })
}

/// Where packed frames begin, in bytes from the first fragment on.
fn offsets(o: &InMemDicomObject, pixels: &Pixels, content: &mut Content) -> Result<Vec<u64>, Error> {
    if let Some(e) = o.get(tags::EXTENDED_OFFSET_TABLE) {
        return e.to_multi_int().map_err(|_| Error::damaged("its table of offsets makes no sense"));
    }
    match pixels {
        Pixels::Fragments(list) if list.len() > 2 => {
            let table = content.range(list[0].0, list[0].1)?;
            Ok(table.as_chunks::<4>().0.iter().map(|b| u32::from_le_bytes(*b).into()).collect())
        }
        _ => Ok(Vec::new()),
    }
}

/// The elements that the walk took.
pub(crate) fn parse(header: &[u8], syntax: &str) -> Result<InMemDicomObject, Error> {
    let Some(known) = TransferSyntaxRegistry.get(syntax) else {
        return Err(Error::Unsupported(format!("its transfer syntax {syntax} is unknown")));
    };
    InMemDicomObject::read_dataset_with_ts(header, known)
        .map_err(|_| Error::damaged("its elements cannot be read"))
}

impl Header {
    /// Refuses objects that hold no slices, by what they are, before anything else is asked of them.
    fn of(o: &InMemDicomObject, syntax: &str, pixels: &Pixels) -> Result<Header, Error> {
        let sop_class = text(o, tags::SOP_CLASS_UID).unwrap_or_default();
        let image_type = texts(o, tags::IMAGE_TYPE);
        let samples = int(o, tags::SAMPLES_PER_PIXEL).unwrap_or(1);
        if let Some(what) = objects::other(&sop_class, &image_type, samples, pixels) {
            return Err(Error::NotVolume { what });
        }
        if image_type.iter().any(|t| t == "MOSAIC") {
            return Err(Error::Unsupported(
                "its slices are tiles of one image (Siemens mosaic), which is not read; convert the series with dcm2niix".into(),
            ));
        }
        if !items(o, tags::MODALITY_LUT_SEQUENCE).is_empty() {
            return Err(Error::Unsupported(
                "its values go through a table (Modality LUT), which is not supported; export the series with rescale slope and intercept".into(),
            ));
        }
        let size = |tag: Tag| int_or(o, tag, 0).map(|v| usize::try_from(v).unwrap_or(0));
        Ok(Header {
            sop_class,
            sop_uid: text(o, tags::SOP_INSTANCE_UID).unwrap_or_default(),
            study_uid: text(o, tags::STUDY_INSTANCE_UID).unwrap_or_default(),
            series_uid: text(o, tags::SERIES_INSTANCE_UID).unwrap_or_default(),
            frame_of_reference: text(o, tags::FRAME_OF_REFERENCE_UID).unwrap_or_default(),
            modality: text(o, tags::MODALITY).unwrap_or_default(),
            body_part: text(o, tags::BODY_PART_EXAMINED).unwrap_or_default(),
            station: text(o, tags::STATION_NAME).unwrap_or_default(),
            series_number: int(o, tags::SERIES_NUMBER),
            description: description(o),
            rows: size(tags::ROWS)?,
            columns: size(tags::COLUMNS)?,
            layout: PixelLayout::of(o, syntax)?,
            lossy: text(o, tags::LOSSY_IMAGE_COMPRESSION).is_some_and(|t| t == "01"),
            frames: frames(o)?,
        })
    }
}

impl PixelLayout {
    fn of(o: &InMemDicomObject, syntax: &str) -> Result<PixelLayout, Error> {
        let bits = |tag: Tag, absent: i64| int_or(o, tag, absent).map(|v| u32::try_from(v).unwrap_or(0));
        let allocated = bits(tags::BITS_ALLOCATED, 0)?;
        let stored = bits(tags::BITS_STORED, allocated.into())?;
        if bits(tags::HIGH_BIT, i64::from(stored) - 1)?.checked_add(1) != Some(stored) {
            return Err(Error::Unsupported(
                "the lowest bit of its pixels is not the first of their bytes (High Bit); convert it with `gdcmconv --raw IN OUT`".into(),
            ));
        }
        let signed = int_or(o, tags::PIXEL_REPRESENTATION, 0)?;
        if !(0..=1).contains(&signed) {
            return Err(Error::damaged(format!("its Pixel Representation is {signed}, not 0 or 1")));
        }
        let photometric = text(o, tags::PHOTOMETRIC_INTERPRETATION).unwrap_or_default();
        Ok(PixelLayout { syntax: syntax.into(), allocated, stored, signed: signed == 1, photometric })
    }
}

/// The description of the series, else its protocol; empty where it names the patient.
pub(crate) fn description(o: &InMemDicomObject) -> String {
    let of = |tag| text(o, tag).filter(|t| !t.is_empty());
    let told = of(tags::SERIES_DESCRIPTION).or_else(|| of(tags::PROTOCOL_NAME)).unwrap_or_default();
    let lower = told.to_lowercase();
    let identity = [tags::PATIENT_NAME, tags::PATIENT_ID].into_iter().filter_map(|t| text(o, t));
    let names = identity.flat_map(|name| {
        let parts = name.split(|c: char| !c.is_alphanumeric());
        parts.filter(|p| p.chars().count() > 2).map(str::to_lowercase).collect::<Vec<_>>()
    });
    let mut names = names;
    if names.any(|n| lower.contains(&n)) { String::new() } else { told }
}

/// Where the frames of an image lie: those of one without functional groups all lie where it says.
fn frames(o: &InMemDicomObject) -> Result<Vec<Frame>, Error> {
    let own = Frame {
        position: three(o, tags::IMAGE_POSITION_PATIENT),
        orientation: orientation(o),
        spacing: two(o, tags::PIXEL_SPACING),
        slope: slope(o)?,
        intercept: float_or(o, tags::RESCALE_INTERCEPT, 0.0)?,
        key: Key {
            echo_time: one(o, tags::ECHO_TIME),
            temporal: one(o, tags::TEMPORAL_POSITION_IDENTIFIER),
            b_value: one(o, tags::DIFFUSION_B_VALUE),
            trigger_time: one(o, tags::TRIGGER_TIME),
            inversion_time: one(o, tags::INVERSION_TIME),
            acquisition: one(o, tags::ACQUISITION_NUMBER),
            kind: texts(o, tags::IMAGE_TYPE).join("\\"),
        },
    };
    let count = int_or(o, tags::NUMBER_OF_FRAMES, 1)?;
    let each = items(o, tags::PER_FRAME_FUNCTIONAL_GROUPS_SEQUENCE);
    if each.is_empty() {
        return match count {
            1 => Ok(vec![own]),
            n => Err(Error::NotVolume { what: format!("an image of {n} frames without places in space") }),
        };
    }
    if i64::try_from(each.len()) != Ok(count) {
        let told = each.len();
        return Err(Error::damaged(format!("it has {count} frames and describes {told}")));
    }
    let shared = items(o, tags::SHARED_FUNCTIONAL_GROUPS_SEQUENCE).first();
    each.iter().map(|item| grouped(item, shared, &own)).collect()
}

/// A frame by its functional groups: its own, else those of all frames, else what the image says.
fn grouped(item: &InMemDicomObject, shared: Option<&InMemDicomObject>, own: &Frame) -> Result<Frame, Error> {
    let group = |tag: Tag| {
        let first = items(item, tag).first();
        first.or_else(|| shared.and_then(|s| items(s, tag).first()))
    };
    let mut frame = own.clone();
    if let Some(p) = group(tags::PLANE_POSITION_SEQUENCE) {
        frame.position = three(p, tags::IMAGE_POSITION_PATIENT);
    }
    if let Some(p) = group(tags::PLANE_ORIENTATION_SEQUENCE) {
        frame.orientation = orientation(p);
    }
    if let Some(p) = group(tags::PIXEL_MEASURES_SEQUENCE) {
        frame.spacing = two(p, tags::PIXEL_SPACING);
    }
    if let Some(p) = group(tags::PIXEL_VALUE_TRANSFORMATION_SEQUENCE) {
        frame.slope = slope(p)?;
        frame.intercept = float_or(p, tags::RESCALE_INTERCEPT, 0.0)?;
    }
    let key = &mut frame.key;
    let of = |sequence: Tag, tag: Tag| group(sequence).and_then(|p| one(p, tag));
    let content = |tag| of(tags::FRAME_CONTENT_SEQUENCE, tag);
    key.echo_time = of(tags::MR_ECHO_SEQUENCE, tags::EFFECTIVE_ECHO_TIME).or(key.echo_time);
    key.b_value = of(tags::MR_DIFFUSION_SEQUENCE, tags::DIFFUSION_B_VALUE).or(key.b_value);
    key.temporal = content(tags::TEMPORAL_POSITION_INDEX).or(key.temporal);
    key.acquisition = content(tags::FRAME_ACQUISITION_NUMBER).or(key.acquisition);
    let types = [tags::MR_IMAGE_FRAME_TYPE_SEQUENCE, tags::CT_IMAGE_FRAME_TYPE_SEQUENCE];
    if let Some(p) = types.into_iter().find_map(group) {
        key.kind = texts(p, tags::FRAME_TYPE).join("\\");
    }
    Ok(frame)
}

/// The factor of values; one of 0 would make all of them the same.
fn slope(o: &InMemDicomObject) -> Result<f64, Error> {
    match float_or(o, tags::RESCALE_SLOPE, 1.0)? {
        0.0 => Err(Error::damaged("its Rescale Slope is 0")),
        slope => Ok(slope),
    }
}

fn one(o: &InMemDicomObject, tag: Tag) -> Option<f64> {
    floats(o, tag).first().copied()
}

fn orientation(o: &InMemDicomObject) -> Option<[[f64; 3]; 2]> {
    match floats(o, tags::IMAGE_ORIENTATION_PATIENT)[..] {
        [a, b, c, d, e, f] => Some([[a, b, c], [d, e, f]]),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wanted_elements_are_sorted() {
        assert!(WANTED.is_sorted());
    }
}
