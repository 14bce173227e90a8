//! Tiles of any height: one instantiation for each row count, so that every accumulator stays in a
//! register.

use super::GemmArgs;

/// A tile of any number of rows.
pub(super) trait Tile {
    /// The tile of `M` rows.
    ///
    /// # Safety
    /// See [`super::MicroKernel::run`]; the CPU must have the features of the tile.
    unsafe fn run<const M: usize>(args: &GemmArgs);
}

/// Calls the instantiation for `args.m` rows.
///
/// # Safety
/// See [`super::MicroKernel::run`]; the CPU must have the features of the tile.
#[inline(always)]
pub(super) unsafe fn rows<T: Tile, const MR: usize>(args: &GemmArgs) {
    macro_rules! pick {
        ($($m:literal)*) => {
            match args.m {
                // Row counts beyond MR are never asked for; a guard that is constant keeps them from being compiled.
                // SAFETY: passed on from the caller.
                $($m if const { $m <= MR } => unsafe { T::run::<$m>(args) },)*
                // Rows that are left out would be a wrong result in silence, in every build.
                _ => unreachable!("{} rows in a tile of {MR}", args.m),
            }
        };
    }
    pick!(1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24)
}

/// Defines micro-kernels: for each the `#[target_feature]` function around [`rows`], by the features,
/// name, most rows and tile.
macro_rules! entries {
    ($($enabled:literal { $($name:ident: $mr:literal rows of $tile:ty;)* })*) => {
        $($(
            /// # Safety
            /// See [`super::MicroKernel::run`].
            #[target_feature(enable = $enabled)]
            pub(super) unsafe fn $name(args: &GemmArgs) {
                // SAFETY: passed on from the caller.
                unsafe { rows::<$tile, $mr>(args) }
            }
        )*)*
    };
}
pub(super) use entries;
