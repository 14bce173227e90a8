//! Whether a JPEG holds every block of every component: its entropy-coded data is followed to the end
//! marker without computing pixels.

use super::bits::{Bits, Huffman, Stop};
use super::frame::{Component, Frame, next_marker, segment};

/// Most scans; encoders write about ten.
const SCANS: usize = 256;

/// How a component's coefficients have come so far.
struct Progress {
    /// By coefficient: bits that later scans still refine; `None` before its first scan.
    left: [Option<u8>; 64],
    /// By block: which coefficients are not zero. Only progressive frames need it.
    set: Vec<u64>,
}

struct State<'a> {
    frame: &'a Frame,
    dc: [Option<Huffman>; 4],
    ac: [Option<Huffman>; 4],
    interval: usize,
    progress: Vec<Progress>,
    scans: usize,
}

/// Scans that the file announces: their marker cannot stand inside compressed data.
pub(super) fn scans(bytes: &[u8]) -> usize {
    let (mut at, mut n) = (0, 0);
    while let Some((after, marker)) = next_marker(bytes, at) {
        at = after;
        n += (marker == 0xda) as usize;
    }
    n
}

/// Follows all scans; an error says why the image is not whole.
pub(super) fn check(bytes: &[u8], frame: &Frame) -> Result<(), String> {
    let progress = frame.components.iter().map(|c| {
        let blocks = if frame.progressive { c.padded[0] * c.padded[1] } else { 0 };
        Progress { left: [None; 64], set: vec![0; blocks] }
    });
    let progress = progress.collect();
    let none = || [const { None }; 4];
    let mut state = State { frame, dc: none(), ac: none(), interval: 0, progress, scans: 0 };
    let mut at = 2;
    loop {
        let (after, marker) = next_marker(bytes, at).ok_or("its end mark is missing")?;
        at = match marker {
            0xd9 => break,
            0x01 | 0xd0..=0xd8 => after,
            0xc4 => state.tables(bytes, after)?,
            0xda => state.scan(bytes, after)?,
            0xdd => {
                let (body, end) = segment(bytes, after)?;
                state.interval = body.first_chunk().map_or(0, |b| u16::from_be_bytes(*b) as usize);
                end
            }
            0xc0..=0xcf if after > frame.end => return Err("it states its size twice".into()),
            _ => segment(bytes, after)?.1,
        };
    }
    state.finished()
}

/// What a scan's header says.
struct Scan<'a> {
    /// Which components, and their tables.
    parts: Vec<(usize, Option<&'a Huffman>, Option<&'a Huffman>)>,
    /// First and last coefficient.
    from: usize,
    to: usize,
    /// Whether bits are added to coefficients of an earlier scan.
    refines: bool,
    /// Whether coefficients come in several scans.
    progressive: bool,
}

