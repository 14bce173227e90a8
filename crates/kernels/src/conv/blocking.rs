//! How a convolution is divided into items of work.

/// Bytes of input that one item should stay below, so that they live in the second-level cache
/// while panel after panel of weights is applied to them.
const SLAB: f64 = 768e3;
/// Items below which work is divided further, so that a few threads get equal shares.
const ITEMS: usize = 12;

/// Pixels whose sums and squares are added up in 64 bits before they join wider totals: those of a row of
/// tiles at least, and no more than keeps items small.
pub const TOTALLED: std::ops::Range<usize> = 1 << 10..1 << 16;

/// What decides how a convolution is divided into items.
pub(super) struct Sizes {
    pub planes: usize,
    pub lines: usize,
    pub line: usize,
    /// Input that one output plane reads.
    pub plane_bytes: f64,
    pub weight_bytes: f64,
    /// Rows of a tile.
    pub tile: usize,
    pub panels: usize,
    /// Whether a plane is a single line, which may then be divided.
    pub flat: bool,
    /// Most pixels of an item.
    pub most: usize,
    /// Convolutions of this size that run together.
    pub together: usize,
}

impl Sizes {
    /// Lines and pixels of a block, and shares of the columns: least traffic between items and
    /// memory, with enough items. More blocks read the weights more often, more shares the input.
    pub fn blocks(&self) -> (usize, usize, usize) {
        let most = if self.flat { self.line.div_ceil(self.tile) } else { self.lines };
        let mut best = (f64::INFINITY, (self.lines, self.line, 1));
        let wanted = ITEMS.div_ceil(self.together.max(1));
        for split in (0..).map(|i| 1 << i).take_while(|&s| s <= self.panels) {
            for blocks in (0..).map(|i| 1 << i).take_while(|&b| b < 2 * most).map(|b| b.min(most)) {
                let block = most.div_ceil(blocks);
                let pixels = block * if self.flat { self.tile } else { self.line };
                if pixels > self.most && blocks < most {
                    continue;
                }
                let count = most.div_ceil(block);
                let held = self.plane_bytes / count as f64;
                let reads = if held > SLAB { self.panels as f64 } else { split as f64 };
                let items = self.planes * count * split;
                let planes = self.planes as f64;
                let traffic = planes * (self.plane_bytes * reads + self.weight_bytes * count as f64);
                // Too few items leave threads idle; a last uneven share does so a little.
                let idle = if items < wanted { wanted as f64 / items as f64 } else { 1.0 };
                let cost = traffic * idle;
                if cost < best.0 {
                    let blocks = match self.flat {
                        true => (1, (block * self.tile).min(self.line), split),
                        false => (block, self.line, split),
                    };
                    best = (cost, blocks);
                }
            }
        }
        best.1
    }
}
