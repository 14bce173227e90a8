//! By where it lies: Windows has a folder of temporary files for each user, which others cannot read.

use tempfile::{Builder, TempDir};

pub(super) fn folder(builder: &mut Builder) -> std::io::Result<TempDir> {
    builder.tempdir()
}
