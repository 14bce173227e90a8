//! What a bundle's network takes and gives, and what else is known of it.

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

/// What stands elsewhere in a bundle and decides about its network and its transforms.
#[derive(Clone, Debug, Default)]
pub(super) struct Frame {
    /// The version of MONAI that the bundle is made for: its first two numbers.
    pub version: Option<[u32; 2]>,
    /// Sizes of the sliding window in the tensor's order, where the inferer lists them.
    pub window: Option<Vec<usize>>,
    /// Its size along all axes, where it is one number.
    pub side: Option<usize>,
}

impl Frame {
    /// Whether the bundle is made for a version before this one; `None` where it does not say.
    pub fn before(&self, version: [u32; 2]) -> Option<bool> {
        self.version.map(|own| own < version)
    }
}

/// The first two numbers of a version.
pub(super) fn version(text: &str) -> Option<[u32; 2]> {
    let mut numbers = text.trim().trim_start_matches('v').split(|c: char| !c.is_ascii_digit());
    Some([numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?])
}
