//! Where the files of a case lie in an output folder.

use crate::case::Case;
use crate::record::RECORD_ENDING;
use std::path::{Path, PathBuf};

/// Where the files of a case lie.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    /// The folder of its files.
    pub folder: PathBuf,
    /// Its record.
    pub record: PathBuf,
    /// What stands for it while it is worked on.
    pub lock: PathBuf,
}

/// The folder of records where cases have no other files.
pub(crate) const RECORDS: &str = "records";

/// Longest name of a file in bytes.
const LONGEST_NAME: usize = 255;

impl Place {
    /// For results in `output`; cases without files of their own (`table`) have their records in a folder of their own.
    pub fn new(output: &Path, case: &Case, table: bool) -> Place {
        let within = |root: PathBuf| match case.folder() {
            "" => root,
            folder => folder.split('/').fold(root, |p, part| p.join(part)),
        };
        let folder = within(output.to_owned());
        let own = if table { within(output.join(RECORDS)) } else { folder.clone() };
        let record = own.join(format!("{}{RECORD_ENDING}", case.stem()));
        let mut name = format!(".{}.ampoule-lock", case.stem());
        if name.len() > LONGEST_NAME {
            name = format!(".{}.ampoule-lock", &crate::sha256_hex(case.stem().as_bytes())[..40]);
        }
        Place { lock: own.join(name), folder, record }
    }
}
