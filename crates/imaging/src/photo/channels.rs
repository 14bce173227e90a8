//! Colours as separate channels of float32.

use super::Photo;
use crate::Volume;

/// Which channels an image gives, and in which order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChannelOrder {
    /// Red, green, blue.
    Rgb,
    /// Blue, green, red, as OpenCV orders them.
    Bgr,
    /// One channel: luma by ITU-R 601-2.
    Grey,
}

impl ChannelOrder {
    /// The place of each channel among red, green and blue; `None` for grey.
    fn places(self) -> Option<[usize; 3]> {
        match self {
            ChannelOrder::Rgb => Some([0, 1, 2]),
            ChannelOrder::Bgr => Some([2, 1, 0]),
            ChannelOrder::Grey => None,
        }
    }
}

impl Photo {
    /// Its channels, one voxel thick, 0 to 255. Grey is rounded to whole levels ([`Photo::grey`]).
    pub fn channels(&self, order: ChannelOrder) -> Vec<Volume<f32>> {
        let dims = [self.width, self.height, 1];
        let channel = |c: usize| self.rgb.iter().skip(c).step_by(3).map(|&v| v as f32).collect();
        match order.places() {
            Some(places) => places.map(|c| Volume { dims, data: channel(c) }).into(),
            None => vec![Volume { dims, data: self.grey().into_iter().map(f32::from).collect() }],
        }
    }
}

/// The channels of levels that are not rounded, red, green and blue innermost, of an image of `width` by `height`
/// pixels. Grey is not rounded.
pub fn channels_of_levels(
    levels: &[f32],
    [width, height]: [usize; 2],
    order: ChannelOrder,
) -> Vec<Volume<f32>> {
    let dims = [width, height, 1];
    let channel = |c: usize| levels.iter().skip(c).step_by(3).copied().collect();
    match order.places() {
        Some(places) => places.map(|c| Volume { dims, data: channel(c) }).into(),
        None => {
            let grey = |p: &[f32]| 0.299 * p[0] + 0.587 * p[1] + 0.114 * p[2];
            vec![Volume { dims, data: levels.chunks_exact(3).map(grey).collect() }]
        }
    }
}
