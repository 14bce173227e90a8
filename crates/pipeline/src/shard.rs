//! Shards of a cohort: parts that several processes or machines work on, by the names of cases.

use std::path::Path;
use std::str::FromStr;

/// Most shards of a cohort.
const MOST: u64 = 1 << 20;

/// One of so many parts of a cohort. A case belongs to the same part whatever other cases there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shard {
    /// Which, counted from 1.
    index: u64,
    /// Of how many.
    of: u64,
}

impl Shard {
    /// Whether a case or file of this name belongs to it.
    pub fn holds(&self, name: &str) -> bool {
        let hash = crate::sha256_hex(name.as_bytes());
        // 60 bits, which no number of shards divides unevenly to a degree that counts.
        let number = u64::from_str_radix(&hash[..15], 16).unwrap_or(0);
        number % self.of == self.index - 1
    }

    /// Whether a file that is no case belongs to it: by its own name, from wherever it was typed.
    pub fn holds_file(&self, path: &Path) -> bool {
        self.holds(&path.file_name().unwrap_or_default().to_string_lossy())
    }
}

impl std::fmt::Display for Shard {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        write!(f, "{}/{}", self.index, self.of)
    }
}

impl FromStr for Shard {
    type Err = String;

    fn from_str(text: &str) -> Result<Shard, String> {
        let wrong = || format!("which part of how many, 1/{MOST} at most; for example 3/16");
        let (index, of) = text.split_once('/').ok_or_else(wrong)?;
        let number = |t: &str| t.parse::<u64>().ok().filter(|n| (1..=MOST).contains(n));
        let (index, of) = (number(index).ok_or_else(wrong)?, number(of).ok_or_else(wrong)?);
        match index <= of {
            true => Ok(Shard { index, of }),
            false => Err(format!("there is no part {index} of {of}; parts are counted from 1")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_case_is_in_one_part_and_parts_are_even() {
        let names: Vec<String> = (0..4000).map(|i| format!("sub-{i:04}/anat/sub-{i:04}_T1w")).collect();
        let parts: Vec<Shard> = (1..=16).map(|i| format!("{i}/16").parse().unwrap()).collect();
        let mut counts = [0; 16];
        for name in &names {
            let held: Vec<usize> = (0..16).filter(|i| parts[*i].holds(name)).collect();
            assert_eq!(held.len(), 1, "{name}");
            counts[held[0]] += 1;
        }
        // 250 each, with a deviation of 15.
        assert!(counts.iter().all(|n| (190..310).contains(n)), "{counts:?}");
        assert_eq!(parts[2].to_string(), "3/16");
        for bad in ["0/16", "17/16", "a/b", "3", "3/0", "-1/4", "1/4/2", "", "1/9999999"] {
            assert!(bad.parse::<Shard>().is_err(), "{bad}");
        }
    }
}