impl State<'_> {
    /// Huffman tables.
    fn tables(&mut self, bytes: &[u8], at: usize) -> Result<usize, String> {
        let (mut body, end) = segment(bytes, at)?;
        let bad = || "its Huffman tables are damaged".to_owned();
        while let Some((&head, rest)) = body.split_first() {
            let counts = rest.first_chunk::<16>().ok_or_else(bad)?;
            let n = counts.iter().map(|&c| c as usize).sum::<usize>();
            let symbols = rest.get(16..16 + n).ok_or_else(bad)?;
            let table = Huffman::new(counts, symbols).ok_or_else(bad)?;
            let list = if head >> 4 == 0 { &mut self.dc } else { &mut self.ac };
            *list.get_mut(head as usize & 15).ok_or_else(bad)? = Some(table);
            body = &rest[16 + n..];
        }
        Ok(end)
    }

    /// One scan; where it ends.
    fn scan(&mut self, bytes: &[u8], at: usize) -> Result<usize, String> {
        self.scans += 1;
        if self.scans > SCANS {
            return Err(format!("it has more than {SCANS} scans"));
        }
        let (body, start) = segment(bytes, at)?;
        let bad = || "the header of a scan is damaged".to_owned();
        let n = *body.first().ok_or_else(bad)? as usize;
        let [from, to, precision] = *body.get(1 + 2 * n..).and_then(|b| b.first_chunk()).ok_or_else(bad)?;
        let progressive = self.frame.progressive;
        let [from, to] = if progressive { [from, to] } else { [0, 63] }.map(usize::from);
        let refines = progressive && precision >> 4 > 0;
        if n == 0 || n > 4 || from > to || to > 63 || progressive && (from == 0) != (to == 0) {
            return Err(bad());
        }
        let mut indices = Vec::new();
        for pair in body[1..1 + 2 * n].chunks_exact(2) {
            let i = self.frame.components.iter().position(|c| c.id == pair[0]).ok_or_else(bad)?;
            indices.push((i, pair[1] as usize >> 4, pair[1] as usize & 15));
        }
        for &(i, ..) in &indices {
            for left in &mut self.progress[i].left[from..=to] {
                if refines != left.is_some() && progressive {
                    return Err("its scans are out of order".into());
                }
                *left = Some(if progressive { precision & 15 } else { 0 });
            }
        }
        let table = |list: &'_ [Option<Huffman>; 4], i: usize| list.get(i).cloned().flatten();
        let tables: Vec<_> =
            indices.iter().map(|&(i, d, a)| (i, table(&self.dc, d), table(&self.ac, a))).collect();
        let parts = tables.iter().map(|(i, d, a)| (*i, d.as_ref(), a.as_ref())).collect();
        let scan = Scan { parts, from, to, refines, progressive };
        self.blocks(bytes, start, &scan).map_err(|stop| match stop {
            Stop::Early => "its pixels end early".to_owned(),
            Stop::Damaged => "its compressed pixels are damaged".to_owned(),
        })
    }

    /// Follows all blocks of a scan.
    fn blocks(&mut self, bytes: &[u8], start: usize, scan: &Scan) -> Result<usize, Stop> {
        let mut bits = Bits::new(bytes, start);
        let alone = scan.parts.len() == 1;
        let [across, down] = match scan.parts[..] {
            [(i, ..)] => self.frame.components[i].own,
            _ => self.frame.mcus,
        };
        let (mut run, mut until, mut next) = (0usize, self.interval, 0u8);
        for y in 0..down {
            for x in 0..across {
                if self.interval > 0 && until == 0 {
                    let (after, marker) = next_marker(bytes, bits.position()).ok_or(Stop::Early)?;
                    if marker != 0xd0 + next {
                        return Err(Stop::Early);
                    }
                    bits.restart(after);
                    (run, until, next) = (0, self.interval, (next + 1) & 7);
                }
                until = until.wrapping_sub(1);
                for &(i, dc, ac) in &scan.parts {
                    let c = &self.frame.components[i];
                    let [w, h] = if alone { [1, 1] } else { c.sampling };
                    for place in 0..w * h {
                        let column = if alone { x } else { x * w + place % w };
                        let row = if alone { y } else { y * h + place / w };
                        let set = &mut self.progress[i].set;
                        block(&mut bits, scan, dc, ac, &mut run, set.get_mut(column + row * stride(c)))?;
                    }
                }
            }
        }
        Ok(bits.position())
    }

    /// Whether all has come that was begun.
    fn finished(&self) -> Result<(), String> {
        for (i, p) in self.progress.iter().enumerate() {
            let begun = |from: usize| p.left[from..].iter().all(Option::is_some);
            // A colour component may have nothing but its means; the first one has all.
            if p.left[0].is_none() || i == 0 && !begun(0) || p.left.iter().flatten().any(|&bits| bits > 0) {
                return Err("its last scans are missing".into());
            }
        }
        Ok(())
    }
}

fn stride(c: &Component) -> usize {
    c.padded[0]
}

