//! Results as a page shows them: what an output folder lists, its images, maps and outlines, and what people say of them.

mod fault;
mod folder;
mod listing;
mod original;
mod picture;
mod review;
mod slide;
mod volume;

pub(crate) use folder::Folder;
pub(crate) use listing::listing;
pub(crate) use original::Files;
pub(crate) use review::Review;
