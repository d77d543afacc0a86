//! The operations composed from Burn's own: correct on every backend, and what our kernels replace.

use burn::{
    backend::{TensorMetadata, tensor::FloatTensor},
    tensor::{FloatDType, Shape, TensorData},
};

use super::{
    Activation, Heads, KernelOps,
    activation::{CUBIC, LINEAR},
    operand::{Addend, QuantizedOperand, RunningSums, Sight},
};

pub fn rms_norm<B: KernelOps>(
    x: FloatTensor<B>,
    weight: FloatTensor<B>,
    eps: f64,
    dtype: FloatDType,
) -> FloatTensor<B> {
    let normed = B::float_mul(x.clone(), inverse_rms::<B>(x, eps));
    let normed = B::float_mul(normed, weight);
    match dtype {
        FloatDType::F32 => normed,
        other => B::float_cast(normed, other),
    }
}

pub fn rms_norm_backward<B: KernelOps>(
    dy: FloatTensor<B>,
    x: FloatTensor<B>,
    weight: FloatTensor<B>,
    eps: f64,
) -> FloatTensor<B> {
    let inverse = inverse_rms::<B>(x.clone(), eps);
    let weighted = B::float_mul(dy, weight);
    let mean = B::float_mean_dim(B::float_mul(weighted.clone(), x.clone()), 1);
    let projection = B::float_mul(mean, B::float_mul(inverse.clone(), inverse.clone()));
    let dx = B::float_sub(weighted, B::float_mul(x, projection));
    B::float_mul(dx, inverse)
}

/// `[n, 1]`; not a reciprocal, so that an overflow becomes NaN.
fn inverse_rms<B: KernelOps>(x: FloatTensor<B>, eps: f64) -> FloatTensor<B> {
    let mean = B::float_mean_dim(B::float_mul(x.clone(), x), 1);
    let mean = B::float_add_scalar(mean, eps.into());
    B::float_div(B::float_sqrt(mean.clone()), mean)
}

pub fn rope<B: KernelOps>(
    x: FloatTensor<B>,
    cos: FloatTensor<B>,
    sin: FloatTensor<B>,
    inverse: bool,
) -> FloatTensor<B> {
    let ([n, width], [t, half]) = (dims(&x), dims(&cos));
    let heads = width / (2 * half);
    let [first, second] = [0, 1].map(|part| {
        let halves = B::float_reshape(x.clone(), Shape::from([n / t, t, heads, 2, half]));
        let slices = [
            (0..n / t).into(),
            (0..t).into(),
            (0..heads).into(),
            (part..part + 1).into(),
            (0..half).into(),
        ];
        B::float_slice(halves, &slices)
    });
    let table = |table| B::float_reshape(table, Shape::from([1, t, 1, 1, half]));
    let (cos, sin) = (table(cos), table(sin));
    let sin = if inverse { B::float_neg(sin) } else { sin };
    let rotated = |x: &FloatTensor<B>, y: &FloatTensor<B>| {
        let (x, y) = (x.clone(), y.clone());
        (B::float_mul(x, cos.clone()), B::float_mul(y, sin.clone()))
    };
    let (first_cos, second_sin) = rotated(&first, &second);
    let (second_cos, first_sin) = rotated(&second, &first);
    let halves = vec![
        B::float_sub(first_cos, second_sin),
        B::float_add(second_cos, first_sin),
    ];
    B::float_reshape(B::float_cat(halves, 3), Shape::from([n, width]))
}

/// See [`KernelOps::attention`].
pub fn attention<B: KernelOps>(
    q: FloatTensor<B>,
    k: FloatTensor<B>,
    v: FloatTensor<B>,
    sight: Sight<B>,
    heads: Heads,
) -> (FloatTensor<B>, FloatTensor<B>) {
    let scores = masked_scores::<B>(q, k, sight, heads);
    let maximum = B::float_max_dim(scores.clone(), 2);
    let exponentials = B::float_exp(B::float_sub(scores, maximum.clone()));
    let sum = B::float_sum_dim(exponentials.clone(), 2);
    let weights = B::float_div(exponentials, sum.clone());
    let output = B::matmul(weights, split_keys::<B>(v, heads));
    let log_sums = B::float_add(B::float_log(sum), maximum);
    (
        merge_queries::<B>(output, heads, heads.head_dim),
        merge_queries::<B>(log_sums, heads, 1),
    )
}

