//! Preprocessing and postprocessing against the frameworks themselves: `tests/golden/steps` is made by
//! `scripts/golden_steps.py`, which pins their versions.

mod geometry;
mod golden;
mod intensity;
mod labels;
mod threads;
mod windows;
