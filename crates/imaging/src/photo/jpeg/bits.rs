//! The bits of a scan, and Huffman codes.

/// Why a scan cannot be followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// A marker or the end of the file comes before the scan is through.
    Early,
    /// A code that the tables do not have, or a coefficient beyond the last.
    Damaged,
}

/// Reads bits up to the next marker.
pub(super) struct Bits<'a> {
    bytes: &'a [u8],
    /// The next byte that is not in `held`.
    at: usize,
    /// Bits read ahead, the next one highest.
    held: u64,
    count: u32,
}

impl<'a> Bits<'a> {
    pub fn new(bytes: &'a [u8], at: usize) -> Self {
        Bits { bytes, at, held: 0, count: 0 }
    }

    /// Where reading has come to: at the marker, once all bits before it are used.
    pub fn position(&self) -> usize {
        self.at
    }

    /// Starts anew behind a restart marker.
    pub fn restart(&mut self, at: usize) {
        (self.at, self.held, self.count) = (at, 0, 0);
    }

    fn refill(&mut self) {
        while self.count <= 56 {
            let byte = match (self.bytes.get(self.at), self.bytes.get(self.at + 1)) {
                (Some(0xff), Some(0)) => {
                    self.at += 2;
                    0xff
                }
                (Some(0xff), Some(0xff)) => {
                    self.at += 1;
                    continue;
                }
                (Some(0xff), _) | (None, _) => return,
                (Some(&b), _) => {
                    self.at += 1;
                    b
                }
            };
            self.held |= (byte as u64) << (56 - self.count);
            self.count += 8;
        }
    }

    /// Passes over up to 16 bits.
    #[inline]
    pub fn skip(&mut self, n: u32) -> Result<(), Stop> {
        if self.count < n {
            self.refill();
            if self.count < n {
                return Err(Stop::Early);
            }
        }
        self.held <<= n;
        self.count -= n;
        Ok(())
    }

    /// The next `n` bits, 1 to 16.
    #[inline]
    pub fn take(&mut self, n: u32) -> Result<u32, Stop> {
        if self.count < n {
            self.refill();
        }
        let value = (self.held >> (64 - n)) as u32;
        self.skip(n)?;
        Ok(value)
    }

    /// The next symbol of a table.
    #[inline]
    pub fn symbol(&mut self, table: &Huffman) -> Result<u8, Stop> {
        if self.count < 16 {
            self.refill();
        }
        let (length, symbol) = table.fast[(self.held >> 56) as usize];
        if length > 0 {
            self.skip(length as u32)?;
            return Ok(symbol);
        }
        let next = (self.held >> 48) as u32;
        for length in 9..=16 {
            let code = next >> (16 - length);
            if code < table.ends[length] {
                let i = table.first[length] + (code as usize).wrapping_sub(table.starts[length] as usize);
                let symbol = table.symbols.get(i).copied().ok_or(Stop::Damaged)?;
                self.skip(length as u32)?;
                return Ok(symbol);
            }
        }
        // At the end of the data the missing bits may be why.
        Err(if self.count < 16 { Stop::Early } else { Stop::Damaged })
    }
}

/// A Huffman table, whose codes of one length are consecutive numbers.
#[derive(Clone)]
pub(super) struct Huffman {
    /// Length and symbol by the next eight bits; length 0 where the code is longer.
    fast: [(u8, u8); 256],
    /// By length: the first code, one behind the last, and the place of the first's symbol.
    starts: [u32; 17],
    ends: [u32; 17],
    first: [usize; 17],
    symbols: Vec<u8>,
}

impl Huffman {
    /// From the number of codes of each length, and their symbols.
    pub fn new(counts: &[u8; 16], symbols: &[u8]) -> Option<Huffman> {
        let mut t = Huffman {
            fast: [(0, 0); 256],
            starts: [0; 17],
            ends: [0; 17],
            first: [0; 17],
            symbols: symbols.to_vec(),
        };
        let (mut code, mut place) = (0u32, 0usize);
        for length in 1..=16 {
            let n = counts[length - 1] as usize;
            (t.starts[length], t.first[length]) = (code, place);
            if code as usize + n > 1 << length || place + n > symbols.len() {
                return None;
            }
            if length <= 8 {
                for (i, &symbol) in symbols[place..place + n].iter().enumerate() {
                    let from = (code as usize + i) << (8 - length);
                    t.fast[from..from + (1 << (8 - length))].fill((length as u8, symbol));
                }
            }
            code += n as u32;
            place += n;
            t.ends[length] = code;
            code <<= 1;
        }
        Some(t)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn huffman_symbols_and_bits_are_read_up_to_the_marker() {
        // Codes 0, 10, 110 for 5, 6, 7; one of nine bits, 1110 0000 0, for 9.
        let mut counts = [0u8; 16];
        (counts[0], counts[1], counts[2], counts[8]) = (1, 1, 1, 1);
        let t = Huffman::new(&counts, &[5, 6, 7, 9]).unwrap();
        // 0 10 110 11, 1000000 0 then a stuffed byte and the marker.
        let data = [0b0101_1011, 0b1000_0000, 0xff, 0x00, 0xff, 0xd9];
        let mut b = Bits::new(&data, 0);
        assert_eq!([b.symbol(&t), b.symbol(&t), b.symbol(&t)], [Ok(5), Ok(6), Ok(7)]);
        assert_eq!(b.symbol(&t), Ok(9));
        assert_eq!(b.take(1), Ok(0));
        assert_eq!(b.take(8), Ok(0xff));
        assert_eq!((b.take(1), b.position()), (Err(Stop::Early), 4));
        let mut b = Bits::new(&[0xf0, 0, 0], 0);
        assert_eq!(b.symbol(&t), Err(Stop::Damaged));
        counts[0] = 3;
        assert!(Huffman::new(&counts, &[1; 9]).is_none());
    }
}