/// See [`KernelOps::attention_backward`].
pub fn attention_backward<B: KernelOps>(
    d_output: FloatTensor<B>,
    [q, k, v]: [FloatTensor<B>; 3],
    output: FloatTensor<B>,
    log_sums: FloatTensor<B>,
    sight: Sight<B>,
    heads: Heads,
) -> (FloatTensor<B>, FloatTensor<B>, FloatTensor<B>) {
    let hd = heads.head_dim;
    let scores = masked_scores::<B>(q.clone(), k.clone(), sight, heads);
    let log_sums = split_queries::<B>(log_sums, heads, 1);
    let weights = B::float_exp(B::float_sub(scores, log_sums));
    let d_output = split_queries::<B>(d_output, heads, hd);
    let output = split_queries::<B>(output, heads, hd);
    let projection = B::float_sum_dim(B::float_mul(d_output.clone(), output), 2);
    let swapped = |x: &FloatTensor<B>| B::float_swap_dims(x.clone(), 1, 2);
    let d_v = B::matmul(swapped(&weights), d_output.clone());
    let d_weights = B::matmul(d_output, swapped(&split_keys::<B>(v, heads)));
    let d_scores = B::float_mul(weights, B::float_sub(d_weights, projection));
    let d_scores = B::float_mul_scalar(d_scores, heads.scale().into());
    let d_q = B::matmul(d_scores.clone(), split_keys::<B>(k, heads));
    let d_k = B::matmul(swapped(&d_scores), split_queries::<B>(q, heads, hd));
    (
        merge_queries::<B>(d_q, heads, hd),
        merge_keys::<B>(d_k, heads),
        merge_keys::<B>(d_v, heads),
    )
}

/// Scaled scores, with a large negative number where a query must not attend, `[b kv, g t, keys]`.
fn masked_scores<B: KernelOps>(
    q: FloatTensor<B>,
    k: FloatTensor<B>,
    sight: Sight<B>,
    heads: Heads,
) -> FloatTensor<B> {
    // Far below any score, far above f32's minimum: a sum with a score stays finite.
    const HIDDEN: f32 = -1e30;
    let device = q.device();
    let (t, keys) = (heads.tokens, heads.keys());
    let (segments, window) = sight.limits();
    let window = window.unwrap_or(keys);
    let mask: Vec<f32> = (0..heads.group() * t)
        .flat_map(|row| {
            let last = heads.past + row % t;
            let is_visible = move |key: usize| key <= last && last < key + window;
            (0..keys).map(move |key| if is_visible(key) { 0.0 } else { HIDDEN })
        })
        .collect();
    let mask = TensorData::new(mask, [1, heads.group() * t, keys]);
    let q = split_queries::<B>(q, heads, heads.head_dim);
    let k = B::float_swap_dims(split_keys::<B>(k, heads), 1, 2);
    let scores = B::float_mul_scalar(B::matmul(q, k), heads.scale().into());
    let scores = B::float_add(scores, B::float_from_data(mask, &device));
    let Some(segments) = segments else {
        return scores;
    };
    // How far a key lies before the first key of a query's segment.
    let firsts = B::int_slice(segments, &[(0..t).into(), (0..1).into()]);
    let firsts = B::int_into_float(firsts, FloatDType::F32);
    let firsts = B::float_cat(vec![firsts; heads.group()], 0);
    let firsts = B::float_reshape(firsts, Shape::from([1, heads.group() * t, 1]));
    let keys: Vec<f32> = (0..keys).map(|key| key as f32).collect();
    let keys = TensorData::new(keys, [1, 1, heads.keys()]);
    let before = B::float_sub(firsts, B::float_from_data(keys, &device));
    let is_before = B::float_clamp(before, 0.0.into(), 1.0.into());
    B::float_add(scores, B::float_mul_scalar(is_before, HIDDEN.into()))
}

/// `[b t, h width] -> [b kv, g t, width]`: the query heads of a group become consecutive rows.
fn split_queries<B: KernelOps>(x: FloatTensor<B>, heads: Heads, width: usize) -> FloatTensor<B> {
    let Heads { batch, tokens, .. } = heads;
    let x = B::float_reshape(x, Shape::from([batch, tokens, heads.query_heads, width]));
    let shape = [batch * heads.key_value_heads, heads.group() * tokens, width];
    B::float_reshape(B::float_swap_dims(x, 1, 2), Shape::from(shape))
}

/// The inverse of [`split_queries`].
fn merge_queries<B: KernelOps>(x: FloatTensor<B>, heads: Heads, width: usize) -> FloatTensor<B> {
    let Heads { batch, tokens, .. } = heads;
    let x = B::float_reshape(x, Shape::from([batch, heads.query_heads, tokens, width]));
    let shape = [batch * tokens, heads.query_heads * width];
    B::float_reshape(B::float_swap_dims(x, 1, 2), Shape::from(shape))
}

