//! The nonlinearity of a gated MLP.

/// A function `f`, of the form `f(x) = x sigmoid(s(x))`; so every backend computes all of them with one sigmoid, and
/// `f' = sigmoid(s) + x sigmoid(s) (1 - sigmoid(s)) s'`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Activation {
    /// `s(x) = x`
    Silu,
    /// GELU by its usual approximation, `x / 2 (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3)))`, which is
    /// `s(x) = sqrt(8 / pi) (x + 0.044715 x^3)`.
    GeluTanh,
}

/// [`Activation::GeluTanh`]'s `s` is `LINEAR x + CUBIC x^3`; `LINEAR` is `sqrt(8 / pi)`.
pub const LINEAR: f32 = 1.595_769;
pub const CUBIC: f32 = 0.044_715 * LINEAR;
