//! By the bits of the folder, whatever the user's mask is.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use tempfile::{Builder, TempDir};

pub(super) fn folder(builder: &mut Builder) -> std::io::Result<TempDir> {
    builder.permissions(Permissions::from_mode(0o700)).tempdir()
}
