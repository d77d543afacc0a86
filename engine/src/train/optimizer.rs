//! AdamW and gradient clipping over flat host-side parameters.
//!
//! Adapters are small, so their master weights and moments stay on the host: both devices then update in the same way,
//! and a checkpoint is three plain vectors.
//!
//! With gradient `g`, rate `a` and weight decay `w` (Loshchilov and Hutter, arXiv 1711.05101), step `k` from 1 on is
//!
//! ```text
//! m = m + (1 - b1) (g - m)                     (torch's lerp)
//! v = b2 v + (1 - b2) g^2
//! p = p (1 - a w) - a / (1 - b1^k)  m / (sqrt(v) / sqrt(1 - b2^k) + eps)
//! ```
//!
//! Everything per element is f32, as in `torch.optim.AdamW` on f32 parameters; the scalars in front are computed in f64
//! and rounded where torch rounds them. Golden values of torch are in the tests.

use protocol::RunSpec;

use crate::adapter::Group;

/// The parameters of `torch.optim.AdamW` other than the learning rate; a run's settings have the ranges.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AdamWConfig {
    /// Decay of the running mean of gradients, `adam_beta1`.
    pub beta1: f64,
    /// Decay of the running mean of squared gradients, `adam_beta2`.
    pub beta2: f64,
    /// Added to the denominator after the bias correction, `adam_epsilon`.
    pub epsilon: f64,
    /// Decoupled: parameters shrink by `lr * weight_decay` per step, independent of the gradient.
    pub weight_decay: f64,
}

impl From<&RunSpec> for AdamWConfig {
    fn from(spec: &RunSpec) -> Self {
        Self {
            beta1: spec.adam_beta1,
            beta2: spec.adam_beta2,
            epsilon: spec.adam_epsilon,
            weight_decay: spec.weight_decay,
        }
    }
}

/// The optimizer with its state, equal to `torch.optim.AdamW` (not fused, no AMSGrad). It does not own the parameters.
#[derive(Debug, Clone, PartialEq)]
pub struct AdamW {
    /// What all groups share.
    pub config: AdamWConfig,
    /// Running mean of the gradients, one per parameter.
    pub m: Vec<f32>,
    /// Running mean of the squared gradients, one per parameter.
    pub v: Vec<f32>,
    /// The number of updates done.
    pub step: u64,
    /// Consecutive ranges of the parameters, each with its factor of the rate (LoRA+'s `loraplus_lr_ratio`) and with or
    /// without weight decay. One that covers everything unless [`Self::with_groups`] sets others.
    groups: Vec<Group>,
}

/// Vectors whose lengths do not match.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the optimizer holds {expected} parameters but was given {parameters} with {gradients} gradients"
)]
/// Vectors whose lengths do not match: a bug of the caller, not of the data.
pub struct LengthMismatch {
    /// As many as the optimizer was made for.
    pub expected: usize,
    /// As many parameters as came.
    pub parameters: usize,
    /// As many gradients as came.
    pub gradients: usize,
}

impl AdamW {
    /// Makes an optimizer before its first update: moments of zero, one group, full rate, with decay.
    pub fn new(config: AdamWConfig, num_parameters: usize) -> Self {
        Self {
            config,
            m: vec![0.0; num_parameters],
            v: vec![0.0; num_parameters],
            step: 0,
            groups: vec![Group {
                range: 0..num_parameters,
                lr_ratio: 1.0,
                decays: true,
            }],
        }
    }

    /// Assigns the parameters to groups, which must be consecutive and cover all of them: others are never updated.
    pub fn with_groups(self, groups: Vec<Group>) -> Self {
        Self { groups, ..self }
    }

