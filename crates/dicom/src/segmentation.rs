//! Labels as a Segmentation object (PS3.3, A.51), binary or as a label map, on the frames of the series that they were found
//! in.
//!
//! It belongs to the patient and the study of that series: their names, dates and UIDs, which an archive files it by, are
//! copied. Nothing else of the patient is.

pub(crate) mod codes;
mod dataset;
mod frames;
mod segments;
pub(crate) mod shared;

use crate::header::{self, Header};
use crate::place::{Opener, Place};
use crate::series::{assembled, slices};
use crate::stack::Stack;
use crate::{Error, walk};
use ampoule_imaging::Volume;
use dicom_dictionary_std::uids;
use dicom_object::FileMetaTableBuilder;
use std::io::Write;

/// How labels are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Kind {
    /// A bit a pixel, in frames of each segment: what all viewers take.
    #[default]
    Binary,
    /// Values of labels as pixels (supplement 243): a frame a slice, however many labels there are.
    Labelmap,
}

/// Labels and what is said of them.
pub struct Segmentation<'a> {
    /// How they are written.
    pub kind: Kind,
    /// The instances of the series.
    pub places: &'a [Place],
    /// The frame that was read, where there are several images at every position.
    pub frame: Option<usize>,
    /// Labels on the voxels of [`crate::read`].
    pub labels: &'a Volume<u16>,
    /// What values mean.
    pub segments: &'a [Segment<'a>],
    /// Name of the model.
    pub model: &'a str,
    /// Version of the program.
    pub version: &'a str,
    /// The moment in UTC as `YYYYMMDD` and `HHMMSS`.
    pub moment: [&'a str; 2],
    /// A UID for a purpose: the same for the same content, and no other's.
    pub uid: &'a dyn Fn(&str) -> String,
}

/// A label.
#[derive(Clone, Copy, Debug)]
pub struct Segment<'a> {
    /// Its value in the labels.
    pub value: u16,
    /// Its name.
    pub name: &'a str,
    /// Red, green and blue for display.
    pub colour: Option<[u8; 3]>,
}

/// Where the labels came from.
struct Origin {
    stack: Stack,
    headers: Vec<Header>,
    /// The frame of the stack.
    frame: usize,
}

impl Segmentation<'_> {
    /// Writes the object as a DICOM file (explicit VR, little-endian). Reading the headers of the series may take `most`
    /// bytes. Fails where the series is not the one that the labels lie on.
    pub fn write(&self, most: u64, out: &mut dyn Write) -> Result<(), Error> {
        let mut opener = Opener::new(most);
        let mut all = Vec::new();
        let mut headers = Vec::new();
        for (i, place) in self.places.iter().enumerate() {
            let o = header::open(&mut opener, place, most)?;
            all.extend(slices(&o.header, &o.pixels, i)?);
            headers.push(o.header);
        }
        let stack = assembled(all, self.places)?;
        let frame = self.frame.unwrap_or(0);
        if stack.dims != self.labels.dims || frame >= stack.frames.len() {
            return Err(Error::Unsupported("the series changed while it was worked on".into()));
        }
        let Some(first) = self.places.first() else { return Err(Error::OneSlice) };
        let walked = walk::walk(opener.open(first)?, shared::COPIED, most)?;
        let study = header::parse(&walked.header, &walked.syntax)?;
        let origin = Origin { stack, headers, frame };
        // Labels of a stack that leans were found on a straight grid.
        let own = origin.stack.lean.as_ref().map(|lean| lean.back(self.labels));
        let this = Segmentation { labels: own.as_ref().unwrap_or(self.labels), ..*self };
        let object = dataset::object(&this, &origin, &study)?;
        let meta = FileMetaTableBuilder::new().transfer_syntax(uids::EXPLICIT_VR_LITTLE_ENDIAN);
        let file = object
            .with_meta(meta)
            .map_err(|e| Error::Unsupported(format!("no DICOM file can be made: {e}")))?;
        let io = |e: &dyn std::fmt::Display| Error::Io(std::io::Error::other(e.to_string()));
        file.write_all(out).map_err(|e| io(&e))
    }
}
