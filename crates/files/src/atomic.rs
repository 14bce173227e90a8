//! Writing a file in one go.

use super::pending::Pending;
use std::io::{self, Write};
use std::path::Path;

/// Writes `path` through a temporary file in the same folder: synced, then renamed. On any error the
/// temporary is removed and nothing new stands under the final name. A name that is a symbolic link, or
/// anything but a plain file, is refused ([`Pending`]).
pub fn write_atomic(path: &Path, f: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
    let (pending, file) = Pending::create(path)?;
    let mut out = io::BufWriter::with_capacity(1 << 18, file);
    f(&mut out)?;
    out.flush()?;
    pending.commit(out.get_ref())
}
