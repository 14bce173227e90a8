//! Other objects beside a series: a picture (Secondary Capture) and the volumes of labels (a structured report by TID 1500).
//!
//! As of a Segmentation object, what an archive files them by is copied of patient and study, and nothing else.

mod capture;
mod report;

use crate::header::{self, Header};
use crate::place::{Opener, Place};
use crate::segmentation::shared::{self, item, sequence, text};
use crate::{Error, walk};
use dicom_core::VR;
use dicom_dictionary_std::{tags, uids};
use dicom_object::{FileMetaTableBuilder, InMemDicomObject};
use std::io::Write;

/// What an object is made beside, and what is said of it.
pub struct Derived<'a> {
    /// The instances of the series.
    pub places: &'a [Place],
    /// Name of the model.
    pub model: &'a str,
    /// Version of the program.
    pub version: &'a str,
    /// The moment in UTC as `YYYYMMDD` and `HHMMSS`.
    pub moment: [&'a str; 2],
    /// A UID for a purpose: the same for the same content, and no other's.
    pub uid: &'a dyn Fn(&str) -> String,
}

/// The volume of a label.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LabelVolume<'a> {
    /// Name of the label.
    pub name: &'a str,
    /// Its volume in ml.
    pub ml: f64,
}

/// The series that an object is made beside.
struct Source {
    headers: Vec<Header>,
    study: InMemDicomObject,
}

impl Derived<'_> {
    /// Writes a picture as a Secondary Capture Image (`rgb`: red, green and blue, row by row). Reading the headers of the
    /// series may take `most` bytes.
    pub fn write_picture(
        &self,
        [width, height]: [usize; 2],
        rgb: &[u8],
        most: u64,
        out: &mut dyn Write,
    ) -> Result<(), Error> {
        let source = self.source(most)?;
        let object = capture::object(self, &source, [width, height], rgb)?;
        written(object, out)
    }

    /// Writes the volumes of labels as a Comprehensive SR document.
    pub fn write_volumes(
        &self,
        volumes: &[LabelVolume],
        most: u64,
        out: &mut dyn Write,
    ) -> Result<(), Error> {
        let source = self.source(most)?;
        written(report::object(self, &source, volumes), out)
    }

    fn source(&self, most: u64) -> Result<Source, Error> {
        let mut opener = Opener::new(most);
        let mut headers = Vec::new();
        for place in self.places {
            headers.push(header::open(&mut opener, place, most)?.header);
        }
        let Some(first) = self.places.first() else { return Err(Error::OneSlice) };
        let walked = walk::walk(opener.open(first)?, shared::COPIED, most)?;
        Ok(Source { headers, study: header::parse(&walked.header, &walked.syntax)? })
    }

    /// A UID for a purpose beside this series.
    fn uid_of(&self, purpose: &str, source: &Source) -> String {
        let first = &source.headers[0];
        (self.uid)(&format!("{purpose}|{}|{}", first.study_uid, first.series_uid))
    }

    /// What all these objects say of patient, study, series and equipment. `what` is the purpose, `above` is added to the
    /// number of the series.
    fn begun(
        &self,
        source: &Source,
        class: &str,
        modality: &str,
        what: &str,
        above: i64,
    ) -> InMemDicomObject {
        let mut o = InMemDicomObject::new_empty();
        shared::copy(&source.study, &mut o);
        let [date, time] = self.moment;
        for (tag, vr, value) in [
            (tags::SPECIFIC_CHARACTER_SET, VR::CS, "ISO_IR 192".to_owned()),
            (tags::SOP_CLASS_UID, VR::UI, class.into()),
            (tags::SOP_INSTANCE_UID, VR::UI, self.uid_of(&format!("{what} instance"), source)),
            (tags::SERIES_INSTANCE_UID, VR::UI, self.uid_of(&format!("{what} series"), source)),
            (tags::MODALITY, VR::CS, modality.into()),
            (tags::SERIES_DESCRIPTION, VR::LO, short(&format!("{what} by {}", self.model))),
            (tags::CONTENT_DATE, VR::DA, date.into()),
            (tags::CONTENT_TIME, VR::TM, time.into()),
            (tags::SERIES_DATE, VR::DA, date.into()),
            (tags::SERIES_TIME, VR::TM, time.into()),
            (tags::MANUFACTURER, VR::LO, "Ampoule".into()),
            (tags::MANUFACTURER_MODEL_NAME, VR::LO, short(self.model)),
            (tags::SOFTWARE_VERSIONS, VR::LO, short(self.version)),
            (tags::REFERRING_PHYSICIAN_NAME, VR::PN, String::new()),
            (tags::INSTANCE_NUMBER, VR::IS, "1".into()),
        ] {
            o.put(text(tag, vr, &value));
        }
        let number =
            source.headers[0].series_number.filter(|n| (0..1_000_000).contains(n)).unwrap_or(0) + above;
        o.put(text(tags::SERIES_NUMBER, VR::IS, &number.to_string()));
        o
    }
}

impl Source {
    /// References to all instances of the series.
    fn instances(&self) -> Vec<InMemDicomObject> {
        let one = |h: &Header| {
            item([
                text(tags::REFERENCED_SOP_CLASS_UID, VR::UI, &h.sop_class),
                text(tags::REFERENCED_SOP_INSTANCE_UID, VR::UI, &h.sop_uid),
            ])
        };
        self.headers.iter().map(one).collect()
    }

    /// The study with its series and all instances.
    fn evidence(&self) -> InMemDicomObject {
        let first = &self.headers[0];
        let series = item([
            text(tags::SERIES_INSTANCE_UID, VR::UI, &first.series_uid),
            sequence(tags::REFERENCED_SOP_SEQUENCE, self.instances()),
        ]);
        item([
            text(tags::STUDY_INSTANCE_UID, VR::UI, &first.study_uid),
            sequence(tags::REFERENCED_SERIES_SEQUENCE, vec![series]),
        ])
    }
}

/// The first 64 characters that a text of DICOM may have.
fn short(t: &str) -> String {
    t.chars().filter(|c| !c.is_control() && *c != '\\').take(64).collect()
}

fn written(object: InMemDicomObject, out: &mut dyn Write) -> Result<(), Error> {
    let meta = FileMetaTableBuilder::new().transfer_syntax(uids::EXPLICIT_VR_LITTLE_ENDIAN);
    let file =
        object.with_meta(meta).map_err(|e| Error::Unsupported(format!("no DICOM file can be made: {e}")))?;
    file.write_all(out).map_err(|e| Error::Io(std::io::Error::other(e.to_string())))
}
