//! `[tiles]`: how photos that are larger than a classifier's patch are cut into windows.

use super::schema::{Section, choices};
use serde::Serialize;

choices! {
    /// How the scores of a photo's windows become those of the photo.
    #[derive(Default)]
    Pool {
        /// The mean of the windows that show the most.
        #[default]
        Highest = "highest",
        /// The mean of all windows.
        Mean = "mean",
    }
}

/// How a photo is cut into windows, each of which goes through all steps as a patch of its own.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Tiles {
    /// Pixels of the photos' longer side where the patches that the network was trained on were cut: longer photos are shrunk
    /// to it first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub longest: Option<usize>,
    /// Pixels of the photo along a side of one window: the size of the patches that the network was trained on.
    pub window: usize,
    /// Overlap of neighbours as a share of the window, 0 to below 0.95.
    pub overlap: f64,
    /// How the photo's scores are made of those of its windows.
    pub decide: Pool,
    /// With [`Pool::Highest`]: how many windows are averaged.
    pub top: usize,
}

impl Tiles {
    pub(super) fn read(s: Section) -> Option<Tiles> {
        let window = s.needed("window", s.size("window", 8..=8192));
        let longest = s.size("longest", 8..=65_535);
        if window.zip(longest).is_some_and(|(w, l)| l < w) {
            s.wrong("longest", "must be at least as large as `window`");
        }
        let overlap =
            s.number_where("overlap", "0 to below 0.95", |v| (0.0..0.95).contains(&v)).unwrap_or(0.5);
        let decide = s.choice("decide").unwrap_or_default();
        if decide == Pool::Mean && s.has("top") {
            s.wrong("top", "is for `decide = \"highest\"`");
        }
        let top = s.size("top", 1..=10_000).unwrap_or(1);
        s.done();
        Some(Tiles { longest, window: window?, overlap, decide, top })
    }

    /// Whether a photo of `dims` is cut into windows: it is larger than one along a side.
    pub(crate) fn cuts(&self, dims: [usize; 3]) -> bool {
        dims[0] > self.window || dims[1] > self.window
    }

    /// The size of a photo of `dims` as it is cut.
    pub(crate) fn cut_size(&self, dims: [usize; 3]) -> [usize; 2] {
        let own = [dims[0], dims[1]];
        match self.longest.filter(|l| *l < own[0].max(own[1])) {
            Some(l) => {
                own.map(|n| ((n as f64 * l as f64 / own[0].max(own[1]) as f64).round() as usize).max(1))
            }
            None => own,
        }
    }
}
