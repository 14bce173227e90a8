//! `[[input]]`: the files of a case and their channels.

use super::schema::{Section, choices};
use ampoule_imaging::photo::ChannelOrder;
use serde::Serialize;

choices! {
    /// What a file is read as.
    Kind {
        /// A volume with a position in space, in mm.
        Volume = "volume",
        /// A photo, a tile or a slide.
        Image = "image",
    }
}

choices! {
    /// Channels of an image, in order.
    Colours {
        /// One channel, by the weights of ITU-R 601-2.
        Grey = "grey",
        /// Red, green, blue.
        Rgb = "rgb",
        /// Blue, green, red.
        Bgr = "bgr",
    }
}

choices! {
    /// What happens where a file lies on another grid than the first.
    #[derive(Default)]
    Agree {
        /// The case is refused.
        #[default]
        Same = "same",
        /// It is resampled to the first, linearly.
        Resample = "resample",
    }
}

/// One file of a case.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Input {
    /// Name of the channel, also the column of a manifest.
    pub name: String,
    /// What the file is read as.
    pub kind: Kind,
    /// Channels of an image.
    pub colours: Colours,
    /// Ends of file names (before `.nii.gz`, `.png` …) by which this file of a case is found.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub suffix: Vec<String>,
    /// Descriptions of DICOM series, or parts of them, by which this file of a case is found in a study.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub series: Vec<String>,
    /// The modality that DICOM series must be of, such as `CT`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub modality: Option<String>,
    /// Frame of a 4D file, counted from 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub frame: Option<usize>,
    /// What happens where the file lies on another grid than the first.
    pub grid: Agree,
}

impl Colours {
    /// The channels of an image as imaging names them.
    pub(crate) fn order(self) -> ChannelOrder {
        match self {
            Colours::Rgb => ChannelOrder::Rgb,
            Colours::Bgr => ChannelOrder::Bgr,
            Colours::Grey => ChannelOrder::Grey,
        }
    }
}

impl Input {
    /// Channels that the file gives.
    pub fn channels(&self) -> usize {
        match (self.kind, self.colours) {
            (Kind::Volume, _) | (Kind::Image, Colours::Grey) => 1,
            (Kind::Image, Colours::Rgb | Colours::Bgr) => 3,
        }
    }

    /// The modality that DICOM series must be of: the one that is said, or the name, where that is one.
    pub fn modality(&self) -> Option<&str> {
        let own = ["CT", "MR", "PT"].iter().find(|m| m.eq_ignore_ascii_case(&self.name));
        self.modality.as_deref().or(own.copied())
    }

    pub(super) fn read(s: Section) -> Option<Input> {
        let name = s.needed("name", s.text("name"));
        let stated = s.choice("kind");
        let kind = stated.unwrap_or(Kind::Volume);
        let default = if kind == Kind::Volume { Colours::Grey } else { Colours::Rgb };
        let colours = s.choice("colours").unwrap_or(default);
        let unclear = stated.is_none() && s.has("kind");
        if kind == Kind::Volume && colours != Colours::Grey && !unclear {
            s.wrong("colours", "is for images; a volume has one channel");
        }
        let suffix = s.texts("suffix").unwrap_or_default();
        if suffix.iter().any(|t| t.is_empty() || t.contains(['/', '\\'])) {
            s.wrong("suffix", "must be ends of file names, such as \"_0000\"");
        }
        let series = s.texts("series").unwrap_or_default();
        let modality = s.text("modality");
        for key in ["series", "modality"] {
            if kind == Kind::Image && s.has(key) && !unclear {
                s.wrong(key, "is for volumes, which may be DICOM series");
            }
        }
        let frame = s.size("frame", 0..=65_535);
        let grid = s.choice("grid").unwrap_or_default();
        s.done();
        if unclear {
            return None;
        }
        Some(Input { name: name?, kind, colours, suffix, series, modality, frame, grid })
    }
}
