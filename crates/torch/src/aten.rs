//! The operators of PyTorch and what they are here: one row an operator, for TorchScript and exported programs alike.
//!
//! Tensors are computed as float32, int64 or bool: networks in half or double precision are widened or narrowed.

mod activation;
mod attention;
mod conv;
mod create;
mod dispatch;
mod index;
mod math;
mod moved;
mod norm;
mod place;
mod plain;
mod pool;
mod product;
mod recurrent;
mod reduce;
mod resize;
mod shape;
mod table;
mod unfold;

pub(crate) use dispatch::{Named, call};

use crate::args::Args;
use crate::net::{Followed, Net};
use crate::value::Value;

/// What an operator does with its arguments.
type Run = fn(&mut Net, &Args) -> Followed<Value>;

/// One operator: its name, its parameters in the order of their places (several names of one place with a slash),
/// and what it does.
type Row = (&'static str, &'static str, Run);
