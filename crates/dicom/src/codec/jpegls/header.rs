//! What stands before the scan: presets and the scan's own header.

use super::super::damaged;
use crate::Error;

/// What the decoder computes with.
pub(super) struct Parameters {
    /// The largest value.
    pub max: i32,
    /// The largest error of a pixel; 0 is lossless.
    pub near: i32,
    pub range: i32,
    /// Bits of an error.
    pub bits: u32,
    /// Longest code.
    pub limit: u32,
    pub reset: i32,
    thresholds: [i32; 3],
}

impl Parameters {
    fn new(precision: u32, near: i32, preset: [i32; 5]) -> Result<Parameters, Error> {
        let [max, t1, t2, t3, reset] = preset;
        let full = (1 << precision) - 1;
        let max = if max == 0 { full } else { max };
        let fine = |v: i32, low: i32| (low..=max).contains(&v);
        let defaults = defaults(max, near);
        let t = [t1, t2, t3];
        let t = [0, 1, 2].map(|i| if t[i] == 0 { defaults[i] } else { t[i] });
        let reset = if reset == 0 { 64 } else { reset };
        if max > full
            || near > 255.min(max / 2)
            || !fine(t[0], near + 1)
            || !fine(t[1], t[0])
            || !fine(t[2], t[1])
            || reset < 3
        {
            return Err(damaged(super::NAME, "its parameters make no sense"));
        }
        let range = (max + 2 * near) / (2 * near + 1) + 1;
        let log = |v: i32| 32 - (v as u32 - 1).leading_zeros();
        let (bits, own) = (log(range), log(max + 1).max(2));
        Ok(Parameters { max, near, range, bits, limit: 2 * (own + own.max(8)), reset, thresholds: t })
    }

    /// Which of nine a gradient is, from -4 to 4.
    pub fn quantized(&self, d: i32) -> i32 {
        let size = match d.abs() {
            d if d <= self.near => 0,
            d if d < self.thresholds[0] => 1,
            d if d < self.thresholds[1] => 2,
            d if d < self.thresholds[2] => 3,
            _ => 4,
        };
        size * d.signum()
    }

    /// The pixel that was predicted so, with this error.
    pub fn restored(&self, predicted: i32, error: i32) -> i32 {
        let step = 2 * self.near + 1;
        let v = predicted + error * step;
        let v = if v < -self.near {
            v + self.range * step
        } else if v > self.max + self.near {
            v - self.range * step
        } else {
            v
        };
        v.clamp(0, self.max)
    }
}

/// Thresholds of gradients where no preset names them.
fn defaults(max: i32, near: i32) -> [i32; 3] {
    let clamp = |v: i32, low: i32| if v > max || v < low { low } else { v };
    let factor = if max >= 128 { (max.min(4095) + 128) / 256 } else { 256 / (max + 1) };
    let of = |base: i32, least: i32, nears: i32| match max >= 128 {
        true => factor * (base - least) + least + nears * near,
        false => least.max(base / factor + nears * near),
    };
    let t1 = clamp(of(3, 2, 3), near + 1);
    let t2 = clamp(of(7, 3, 5), t1);
    [t1, t2, clamp(of(21, 4, 7), t2)]
}

/// The parameters, and the bytes of the scan behind its header.
pub(super) fn scan_header(data: &[u8], precision: u32) -> Result<(Parameters, &[u8]), Error> {
    let cut = || damaged(super::NAME, "it ends within its header");
    let mut preset = [0; 5];
    let mut at = 2;
    loop {
        let [mark, kind] = *data.get(at..).and_then(|b| b.first_chunk()).ok_or_else(cut)?;
        if mark != 0xff {
            return Err(damaged(super::NAME, "a marker is missing"));
        }
        if kind == 0xff {
            at += 1;
            continue;
        }
        let length = data.get(at + 2..).and_then(|b| b.first_chunk()).ok_or_else(cut)?;
        let length = usize::from(u16::from_be_bytes(*length)).max(2);
        let body = data.get(at + 4..at + 2 + length).ok_or_else(cut)?;
        match (kind, body) {
            (0xf8, [1, rest @ ..]) if rest.len() >= 10 => {
                let words = rest.as_chunks::<2>().0;
                preset = [0, 1, 2, 3, 4].map(|i| u16::from_be_bytes(words[i]).into());
            }
            (0xf8, _) => return Err(damaged(super::NAME, "it has a table of values")),
            (0xdd, body) if body.iter().any(|b| *b != 0) => {
                return Err(damaged(super::NAME, "it has restart marks"));
            }
            (0xda, [1, _, 0, near, 0, 0]) => {
                let parameters = Parameters::new(precision, i32::from(*near), preset)?;
                return Ok((parameters, &data[at + 2 + length..]));
            }
            (0xda, _) => return Err(damaged(super::NAME, "its scan is not of one component")),
            _ => {}
        }
        at += 2 + length;
    }
}
