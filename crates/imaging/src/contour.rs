//! Outlines of regions, traced row by row: memory grows with the regions that are open, not with the
//! image.
//!
//! Rings run through the middles between the centres of neighbouring pixels (marching squares on a binary
//! image; Lorensen and Cline 1987 in two dimensions), so straight borders lie on pixel borders, corners are
//! cut, and rings touch neither themselves nor each other. Regions are connected by sides; pixels that
//! share only a corner are separate.

use std::collections::{HashMap, VecDeque};

/// A closed ring: vertices in half pixels from the image's top left corner; the first is not repeated.
pub type Ring = Vec<[i32; 2]>;

/// One region.
#[derive(Clone, Debug, PartialEq)]
pub struct Region {
    /// Its border.
    pub outer: Ring,
    /// Borders of what it encloses and does not hold.
    pub holes: Vec<Ring>,
    /// Its pixels.
    pub pixels: u64,
    /// Sum of the values given with them.
    pub sum: f64,
}

/// Twice the area that a ring encloses, in quarter pixels; the sign is its direction.
fn doubled_area(ring: &[[i32; 2]]) -> i64 {
    let n = ring.len();
    (0..n)
        .map(|i| {
            let (a, b) = (ring[i], ring[(i + 1) % n]);
            a[0] as i64 * b[1] as i64 - b[0] as i64 * a[1] as i64
        })
        .sum()
}

/// Numbers of regions, old ones included, beyond which they are given anew.
const CROWD: usize = if cfg!(test) { 8 } else { 1 << 20 };

/// A border that is not closed yet, in its direction (the region on its right hand).
struct Chain {
    points: VecDeque<[i32; 2]>,
    region: u32,
}

#[derive(Default)]
struct Open {
    rings: Vec<Ring>,
    pixels: u64,
    sum: f64,
    /// The last row with a pixel of it.
    row: usize,
}

/// Where a chain of borders crosses into the next cell: its number. Whether it is the chain's end or its
/// beginning follows from the pixels next to the crossing.
type Crossing = Option<u32>;

/// Takes the rows of an image from the top and gives regions as they end.
pub struct Tracer {
    width: usize,
    row: usize,
    /// Regions of the pixels of the row before, from a column of background on; 0 is background.
    above: Vec<u32>,
    below: Vec<u32>,
    crossings: Vec<Crossing>,
    chains: HashMap<u32, Chain>,
    /// Numbers of chains that became part of others.
    joined: HashMap<u32, u32>,
    next_chain: u32,
    parents: Vec<u32>,
    open: HashMap<u32, Open>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Top,
    Left,
    Right,
    Bottom,
}

impl Tracer {
    /// A tracer of images of `width` pixels.
    pub fn new(width: usize) -> Self {
        Tracer {
            width,
            row: 0,
            above: vec![0; width + 2],
            below: vec![0; width + 2],
            crossings: vec![None; width + 1],
            chains: HashMap::new(),
            joined: HashMap::new(),
            next_chain: 0,
            parents: vec![0],
            open: HashMap::new(),
        }
    }

    /// Takes the next row: `value(x)` is a number to sum up where the pixel belongs to a region. Gives
    /// regions that ended above it.
    pub fn push(&mut self, value: impl Fn(usize) -> Option<f32>, ended: &mut dyn FnMut(Region)) {
        self.below.fill(0);
        let mut last = 0;
        for x in 0..self.width {
            let Some(v) = value(x) else {
                last = 0;
                continue;
            };
            let over = self.above[x + 1];
            let region = match (last, over) {
                (0, 0) => {
                    let new = self.parents.len() as u32;
                    self.parents.push(new);
                    self.open.insert(new, Open::default());
                    new
                }
                (0, over) => over,
                (last, 0) => last,
                (last, over) => self.unite(last, over),
            };
            let root = self.root(region);
            if let Some(o) = self.open.get_mut(&root) {
                o.pixels += 1;
                o.sum += v as f64;
                o.row = self.row + 1;
            }
            self.below[x + 1] = root;
            last = root;
        }
        self.next_row(ended);
    }

