//! From samples of more than eight bits, signed or floating-point ones to eight bits, by what their values
//! say, or a refusal.

use super::error::Error;

/// What samples are stored as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stored {
    /// Unsigned, 16 bits.
    Sixteen,
    /// Unsigned of 32 bits, or signed.
    Whole,
    /// Floating point.
    Float,
}

/// Smallest and largest finite sample, and how many are not finite.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Range {
    pub low: f32,
    pub high: f32,
    pub bad: usize,
    pub count: usize,
}

impl Range {
    pub fn new() -> Range {
        Range { low: f32::INFINITY, high: f32::NEG_INFINITY, bad: 0, count: 0 }
    }

    pub fn add(&mut self, values: &[f32]) {
        for &v in values {
            match v.is_finite() {
                true => (self.low, self.high) = (self.low.min(v), self.high.max(v)),
                false => self.bad += 1,
            }
        }
        self.count += values.len();
    }
}

/// How samples become levels.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Scale {
    /// The sample that becomes 255.
    pub white: f32,
}

impl Scale {
    /// The level of a sample; what is not finite counts as 0.
    pub fn level(self, v: f32) -> u8 {
        if self.white == 255.0 { v.round() as u8 } else { (v * 255.0 / self.white).round() as u8 }
    }
}

/// The scale for samples of this kind and range, with notes for the user.
pub(crate) fn scale(stored: Stored, range: Range, notes: &mut Vec<String>) -> Result<Scale, Error> {
    let Range { mut low, mut high, bad, count } = range;
    if bad > count / 2 {
        return Err(Error::Unsupported {
            what: format!("{bad} of {count} samples that are not finite numbers; export the image again"),
        });
    }
    if bad > 0 {
        notes.push(format!("{bad} of {count} samples are not finite and count as 0"));
        (low, high) = (low.min(0.0), high.max(0.0));
    }
    if low > high {
        (low, high) = (0.0, 0.0);
    }
    if stored == Stored::Sixteen {
        return Ok(sixteen(high, notes));
    }
    let kind = if stored == Stored::Float { "floating-point" } else { "signed or 32-bit" };
    if stored == Stored::Float && low >= 0.0 && high <= 1.0 {
        notes.push("floating-point values from 0 to 1 were scaled to 255".into());
        return Ok(Scale { white: 1.0 });
    }
    if low >= 0.0 && high <= 255.0 {
        notes.push(format!("{kind} values from {low} to {high} were taken as levels from 0 to 255"));
        return Ok(Scale { white: 255.0 });
    }
    let range = if stored == Stored::Float { "0 to 1 or 0 to 255" } else { "0 to 255" };
    Err(Error::Unsupported {
        what: format!(
            "{kind} values from {low} to {high}, whose meaning is not known; scale them to {range} and save again"
        ),
    })
}

/// Samples of 16 bits may come from a camera of fewer.
fn sixteen(high: f32, notes: &mut Vec<String>) -> Scale {
    let used = [8u32, 10, 12, 14].into_iter().find(|bits| high < (1u32 << bits) as f32);
    match used {
        Some(8) => {
            notes.push("values use 8 of 16 bits; they were taken as they are".into());
            Scale { white: 255.0 }
        }
        Some(bits) => {
            let white = (1u32 << bits) - 1;
            notes.push(format!("values use {bits} of 16 bits; scaled by {white}"));
            Scale { white: white as f32 }
        }
        None => {
            notes.push("more than eight bits a channel were rounded to eight".into());
            Scale { white: 65_535.0 }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scaled(stored: Stored, values: &[f32]) -> Result<(f32, Vec<u8>, Vec<String>), String> {
        let (mut range, mut notes) = (Range::new(), Vec::new());
        range.add(values);
        let s = scale(stored, range, &mut notes).map_err(|e| e.to_string())?;
        Ok((s.white, values.iter().map(|&v| s.level(v)).collect(), notes))
    }

    #[test]
    fn ranges_say_what_values_mean() {
        let white = |stored, values: &[f32]| scaled(stored, values).unwrap().0;
        assert_eq!(white(Stored::Sixteen, &[0.0, 65535.0]), 65535.0);
        assert_eq!(white(Stored::Sixteen, &[0.0, 4095.0]), 4095.0);
        assert_eq!(white(Stored::Sixteen, &[0.0, 4096.0]), 16383.0);
        assert_eq!(white(Stored::Sixteen, &[0.0, 700.0]), 1023.0);
        assert_eq!(white(Stored::Sixteen, &[0.0, 16384.0]), 65535.0);
        assert_eq!(white(Stored::Sixteen, &[0.0, 255.0]), 255.0);
        assert_eq!(white(Stored::Float, &[0.0, 1.0]), 1.0);
        assert_eq!(white(Stored::Float, &[0.0, 1.5]), 255.0);
        assert_eq!(white(Stored::Whole, &[0.0, 1.0]), 255.0);
        assert_eq!(scaled(Stored::Float, &[0.5, f32::NAN, 1.0]).unwrap().1, [128, 0, 255]);
        for (stored, values) in [
            (Stored::Float, &[-0.1, 0.5][..]),
            (Stored::Float, &[0.0, 256.0]),
            (Stored::Whole, &[-1.0, 5.0]),
            (Stored::Whole, &[0.0, 70000.0]),
        ] {
            assert!(scaled(stored, values).unwrap_err().contains("scale them"), "{values:?}");
        }
        let e = scaled(Stored::Float, &[f32::NAN, f32::INFINITY, 1.0]).unwrap_err();
        assert!(e.contains("2 of 3 samples"), "{e}");
    }
}
