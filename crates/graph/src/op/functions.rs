//! Closed sets of functions, one row a function.

/// Defines an enum of functions with, for each, its attributes and their ONNX defaults, its ONNX operator
/// type, the operator set version that brought it, and whether it has a gradient.
macro_rules! functions {
    ($(#[$meta:meta])* $name:ident {
        $( $(#[$doc:meta])* $variant:ident $({ $($field:ident: $type:ty = $default:expr),+ })?
            => $onnx:literal, $since:literal, $gradient:ident; )+
    }) => {
        $(#[$meta])*
        #[allow(missing_docs)]
        pub enum $name {
            $( $(#[$doc])* $variant $({ $($field: $type),+ })?, )+
        }

        impl $name {
            /// All of them, with ONNX's default attributes.
            pub const ALL: &'static [$name] = &[ $( $name::$variant $({ $($field: $default),+ })?, )+ ];

            /// ONNX operator type.
            pub fn name(self) -> &'static str {
                match self { $( $name::$variant $({ $($field: _),+ })? => $onnx, )+ }
            }

            /// Version of ONNX's operator set that brought the form which is held.
            pub(super) fn since(self) -> i64 {
                match self { $( $name::$variant $({ $($field: _),+ })? => $since, )+ }
            }

            /// Whether there is a gradient.
            pub(super) fn gradient(self) -> crate::op::Gradient {
                match self { $( $name::$variant $({ $($field: _),+ })? => crate::op::Gradient::$gradient, )+ }
            }
        }
    };
}
pub(super) use functions;