/// Follows one block. `run` counts blocks, this one among them, without further coefficients.
#[inline]
fn block(
    bits: &mut Bits,
    scan: &Scan,
    dc: Option<&Huffman>,
    ac: Option<&Huffman>,
    run: &mut usize,
    set: Option<&mut u64>,
) -> Result<(), Stop> {
    if !scan.progressive {
        first(bits, dc.ok_or(Stop::Damaged)?)?;
        return sequential(bits, ac.ok_or(Stop::Damaged)?);
    }
    match (scan.from, scan.refines) {
        (0, false) => first(bits, dc.ok_or(Stop::Damaged)?),
        (0, true) => bits.skip(1),
        (_, false) => begin(bits, scan, ac.ok_or(Stop::Damaged)?, run, set.ok_or(Stop::Damaged)?),
        (_, true) => refine(bits, scan, ac.ok_or(Stop::Damaged)?, run, set.ok_or(Stop::Damaged)?),
    }
}

/// The difference of the mean.
#[inline]
fn first(bits: &mut Bits, table: &Huffman) -> Result<(), Stop> {
    match bits.symbol(table)? {
        n @ 0..=16 => bits.skip(n as u32),
        _ => Err(Stop::Damaged),
    }
}

/// All other coefficients of a block.
#[inline]
fn sequential(bits: &mut Bits, table: &Huffman) -> Result<(), Stop> {
    let mut k = 1;
    while k < 64 {
        let symbol = bits.symbol(table)?;
        match (symbol >> 4, symbol & 15) {
            (15, 0) => k += 16,
            (_, 0) => return Ok(()),
            (zeros, n) => {
                k += zeros as usize + 1;
                bits.skip(n as u32)?;
            }
        }
    }
    // Sixteen zeros may be written where fewer are left.
    if k <= 79 { Ok(()) } else { Err(Stop::Damaged) }
}

/// The length of a run of blocks that ends with this symbol: 2^n and n more bits.
fn run_length(bits: &mut Bits, n: u8) -> Result<usize, Stop> {
    Ok((1 << n) + if n > 0 { bits.take(n as u32)? as usize } else { 0 })
}

/// The first bits of a band of coefficients.
fn begin(bits: &mut Bits, scan: &Scan, table: &Huffman, run: &mut usize, set: &mut u64) -> Result<(), Stop> {
    if *run > 0 {
        *run -= 1;
        return Ok(());
    }
    let mut k = scan.from;
    while k <= scan.to {
        let symbol = bits.symbol(table)?;
        match (symbol >> 4, symbol & 15) {
            (15, 0) => k += 16,
            (n, 0) => {
                *run = run_length(bits, n)? - 1;
                return Ok(());
            }
            (zeros, n) => {
                k += zeros as usize;
                if k > scan.to {
                    return Err(Stop::Damaged);
                }
                bits.skip(n as u32)?;
                *set |= 1 << k;
                k += 1;
            }
        }
    }
    Ok(())
}

/// One more bit of every coefficient of a band that is not zero, and those that become so.
fn refine(bits: &mut Bits, scan: &Scan, table: &Huffman, run: &mut usize, set: &mut u64) -> Result<(), Stop> {
    let mut k = scan.from;
    while *run == 0 && k <= scan.to {
        let symbol = bits.symbol(table)?;
        let (mut zeros, new) = (symbol >> 4, symbol & 15);
        if new == 0 && zeros < 15 {
            *run = run_length(bits, zeros)?;
            break;
        }
        bits.skip((new > 0) as u32)?;
        while k <= scan.to {
            if *set >> k & 1 == 1 {
                bits.skip(1)?;
            } else if zeros == 0 {
                break;
            } else {
                zeros -= 1;
            }
            k += 1;
        }
        if new > 0 && k <= scan.to {
            *set |= 1 << k;
        }
        k += 1;
    }
    if *run > 0 {
        let band = *set & (u64::MAX >> (63 - scan.to)) & u64::MAX.checked_shl(k as u32).unwrap_or(0);
        (0..band.count_ones()).try_for_each(|_| bits.skip(1))?;
        *run -= 1;
    }
    Ok(())
}
