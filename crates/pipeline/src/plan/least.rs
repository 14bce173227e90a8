//! The least limit under which a case runs, for those that are refused.

use super::CasePlan;
use crate::{Error, Model, Result};

/// Times that a larger limit is tried after one was refused.
const ATTEMPTS: usize = 16;
/// Figures are multiples of this many MiB: what a process holds beside its plans differs a little from one to the next.
const STEP: u64 = 4;

/// `error` with the least limit under which all stages of the case that `plan` plans fit, where memory is the reason. The stage that
/// refused knows its own need only, and a user who raises the limit to that would be refused by the next.
pub(crate) fn with_least(
    model: &mut Model,
    error: Error,
    plan: impl Fn(&mut Model) -> Result<CasePlan>,
) -> Error {
    let Some(limit) = model.max_ram.filter(|_| error.is_memory()) else { return error };
    // Planning for another figure asks for one.
    if model.is_planning() {
        return error;
    }
    let least = model.planning(|m| {
        // From the bottom, so that the limit that was given has no part in it.
        let mut tried = 1u64;
        for _ in 0..ATTEMPTS {
            m.max_ram = Some(tried << 20);
            m.forget_sessions();
            match plan(m) {
                Ok(_) => return Some(tried),
                Err(e) => tried = e.needed_mib()?.max(tried + 1).next_multiple_of(STEP),
            }
        }
        None
    });
    // What the process holds by now may be more than when it had read the model.
    match least.filter(|least| *least > limit >> 20) {
        Some(least) => error.with_figures([least, limit >> 20]),
        None => error,
    }
}
