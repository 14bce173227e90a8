//! Weights of Keras archives (`.keras`, version 3): a zip that holds an HDF5 file.

use crate::{Error, Result, Weights};
use ampoule_graph::Tensor;
use ampoule_torch::archive::{Archive, TOTAL};
use hdf5_pure::File;
use std::io::Cursor;

/// More datasets than any network has.
const DATASETS: usize = 100_000;
/// Groups below one another.
const DEPTH: usize = 16;

/// Reads all float32 weights, named by their paths in the HDF5 file, with Keras's order of axes.
pub fn read(bytes: &[u8]) -> Result<Weights> {
    let weights = Archive::new(Cursor::new(bytes), crate::torch::budget())?.read("model.weights.h5")?;
    let bad = |e: hdf5_pure::Error| Error::Archive(format!("model.weights.h5: {e}"));
    let file = File::from_bytes(weights).map_err(bad)?;
    let mut found = Weights::default();
    let mut groups = vec![(String::new(), 0)];
    let (mut count, mut size) = (0usize, 0u64);
    while let Some((path, depth)) = groups.pop() {
        let group = if path.is_empty() { file.root() } else { file.group(&path).map_err(bad)? };
        let below = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}/{name}") };
        for name in group.datasets().map_err(bad)? {
            let path = below(&name);
            let set = file.dataset(&path).map_err(bad)?;
            let dims: Vec<usize> = set.shape().map_err(bad)?.into_iter().map(|d| d as usize).collect();
            let n = dims.iter().try_fold(4u64, |n, &d| n.checked_mul(d as u64)).unwrap_or(u64::MAX);
            count += 1;
            size = size.saturating_add(n);
            if count > DATASETS || size > TOTAL {
                return Err(Error::Archive("model.weights.h5 holds too much".into()));
            }
            // Scalars are counters of training.
            if !dims.is_empty() {
                found.insert(path, Tensor::f32(&dims, &set.read::<f32>().map_err(bad)?));
            }
        }
        for name in group.groups().map_err(bad)? {
            if depth < DEPTH {
                groups.push((below(&name), depth + 1));
            }
        }
    }
    match found.is_empty() {
        true => Err(Error::Archive("model.weights.h5 holds no weights".into())),
        false => Ok(found),
    }
}

/// A tensor with its axes in another order: axis `i` of the result is axis `order[i]` of `t`.
pub(crate) fn permuted(t: &Tensor, order: &[usize]) -> Result<Tensor> {
    let dims: Vec<usize> = order.iter().map(|&a| t.dims()[a]).collect();
    let values = t.to_f32().ok_or_else(|| Error::Archive("weights that are not float32".into()))?;
    let mut strides = vec![1; t.dims().len()];
    for i in (1..strides.len()).rev() {
        strides[i - 1] = strides[i] * t.dims()[i];
    }
    let out: Vec<f32> = (0..values.len())
        .map(|mut i| {
            let mut at = 0;
            for (axis, &d) in order.iter().zip(&dims).rev() {
                at += i % d * strides[*axis];
                i /= d;
            }
            values[at]
        })
        .collect();
    Ok(Tensor::f32(&dims, &out))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_change_places() {
        let t = Tensor::f32(&[2, 3], &[0.0, 1.0, 2.0, 3.0, 4.0, 5.0]);
        let p = permuted(&t, &[1, 0]).unwrap();
        assert_eq!((p.dims(), p.to_f32().unwrap()), (&[3, 2][..], vec![0.0, 3.0, 1.0, 4.0, 2.0, 5.0]));
    }

    #[test]
    fn what_is_no_archive_is_refused() {
        assert!(read(b"PK\x03\x04").is_err());
        assert!(read(b"").is_err());
    }
}