    /// Updates `params` in place with one step at the rate `lr`, which a rate of 0 leaves as they are (the moments
    /// still change).
    ///
    /// # Shapes
    /// - `params`, `grads`: `[num_parameters]` in the layout's order
    ///
    /// # Errors
    /// [`LengthMismatch`] if the lengths differ from the optimizer's; nothing is changed then.
    pub fn update(
        &mut self,
        params: &mut [f32],
        grads: &[f32],
        lr: f64,
    ) -> Result<(), LengthMismatch> {
        if params.len() != self.m.len() || grads.len() != self.m.len() {
            return Err(LengthMismatch {
                expected: self.m.len(),
                parameters: params.len(),
                gradients: grads.len(),
            });
        }
        self.step += 1;
        let AdamWConfig {
            beta1,
            beta2,
            epsilon,
            weight_decay,
        } = self.config;
        // Both corrections are 1 long before the exponent saturates.
        let exponent = i32::try_from(self.step).unwrap_or(i32::MAX);
        let correction1 = 1.0 - beta1.powi(exponent);
        let correction2_sqrt = (1.0 - beta2.powi(exponent)).sqrt() as f32;
        // The scalars are rounded to f32 where torch rounds them, and applied in torch's order.
        let gain1 = (1.0 - beta1) as f32;
        let (keep2, gain2) = (beta2 as f32, (1.0 - beta2) as f32);
        let epsilon = epsilon as f32;

        for group in &self.groups {
            let lr = lr * group.lr_ratio;
            let weight_decay = if group.decays { weight_decay } else { 0.0 };
            let step_size = (lr / correction1) as f32;
            let shrink = (1.0 - lr * weight_decay) as f32;
            let of = group.range.clone();
            let moments = self.m[of.clone()].iter_mut().zip(&mut self.v[of.clone()]);
            let values = params[of.clone()].iter_mut().zip(&grads[of]);
            for ((param, &grad), (m, v)) in values.zip(moments) {
                *m += gain1 * (grad - *m);
                *v = *v * keep2 + gain2 * grad * grad;
                let denominator = v.sqrt() / correction2_sqrt + epsilon;
                *param = *param * shrink - step_size * *m / denominator;
            }
        }
        Ok(())
    }
}

/// Returns the L2 norm over all gradients, summed in f64: the square of no f32 overflows there, so the result is NaN or
/// infinite exactly if a gradient is.
pub fn global_norm(grads: &[f32]) -> f64 {
    grads
        .iter()
        .map(|&grad| f64::from(grad).powi(2))
        .sum::<f64>()
        .sqrt()
}