    /// Takes a row without any region.
    pub fn push_blank(&mut self, ended: &mut dyn FnMut(Region)) {
        self.below.fill(0);
        self.next_row(ended);
    }

    /// Ends the image and gives the regions that reached its last row.
    pub fn finish(mut self, ended: &mut dyn FnMut(Region)) {
        self.push_blank(ended);
    }

    fn root(&mut self, mut i: u32) -> u32 {
        while self.parents[i as usize] != i {
            let up = self.parents[self.parents[i as usize] as usize];
            self.parents[i as usize] = up;
            i = up;
        }
        i
    }

    fn unite(&mut self, a: u32, b: u32) -> u32 {
        let (a, b) = (self.root(a), self.root(b));
        if a == b {
            return a;
        }
        self.parents[b as usize] = a;
        if let (Some(from), Some(to)) = (self.open.remove(&b), self.open.get_mut(&a)) {
            to.rings.extend(from.rings);
            to.pixels += from.pixels;
            to.sum += from.sum;
            to.row = to.row.max(from.row);
        }
        a
    }

    fn next_row(&mut self, ended: &mut dyn FnMut(Region)) {
        if self.above.iter().chain(&self.below).any(|&v| v != 0) {
            self.cells(ended);
        }
        std::mem::swap(&mut self.above, &mut self.below);
        self.row += 1;
        if self.parents.len() > CROWD && self.parents.len() > 4 * self.open.len() {
            self.renumber();
        }
    }

    /// Gives the regions that are open the lowest numbers, and forgets the others.
    fn renumber(&mut self) {
        let mut new: HashMap<u32, u32> = HashMap::new();
        let open = std::mem::take(&mut self.open);
        for (root, region) in open {
            let number = new.len() as u32 + 1;
            new.insert(root, number);
            self.open.insert(number, region);
        }
        for x in 0..self.above.len() {
            let root = self.root(self.above[x]);
            self.above[x] = new.get(&root).copied().unwrap_or(0);
        }
        let mut chains = std::mem::take(&mut self.chains);
        for chain in chains.values_mut() {
            chain.region = new.get(&self.root(chain.region)).copied().unwrap_or(0);
        }
        self.chains = chains;
        self.parents = (0..=new.len() as u32).collect();
    }

