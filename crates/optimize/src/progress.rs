//! Progress of long work.

/// Called as work goes on: what is being done, parts that are done, and all parts.
pub type Progress<'a> = dyn FnMut(&str, usize, usize) + 'a;
