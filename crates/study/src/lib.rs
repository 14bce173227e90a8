//! `ampoule study`: models × variants × hardware profiles, and what may be said of them.
//!
//! Every cell (a variant of a workload under a profile) is timed in rounds, each in a fresh process, in turns
//! with the other variants; utility is measured once per variant on the test cases. All that was measured goes
//! to a journal, so that a killed study resumes.
#![forbid(unsafe_code)]

mod cell;
mod engine_error;
mod error;
mod explain;
mod journal;
mod picture;
mod prediction_file;
mod prepare;
mod profile;
pub mod report;
pub mod results;
mod run;
mod spec;
mod spec_error;
mod summary;
mod torch;
mod transfer;
mod worker;

pub use error::{Error, ResolveError, Result, WorkerError};
pub use profile::Machine;
pub use run::{Event, Study, run};
pub use spec::Spec;
pub use spec_error::SpecError;
pub use worker::serve;

/// The text of a plain file of at most 256 MiB; pipes and devices are refused.
fn plain_text(path: &std::path::Path) -> std::io::Result<String> {
    use std::io::Read;
    const MOST: u64 = 256 << 20;
    let file = ampoule_files::open_plain(path)?;
    let mut text = String::new();
    file.take(MOST + 1).read_to_string(&mut text)?;
    match text.len() as u64 > MOST {
        true => Err(std::io::Error::other("it is larger than 256 MiB; is it a file of a study?")),
        false => Ok(text),
    }
}