    /// Borders between the row before and this one.
    fn cells(&mut self, ended: &mut dyn FnMut(Region)) {
        let mut left: Crossing = None;
        for x in 0..=self.width {
            let [tl, tr, bl, br] = [self.above[x], self.above[x + 1], self.below[x], self.below[x + 1]];
            let inside = [tl, tr, bl, br].map(|v| v != 0);
            let mut right = None;
            use Side::{Bottom, Left, Right, Top};
            let segments: &[(Side, Side, u32)] = match inside {
                [false, false, false, false] | [true, true, true, true] => &[],
                // Two corners apart: each is cut off by itself.
                [true, false, false, true] => &[(Top, Left, tl), (Bottom, Right, br)],
                [false, true, true, false] => &[(Right, Top, tr), (Left, Bottom, bl)],
                _ => {
                    // One border enters and leaves; the region lies on its right hand.
                    let enters = match inside {
                        [true, false, ..] => Top,
                        [_, _, false, true] => Bottom,
                        [false, _, true, _] => Left,
                        _ => Right,
                    };
                    let leaves = match inside {
                        [false, true, ..] => Top,
                        [_, _, true, false] => Bottom,
                        [true, _, false, _] => Left,
                        _ => Right,
                    };
                    let region = [tl, tr, bl, br].into_iter().find(|&v| v != 0).unwrap_or(0);
                    &[(enters, leaves, region)]
                }
            };
            let above = self.crossings[x].take();
            for &(from, to, region) in segments {
                let before = |s: Side| match s {
                    Top => above,
                    Left => left,
                    _ => None,
                };
                let place = |s: Side| {
                    let (x, y) = (2 * x as i32, 2 * self.row as i32);
                    match s {
                        Top => [x, y - 1],
                        Bottom => [x, y + 1],
                        Left => [x - 1, y],
                        Right => [x + 1, y],
                    }
                };
                let (a, b) = (before(from), before(to));
                let chain = self.segment(a, b, place(from), place(to), region);
                for side in [from, to] {
                    match side {
                        Right => right = chain,
                        Bottom => self.crossings[x] = chain,
                        _ => {}
                    }
                }
            }
            left = right;
        }
        // Regions of the row before that this row has no pixel of are whole.
        for x in 1..=self.width {
            if self.above[x] == 0 || self.above[x] == self.above[x - 1] {
                continue;
            }
            let root = self.root(self.above[x]);
            if self.open.get(&root).is_some_and(|o| o.row == self.row)
                && let Some(o) = self.open.remove(&root)
            {
                let mut rings = o.rings;
                // The border runs the other way round than those of holes.
                rings.sort_by_key(|r| doubled_area(r));
                if let Some(outer) = rings.pop() {
                    ended(Region { outer, holes: rings, pixels: o.pixels, sum: o.sum });
                }
            }
        }
        if !self.joined.is_empty() {
            for x in 0..=self.width {
                self.crossings[x] = self.chain(self.crossings[x]);
            }
            self.joined.clear();
        }
    }

    fn chain(&self, c: Crossing) -> Crossing {
        let mut c = c?;
        while let Some(&into) = self.joined.get(&c) {
            c = into;
        }
        Some(c)
    }

    /// A border from `p` to `q`, behind the chain `a` that ends in `p` and before `b` that begins in `q`.
    /// Gives the chain's number unless it closed.
    fn segment(&mut self, a: Crossing, b: Crossing, p: [i32; 2], q: [i32; 2], region: u32) -> Crossing {
        match (self.chain(a), self.chain(b)) {
            (None, None) => {
                let id = self.next_chain;
                self.next_chain = self.next_chain.wrapping_add(1);
                self.chains.insert(id, Chain { points: VecDeque::from([p, q]), region });
                Some(id)
            }
            (Some(a), None) => {
                if let Some(c) = self.chains.get_mut(&a) {
                    append(&mut c.points, q);
                }
                Some(a)
            }
            (None, Some(b)) => {
                if let Some(c) = self.chains.get_mut(&b) {
                    prepend(&mut c.points, p);
                }
                Some(b)
            }
            (Some(a), Some(b)) if a == b => {
                if let Some(c) = self.chains.remove(&a) {
                    let root = self.root(c.region);
                    if let Some(o) = self.open.get_mut(&root) {
                        o.rings.push(closed(c.points));
                    }
                }
                None
            }
            (Some(a), Some(b)) => {
                let (Some(mut first), Some(mut second)) = (self.chains.remove(&a), self.chains.remove(&b))
                else {
                    return None;
                };
                // The shorter moves.
                let (kept, gone) = if first.points.len() >= second.points.len() { (a, b) } else { (b, a) };
                if kept == a {
                    second.points.drain(..).for_each(|v| append(&mut first.points, v));
                    self.chains.insert(a, first);
                } else {
                    first.points.drain(..).rev().for_each(|v| prepend(&mut second.points, v));
                    self.chains.insert(b, second);
                }
                self.joined.insert(gone, kept);
                Some(kept)
            }
        }
    }
}

/// Whether `b` lies on the straight way from `a` to `c`.
fn straight(a: [i32; 2], b: [i32; 2], c: [i32; 2]) -> bool {
    let (u, v) = ([b[0] - a[0], b[1] - a[1]], [c[0] - b[0], c[1] - b[1]]);
    u[0] as i64 * v[1] as i64 == u[1] as i64 * v[0] as i64
}

