//! `[slide]`: how slides are cut into windows.

use super::Weighting;
use super::schema::{Section, choices};
use serde::Serialize;

choices! {
    /// Which windows of a slide are looked at.
    #[derive(Default)]
    TissueRule {
        /// Those with tissue by its saturation.
        #[default]
        Otsu = "otsu",
        /// The same, without the ink of pens: for slides in haematoxylin and eosin.
        OtsuWithoutPens = "otsu-without-pens",
        /// Those with tissue by a fixed saturation, as WSInfer finds it.
        Wsinfer = "wsinfer",
        /// All for which the file holds data.
        None = "none",
    }
}

choices! {
    /// Whose rule lays windows.
    #[derive(Default)]
    SlideRule {
        /// Windows of the network's pixels that reach all borders.
        #[default]
        Covering = "covering",
        /// WSInfer's: windows of a whole number of level 0's pixels, from the first corner on, as long as their middles lie on
        /// the slide; beyond it they are black.
        Wsinfer = "wsinfer",
    }
}

impl SlideRule {
    /// Whether it is what is meant where a recipe does not say.
    fn is_usual(&self) -> bool {
        *self == SlideRule::default()
    }
}

/// How a slide is cut into windows.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Slide {
    /// Microns a pixel of the tiles that the network was trained on, before `reduce`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mpp: Option<f64>,
    /// Instead of `mpp`: the level of the slide's pyramid whose pixels are taken as they are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub level: Option<usize>,
    /// Pixels (of `mpp`) along a side of one window.
    pub window: usize,
    /// Overlap of neighbours as a share of the window, 0 to below 0.95.
    pub overlap: f64,
    /// Weights of a window's pixels where windows overlap.
    pub blend: Weighting,
    /// Whose rule lays windows.
    #[serde(skip_serializing_if = "SlideRule::is_usual")]
    pub rule: SlideRule,
    /// Which windows are looked at.
    pub tissue: TissueRule,
    /// Regions end where tissue ends.
    pub clip: bool,
    /// Outlined regions smaller than this many square microns are left out.
    pub smallest: f64,
}

impl Slide {
    pub(super) fn read(s: Section) -> Option<Slide> {
        let mpp = s.number_where("mpp", "0.05 to 50 microns", |v| (0.05..=50.0).contains(&v));
        let level = s.size("level", 0..=30);
        if s.has("mpp") == s.has("level") {
            s.wrong_here("takes either `mpp` or `level`");
        }
        let window = s.needed("window", s.size("window", 16..=8192));
        let overlap =
            s.number_where("overlap", "0 to below 0.95", |v| (0.0..0.95).contains(&v)).unwrap_or(0.0);
        let blend = s.choice("blend").unwrap_or_default();
        let rule = s.choice("rule").unwrap_or_default();
        if rule == SlideRule::Wsinfer && !s.has("mpp") {
            s.wrong("rule", "of wsinfer takes `mpp`");
        }
        let tissue = s.choice("tissue").unwrap_or_default();
        let clip = s.flag("clip").unwrap_or(false);
        if clip && tissue == TissueRule::None {
            s.wrong("clip", "needs tissue to be looked for");
        }
        let smallest = s.number_where("smallest", "at least 0", |v| v >= 0.0).unwrap_or(0.0);
        s.done();
        Some(Slide { mpp, level, window: window?, overlap, blend, rule, tissue, clip, smallest })
    }
}