/// `[b keys, kv hd] -> [b kv, keys, hd]`
fn split_keys<B: KernelOps>(x: FloatTensor<B>, heads: Heads) -> FloatTensor<B> {
    let Heads {
        batch,
        key_value_heads,
        head_dim,
        ..
    } = heads;
    let keys = heads.keys();
    let [rows, width] = dims(&x);
    let x = match rows > batch * keys {
        true => B::float_slice(x, &[(0..batch * keys).into(), (0..width).into()]),
        false => x,
    };
    let x = B::float_reshape(x, Shape::from([batch, keys, key_value_heads, head_dim]));
    let shape = [batch * key_value_heads, keys, head_dim];
    B::float_reshape(B::float_swap_dims(x, 1, 2), Shape::from(shape))
}

/// The inverse of [`split_keys`].
fn merge_keys<B: KernelOps>(x: FloatTensor<B>, heads: Heads) -> FloatTensor<B> {
    let Heads {
        batch,
        key_value_heads,
        head_dim,
        ..
    } = heads;
    let keys = heads.keys();
    let x = B::float_reshape(x, Shape::from([batch, key_value_heads, keys, head_dim]));
    let shape = [batch * keys, key_value_heads * head_dim];
    B::float_reshape(B::float_swap_dims(x, 1, 2), Shape::from(shape))
}

pub fn gated<B: KernelOps>(
    gate: FloatTensor<B>,
    up: FloatTensor<B>,
    activation: Activation,
) -> FloatTensor<B> {
    let sigmoid = B::sigmoid(inner::<B>(gate.clone(), activation));
    B::float_mul(B::float_mul(gate, sigmoid), up)
}

pub fn gated_backward<B: KernelOps>(
    dy: FloatTensor<B>,
    gate: FloatTensor<B>,
    up: FloatTensor<B>,
    activation: Activation,
) -> (FloatTensor<B>, FloatTensor<B>) {
    let sigmoid = B::sigmoid(inner::<B>(gate.clone(), activation));
    let activated = B::float_mul(gate.clone(), sigmoid.clone());
    let rest = B::float_add_scalar(B::float_neg(sigmoid.clone()), 1.0.into());
    let bent = B::float_mul(activated.clone(), rest);
    let bent = match activation {
        Activation::Silu => bent,
        Activation::GeluTanh => B::float_mul(bent, even_polynomial::<B>(gate, 3.0 * CUBIC)),
    };
    let slope = B::float_add(sigmoid, bent);
    (
        B::float_mul(B::float_mul(dy.clone(), up), slope),
        B::float_mul(dy, activated),
    )
}

/// The `s(x)` of an activation.
fn inner<B: KernelOps>(x: FloatTensor<B>, activation: Activation) -> FloatTensor<B> {
    match activation {
        Activation::Silu => x,
        Activation::GeluTanh => B::float_mul(x.clone(), even_polynomial::<B>(x, CUBIC)),
    }
}

/// `LINEAR + factor x^2`
fn even_polynomial<B: KernelOps>(x: FloatTensor<B>, factor: f32) -> FloatTensor<B> {
    let square = B::float_mul_scalar(B::float_mul(x.clone(), x), factor.into());
    B::float_add_scalar(square, LINEAR.into())
}

/// See [`KernelOps::head_chunk`].
pub fn head_chunk<B: KernelOps>(
    hidden: FloatTensor<B>,
    rows: QuantizedOperand<B>,
    sums: RunningSums<B>,
    with_gradient: bool,
) -> RunningSums<B> {
    let logits = B::quantized_linear(hidden, rows.clone(), Addend::Nothing);
    let (sums, exponentials) = add_logits::<B>(sums, logits);
    if !with_gradient {
        return sums;
    }
    let added = B::quantized_linear_backward(exponentials, rows, Addend::Nothing);
    RunningSums {
        weighted: B::float_add(sums.weighted, added),
        ..sums
    }
}

/// Adds logits `[s, c]` to the sums, rescaled to the new maximum; also returns `exp(logit - maximum)`.
fn add_logits<B: KernelOps>(
    sums: RunningSums<B>,
    logits: FloatTensor<B>,
) -> (RunningSums<B>, FloatTensor<B>) {
    let largest = B::float_max_dim(logits.clone(), 1);
    let both = B::float_cat(vec![sums.maximum.clone(), largest], 1);
    let maximum = B::float_max_dim(both, 1);
    let exponentials = B::float_exp(B::float_sub(logits, maximum.clone()));
    let rescale = B::float_exp(B::float_sub(sums.maximum, maximum.clone()));
    let added = B::float_sum_dim(exponentials.clone(), 1);
    let sums = RunningSums {
        maximum,
        sum: B::float_add(B::float_mul(sums.sum, rescale.clone()), added),
        weighted: B::float_mul(sums.weighted, rescale),
    };
    (sums, exponentials)
}

fn dims(tensor: &impl TensorMetadata) -> [usize; 2] {
    let shape = tensor.shape();
    [shape[0], shape[1]]
}
