//! Bits of a scan: after a byte of ones the next has seven bits.

use super::super::damaged;
use crate::Error;

pub(super) struct Bits<'a> {
    data: &'a [u8],
    at: usize,
    held: u32,
    count: u32,
}

impl<'a> Bits<'a> {
    pub fn new(data: &'a [u8]) -> Bits<'a> {
        Bits { data, at: 0, held: 0, count: 0 }
    }

    pub fn bit(&mut self) -> Result<u32, Error> {
        if self.count == 0 {
            self.fill()?;
        }
        self.count -= 1;
        Ok(self.held >> self.count & 1)
    }

    pub fn bits(&mut self, count: u32) -> Result<u32, Error> {
        let mut value = 0;
        for _ in 0..count {
            value = value << 1 | self.bit()?;
        }
        Ok(value)
    }

    fn fill(&mut self) -> Result<(), Error> {
        let cut = || damaged(super::NAME, "it ends early");
        let byte = *self.data.get(self.at).ok_or_else(cut)?;
        let after_ones = self.at > 0 && self.data[self.at - 1] == 0xff;
        if after_ones && byte > 0x7f {
            return Err(cut());
        }
        (self.held, self.count) = (byte.into(), if after_ones { 7 } else { 8 });
        self.at += 1;
        Ok(())
    }
}
