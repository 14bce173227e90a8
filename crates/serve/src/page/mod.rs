//! The page and what it asks for: results by number, images of them, reviews; and dropping files to be run.

mod api;
mod sources;

pub(crate) use api::{Page, router};
pub(crate) use sources::Sources;