fn append(points: &mut VecDeque<[i32; 2]>, p: [i32; 2]) {
    let n = points.len();
    if n >= 2 && straight(points[n - 2], points[n - 1], p) {
        points[n - 1] = p;
    } else {
        points.push_back(p);
    }
}

fn prepend(points: &mut VecDeque<[i32; 2]>, p: [i32; 2]) {
    if points.len() >= 2 && straight(p, points[0], points[1]) {
        points[0] = p;
    } else {
        points.push_front(p);
    }
}

fn closed(mut points: VecDeque<[i32; 2]>) -> Ring {
    // Where the ring closed, corners may be none.
    while points.len() > 3 && straight(points[points.len() - 2], points[points.len() - 1], points[0]) {
        points.pop_back();
    }
    while points.len() > 3 && straight(points[points.len() - 1], points[0], points[1]) {
        points.pop_front();
    }
    points.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use ampoule_random::Random;
    use proptest::prelude::*;

    fn trace(width: usize, mask: &[u8]) -> Vec<Region> {
        let mut t = Tracer::new(width);
        let mut found = Vec::new();
        for row in mask.chunks_exact(width) {
            t.push(|x| (row[x] != 0).then_some(1.0), &mut |r| found.push(r));
        }
        t.finish(&mut |r| found.push(r));
        found
    }

    /// Whether a point (in half pixels) lies inside a ring, by the even-odd rule.
    fn inside(ring: &Ring, [px, py]: [f64; 2]) -> bool {
        let n = ring.len();
        (0..n).fold(false, |odd, i| {
            let (a, b) = (ring[i].map(f64::from), ring[(i + 1) % n].map(f64::from));
            let crosses =
                (a[1] > py) != (b[1] > py) && px < (b[0] - a[0]) * (py - a[1]) / (b[1] - a[1]) + a[0];
            odd ^ crosses
        })
    }

    #[test]
    fn a_ring_around_a_hole_is_one_region_with_a_hole() {
        let mask = [1, 1, 1, 1, 0, 1, 1, 1, 1];
        let r = trace(3, &mask);
        assert_eq!((r.len(), r[0].holes.len(), r[0].pixels, r[0].sum), (1, 1, 8, 8.0));
        assert_eq!(r[0].outer.len(), 8);
        assert!(doubled_area(&r[0].outer) > 0 && doubled_area(&r[0].holes[0]) < 0);
    }

    proptest! {
        #[test]
        fn regions_are_the_components_and_hold_their_pixels(
            width in 1usize..12, height in 1usize..12, seed in any::<u64>(), density in 1usize..10,
        ) {
            let mut random = Random::new(seed);
            let mask: Vec<u8> = (0..width * height)
                .map(|_| (random.below(10) < density) as u8)
                .collect();
            let volume = crate::Volume::new([width, height, 1], mask.clone());
            let (numbers, count) = crate::regions::components(&volume, crate::regions::Connectivity::Faces);
            let found = trace(width, &mask);
            prop_assert_eq!(found.len(), count);
            let mut vertices = std::collections::HashSet::new();
            for r in &found {
                for v in r.holes.iter().chain([&r.outer]).flatten() {
                    prop_assert!(vertices.insert(*v), "a vertex is used twice");
                }
                let holds = |x: usize, y: usize| {
                    let p = [2.0 * x as f64 + 1.0, 2.0 * y as f64 + 1.0];
                    inside(&r.outer, p) && !r.holes.iter().any(|h| inside(h, p))
                };
                let own: Vec<usize> = (0..mask.len()).filter(|&i| holds(i % width, i / width)).collect();
                prop_assert_eq!(own.len() as u64, r.pixels);
                prop_assert!(own.iter().all(|&i| numbers.data[i] == numbers.data[own[0]] && mask[i] != 0));
            }
        }
    }
}
