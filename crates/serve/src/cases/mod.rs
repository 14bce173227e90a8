//! Cases: files are uploaded, run through recipe and network, and their results fetched or looked at.

mod api;
mod archive;
mod job;
mod names;
mod store;
mod unzip;
mod upload;
mod worker;

pub(crate) use api::router;
pub(crate) use store::{Kind, Store};
pub(crate) use worker::{Runner, Runners};
