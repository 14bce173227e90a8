//! What a bundle's network takes and gives.

/// Spatial axes and channels of a network.
#[derive(Clone, Copy, Debug)]
pub(super) struct Form {
    /// Two for images, three for volumes.
    pub axes: usize,
    /// Channels of its input.
    pub channels: usize,
    /// Channels of its output.
    pub outputs: usize,
    /// Whether it gives numbers for a whole image.
    pub classifier: bool,
}
