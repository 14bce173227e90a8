//! Memory that reading may take, asked for before it is taken.

use crate::{Error, Result};

/// Says whether there is no room for this many more bytes: `[needed, limit]` in MiB with what the program holds.
pub type Shortage = fn(u64) -> Option<[u64; 2]>;

/// How memory is asked for while a file is read.
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    shortage: Shortage,
}

impl Default for Budget {
    /// No limit but those of the readers themselves.
    fn default() -> Self {
        Budget { shortage: |_| None }
    }
}

impl Budget {
    /// Asks `shortage` before memory is taken.
    pub fn of(shortage: Shortage) -> Self {
        Budget { shortage }
    }

    /// Asks for `bytes` before they are taken.
    pub fn ask(&self, what: &str, bytes: u64) -> Result<()> {
        match (self.shortage)(bytes) {
            Some([needed_mib, limit_mib]) => Err(Error::Memory { what: what.into(), needed_mib, limit_mib }),
            None => Ok(()),
        }
    }
}

/// Bytes that are taken before memory is looked at again: looking takes longer than making a small tensor.
const UNTOLD: u64 = 1 << 20;

/// Asks for memory that is taken in many small parts.
pub(crate) struct Meter {
    budget: Budget,
    untold: u64,
}

impl Meter {
    pub fn new(budget: Budget) -> Self {
        Meter { budget, untold: 0 }
    }

    /// Asks for `bytes` more, before they are taken.
    pub fn take(&mut self, what: &str, bytes: u64) -> Result<()> {
        self.untold = self.untold.saturating_add(bytes);
        if self.untold < UNTOLD {
            return Ok(());
        }
        self.budget.ask(what, std::mem::take(&mut self.untold))
    }
}
