//! Where each buffer lies in the arena: lifetimes, largest first, best fit.
//!
//! The algorithm is the greedy one of XNNPACK's and TensorFlow Lite's planners (Pisarchyk and Lee,
//! "Efficient Memory Management for Deep Neural Net Inference", 2020): buffers by descending size,
//! each into the smallest gap among those alive at the same time.

/// A buffer to place: size in bytes and the inclusive range of steps during which it is alive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Block {
    /// Size in bytes.
    pub size: usize,
    /// First step that touches it.
    pub first: usize,
    /// Last step that touches it.
    pub last: usize,
}

/// The result: an offset for each block, and the size of the arena, in bytes.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Plan {
    /// Offsets in the order of the blocks.
    pub offsets: Vec<usize>,
    /// Bytes of the whole arena.
    pub size: usize,
}

/// Offsets are multiples of this many bytes: one cache line.
const ALIGN: usize = 64;

/// A block that has its place: the bytes `from..to`, while it is alive.
struct Placed {
    from: usize,
    to: usize,
    first: usize,
    last: usize,
}

/// Places `blocks`; no two that are alive at the same step overlap.
pub fn plan(blocks: &[Block]) -> Plan {
    let mut order: Vec<usize> = (0..blocks.len()).filter(|&i| blocks[i].size > 0).collect();
    order.sort_by_key(|&i| (std::cmp::Reverse(blocks[i].size), i));
    let mut result = Plan { offsets: vec![0; blocks.len()], size: 0 };
    // By offset, so that gaps are found in one pass: networks may hold tens of thousands of values at once.
    let mut placed: Vec<Placed> = Vec::new();
    for i in order {
        let b = blocks[i];
        let size = b.size.next_multiple_of(ALIGN);
        let (mut best, mut best_gap, mut end) = (None, usize::MAX, 0);
        for p in placed.iter().filter(|p| p.first <= b.last && b.first <= p.last) {
            let gap = p.from.saturating_sub(end);
            if gap >= size && gap < best_gap {
                (best, best_gap) = (Some(end), gap);
            }
            end = end.max(p.to);
        }
        let from = best.unwrap_or(end);
        let to = from + size;
        result.offsets[i] = from;
        result.size = result.size.max(to);
        let at = placed.partition_point(|p| (p.from, p.to) < (from, to));
        placed.insert(at, Placed { from, to, first: b.first, last: b.last });
    }
    result
}

/// The least any plan can need: the largest sum of sizes alive at one step.
#[cfg(test)]
pub(crate) fn lower_bound(blocks: &[Block]) -> usize {
    let last = blocks.iter().map(|b| b.last).max().unwrap_or(0);
    let at = |s: usize| blocks.iter().filter(move |b| b.first <= s && s <= b.last);
    (0..=last).map(|s| at(s).map(|b| b.size.next_multiple_of(ALIGN)).sum()).max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn live_blocks_never_overlap(list in prop::collection::vec((0usize..5000, 0usize..40, 0usize..10), 0..60)) {
            let blocks: Vec<Block> =
                list.iter().map(|&(size, first, len)| Block { size, first, last: first + len }).collect();
            let p = plan(&blocks);
            prop_assert!(p.size >= lower_bound(&blocks));
            for i in 0..blocks.len() {
                prop_assert!(p.offsets[i] + blocks[i].size <= p.size || blocks[i].size == 0);
                prop_assert_eq!(p.offsets[i] % ALIGN, 0);
                for j in 0..i {
                    let (a, b) = (blocks[i], blocks[j]);
                    if a.first <= b.last && b.first <= a.last && a.size > 0 && b.size > 0 {
                        let separate = p.offsets[i] + a.size <= p.offsets[j] || p.offsets[j] + b.size <= p.offsets[i];
                        prop_assert!(separate, "{:?} {:?}", a, b);
                    }
                }
            }
        }
    }

    #[test]
    fn a_gap_that_fits_best_is_taken() {
        let block = |size, first, last| Block { size, first, last };
        // At step 1 the first two leave; what comes then takes the smaller of the two gaps that are large enough.
        let blocks =
            [block(640, 0, 0), block(576, 0, 2), block(512, 0, 0), block(448, 0, 2), block(384, 1, 2)];
        let p = plan(&blocks);
        assert_eq!(p.offsets, [0, 640, 1216, 1728, 1216]);
        assert_eq!(p.size, 640 + 576 + 512 + 448);
    }

    #[test]
    fn a_chain_needs_its_two_largest_neighbours() {
        let sizes = [160, 320, 64, 480, 16];
        let blocks: Vec<Block> =
            sizes.iter().enumerate().map(|(i, &size)| Block { size, first: i, last: i + 1 }).collect();
        assert_eq!(plan(&blocks).size, lower_bound(&blocks));
    }
}
