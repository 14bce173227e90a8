//! Every kernel of the registry against plain loops.
//!
//! A check takes the features that it may use. [`checks`] names those of every operation, so an
//! operation without one does not compile; each is run with what each row of its operations needs, so
//! a new row is tested by the checks that are there.

mod common;
mod conv;
mod gemm;
mod generic;
mod grad;
mod int8;
mod resize;

use ampoule_kernels::registry::{Choice, kernels};
use ampoule_kernels::{Features, Operation};
use std::collections::BTreeSet;

/// A test of some operations with one set of features.
type Check = fn(Features);

macro_rules! checks {
    ($($test:ident: [$($operation:ident),*] => [$($check:path),*];)*) => {
        /// The checks of an operation.
        fn checks(operation: Operation) -> &'static [Check] {
            match operation {
                $($(Operation::$operation)|* => &[$($check),*],)*
            }
        }

        $(
            #[test]
            fn $test() {
                for isa in common::sets(&[$(Operation::$operation),*]) {
                    $($check(isa);)*
                }
            }
        )*
    };
}

checks! {
    float_products: [GemmF32, GemmBf16, ThinGemmF32, ThinGemmBf16] =>
        [gemm::float_tiles, conv::convolutions, conv::stored_convolutions, conv::transposed_convolutions];
    split_inputs: [SplitInput] => [conv::split_convolutions];
    integer_products: [GemmI16, GemmU8, ThinGemmI16, ThinGemmU8, Requantize] =>
        [gemm::integer_tiles, int8::convolutions, int8::extreme_sums];
    widened_inputs: [WidenInput, SubtractZeroPoint] => [conv::widened_inputs];
    winograd: [WinogradFilter, WinogradInput, WinogradOutput] => [conv::winograd];
    int8_winograd: [WinogradInt8Input, WinogradInt8Output] => [int8::winograd, int8::rounded_winograd];
    depthwise: [Depthwise] => [conv::depthwise, int8::depthwise];
    int8_depthwise: [DepthwiseInt8] => [int8::depthwise];
    unary_functions: [Unary] => [generic::unary_functions, int8::quantizers];
    binary_functions: [Binary] => [generic::binary_functions];
    channel_sums: [ChannelSums] => [generic::statistics_survive_a_large_mean];
    affine_maps: [Affine] => [generic::affine_with_residual_and_gaps, int8::normalisation];
    layer_norm: [LayerNorm] => [generic::layer_norm_rows];
    pooling: [Pool] => [generic::pooling];
    resampling: [Resize] => [resize::blends_the_named_samples, resize::picks_single_samples];
    softmax: [Softmax] => [generic::softmax_rows, generic::attention_scores];
    reductions: [Reduce] => [generic::reductions];
    weighted_rows: [WeightedRows] => [generic::weighted_rows];
    weight_gradients: [WeightGradient] => [grad::products_are_summed_over_positions];
    slopes: [MapForward, MapBackward] => [grad::slopes_are_differences_of_values];
    maps: [MapSums, Accumulate] => [grad::maps_go_there_and_back_over_any_channels];
    pooling_gradients: [MaxPoolBackward] => [grad::pooling_gives_to_the_first_largest];
}

/// What all generic kernels make of bfloat16.
#[test]
fn bfloat16_is_float32_rounded() {
    for isa in common::sets(&[Operation::Softmax, Operation::Affine]) {
        generic::bfloat16_is_float32_rounded(isa);
    }
}

#[test]
fn every_kernel_runs_with_what_it_needs_and_has_a_check() {
    for k in kernels() {
        let chosen = Choice::of(k.operation, k.features).kernels;
        assert!(chosen.contains(&k), "{} never runs: {chosen:?} is preferred with its features", k.name);
        assert!(!checks(k.operation).is_empty(), "{} is not tested", k.name);
    }
    let tested: BTreeSet<&str> = Operation::ALL.iter().map(|o| o.name()).collect();
    assert_eq!(tested.len(), Operation::ALL.len(), "two operations of one name");
}
