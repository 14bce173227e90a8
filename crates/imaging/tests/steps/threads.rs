//! The same bits for any number of threads.

use ampoule_imaging::Volume;
use ampoule_imaging::normalise::{Over, ZScore, histogram, quantiles, range};
use ampoule_imaging::postprocess::{Holes, Operation, Select, Structure, fill_holes, morphology_of};
use ampoule_imaging::resample::{Order, separate};
use ampoule_imaging::spacing::{Rule, grid};
use ampoule_random::Random;

fn noise(dims: [usize; 3]) -> Volume<f32> {
    let mut random = Random::new(1);
    Volume::new(dims, (0..dims.iter().product()).map(|_| random.below(4096) as f32 * 0.37).collect())
}

/// Everything that runs in parallel, one after the other.
fn all() -> (Vec<u32>, Vec<u64>, Vec<u16>) {
    let mut v = noise([90, 81, 40]);
    let q = quantiles(&v.data, Over::AboveMean, &[0.01, 0.5, 0.99]).unwrap();
    let reference = noise([70, 50, 30]).data;
    histogram::match_histograms(&mut v.data, &reference).unwrap();
    range::brainmage(&mut v.data).unwrap();
    ZScore::TORCHIO.apply(&mut v.data, Over::NonZero).unwrap();
    v = separate(&v, [100, 70, 60], 2, Order::Cubic, Order::Nearest);
    v = grid(Rule::TorchIo, v.dims, [1.0; 3], [1.3, 0.8, 1.1]).unwrap().resample(&v, Order::Cubic);
    let mut labels = v.map(|x| if x > 1.0 { 2u16 } else { (x > -0.5) as u16 });
    morphology_of(&mut labels, Select::Label(1), 1, Operation::Close, Structure::CUBE, 1, true);
    fill_holes(&mut labels, Select::Label(2), 2, Holes::Slices(1));
    (v.data.iter().map(|x| x.to_bits()).collect(), q.iter().map(|x| x.to_bits()).collect(), labels.data)
}

#[test]
fn results_do_not_depend_on_the_threads() {
    let with = |n| rayon::ThreadPoolBuilder::new().num_threads(n).build().unwrap().install(all);
    let one = with(1);
    assert!(one == with(2) && one == with(5));
}
