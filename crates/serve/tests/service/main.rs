//! The service from outside, over loopback: what it answers, and what it does with clients that mean harm.

mod cases;
mod end;
mod harness;
mod hostile;
mod protocol;