/// Returns the factor by which `torch.nn.utils.clip_grad_norm_` multiplies gradients with the global norm `norm`:
/// `min(max_grad_norm / (norm + 1e-6), 1)`. A `max_grad_norm` of 0 clips nothing.
pub fn clip_factor(norm: f64, max_grad_norm: f64) -> f64 {
    if max_grad_norm > 0.0 {
        (max_grad_norm / (norm + 1e-6)).min(1.0)
    } else {
        1.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: [f32; 6] = [0.5, -1.25, 3.0, 1e-3, -2e-4, 0.0];
    const GRADS: [[f32; 6]; 4] = [
        [0.1, -0.2, 3.0, 1e-4, -5e-7, 0.0],
        [-0.3, 0.25, 1.5, 2e-4, 1e-6, 1e-9],
        [0.7, -0.01, -2.0, -1e-4, 3e-6, -1e-3],
        [0.05, 0.4, 0.125, 5e-5, -2e-6, 2.0],
    ];

    #[track_caller]
    fn assert_close(actual: &[f32], expected: &[f64], relative: f64) {
        assert_eq!(actual.len(), expected.len());
        for (i, (&a, &e)) in actual.iter().zip(expected).enumerate() {
            let error = (f64::from(a) - e).abs();
            assert!(
                error <= relative * e.abs() + 1e-12,
                "element {i} is {a:e}, not {e:e}"
            );
        }
    }

    /// Values of `torch.optim.AdamW(foreach=False)`, torch 2.15, CPU.
    #[test]
    fn updates_equal_torch_with_changing_rate_and_decay() {
        let expected: [[f64; 6]; 4] = [
            [0.5, -1.25, 3.0, 1.000000047e-3, -1.999999949e-4, 0.0],
            [
                5.004891753e-1,
                -1.250150204,
                2.999037743,
                3.486889182e-5,
                -5.615291884e-4,
                -4.915493264e-5,
            ],
            [
                5.001666546e-1,
                -1.250220060,
                2.998796701,
                -2.801760565e-4,
                -1.081772731e-3,
                4.299468419e-4,
            ],
            [
                5.000690818e-1,
                -1.250343919,
                2.998724937,
                -3.935370478e-4,
                -1.125641749e-3,
                2.847290598e-4,
            ],
        ];
        let config = AdamWConfig {
            beta1: 0.9,
            beta2: 0.999,
            epsilon: 1e-8,
            weight_decay: 0.01,
        };
        let mut adam = AdamW::new(config, 6);
        let mut params = START;
        for ((grads, lr), expected) in GRADS.iter().zip([0.0, 1e-3, 7.5e-4, 2.5e-4]).zip(&expected)
        {
            adam.update(&mut params, grads, lr).unwrap();
            assert_close(&params, expected, 1e-6);
        }
        assert_close(
            &adam.m,
            &[
                5.099000409e-2,
                4.476999864e-2,
                1.727000028e-1,
                1.948999852e-5,
                1.145500050e-7,
                1.999100000e-1,
            ],
            1e-6,
        );
        assert_close(
            &adam.v,
            &[
                5.918001989e-4,
                2.623551118e-4,
                1.523015276e-2,
                6.238007333e-11,
                1.423825284e-14,
                4.000001121e-3,
            ],
            1e-6,
        );
        assert_eq!(adam.step, 4);
    }

    #[test]
    fn twenty_five_updates_equal_torch_with_other_betas() {
        let config = AdamWConfig {
            beta1: 0.8,
            beta2: 0.95,
            epsilon: 1e-6,
            weight_decay: 0.0,
        };
        let mut adam = AdamW::new(config, 6);
        let mut params = START;
        for step in 0..25 {
            let grads = GRADS[step % 4].map(|grad| grad * (step + 1) as f32);
            adam.update(&mut params, &grads, 1e-2).unwrap();
        }
        let expected = [
            4.023273885e-1,
            -1.355067849,
            2.900727749,
            -1.432210952e-1,
            -4.881116375e-2,
            -1.176673397e-1,
        ];
        assert_close(&params, &expected, 1e-6);
    }

    #[test]
    fn norm_and_clipping_equal_torch() {
        for (grads, max_norm, norm, clipped) in [
            (
                [3.0f32, 4.0, 0.0],
                1.0,
                5.0,
                [5.999999046e-1f64, 7.999998331e-1, 0.0],
            ),
            (
                [0.3, 0.4, 0.0],
                1.0,
                0.5,
                [3.000000119e-1, 4.000000060e-1, 0.0],
            ),
            (
                [0.6, 0.8, 0.0],
                1.0,
                1.0,
                [5.999994278e-1, 7.999992371e-1, 0.0],
            ),
            (
                [30.0, -40.0, 120.0],
                2.5,
                130.0,
                [5.769230723e-1, -7.692307830e-1, 2.307692289],
            ),
        ] {
            let actual = global_norm(&grads);
            assert!((actual - norm).abs() < 1e-6);
            let factor = clip_factor(actual, max_norm) as f32;
            assert_close(&grads.map(|grad| grad * factor), &clipped, 1e-6);
        }
        assert_eq!(clip_factor(1e9, 0.0), 1.0);
    }

    #[test]
    fn non_finite_gradients_show_in_the_norm() {
        assert!(global_norm(&[1.0, f32::NAN]).is_nan());
        assert!(global_norm(&[1.0, f32::INFINITY]).is_infinite());
        assert!(global_norm(&[f32::MAX; 8]).is_finite());
    }

    #[test]
    fn wrong_lengths_change_nothing() {
        let mut adam = AdamW::new(AdamWConfig::from(&RunSpec::default()), 2);
        let mut params = [1.0, 2.0];
        let error = adam.update(&mut params, &[1.0], 0.1).unwrap_err();
        assert_eq!(
            (error.expected, error.parameters, error.gradients),
            (2, 2, 1)
        );
        assert_eq!((params, adam.step), ([1.0, 2.0], 0));
    }
}
