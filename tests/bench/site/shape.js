// The work that every side does, described once: shapes, numbers drawn from names, and the checks of what comes out.

/** The layers whose training step is measured: SmolLM2-135M's, and small ones on which the sides are compared. */
export { default as SHAPES } from "./shapes.json" with { type: "json" };

/** Every matrix of a block: name, output features, input features. */
export function projections(shape) {
  const { hidden: d, heads, kvHeads, headDim, intermediate: f } = shape;
  return [
    ["self_attn.q_proj", heads * headDim, d],
    ["self_attn.k_proj", kvHeads * headDim, d],
    ["self_attn.v_proj", kvHeads * headDim, d],
    ["self_attn.o_proj", d, heads * headDim],
    ["mlp.gate_proj", f, d],
    ["mlp.up_proj", f, d],
    ["mlp.down_proj", d, f],
  ];
}

/** Numbers in [-1, 1) that depend on `name` alone: xorshift32, seeded with the name's FNV-1a hash. */
export function draw(name, length) {
  let state = 0x811c9dc5;
  for (let i = 0; i < name.length; i++) state = Math.imul(state ^ name.charCodeAt(i), 0x01000193);
  state = state >>> 0 || 1;
  const values = new Float32Array(length);
  for (let i = 0; i < length; i++) {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    values[i] = (state >>> 8) / 0x800000 - 1;
  }
  return values;
}

/** A matrix whose products keep the size of what they multiply: uniform with variance 1 / `columns`. */
export function drawMatrix(name, rows, columns) {
  const scale = Math.fround(Math.sqrt(3 / columns));
  return draw(name, rows * columns).map((value) => value * scale);
}

/** Weights of a norm, near one. */
export function drawNorm(name, length) {
  return draw(name, length).map((value) => 1 + Math.fround(value * 0.125));
}

/** `tokens` ids of a vocabulary. */
export function drawIds(name, tokens, vocabulary) {
  return Int32Array.from(draw(name, tokens), (value) => Math.floor((value * 0.5 + 0.5) * vocabulary));
}

/** The operands of a product `[m, k] x [k, n]`, each as it is stored, and what they are. */
export function drawProduct({ m, k, n, transposed }) {
  return {
    lhs: { values: draw(`lhs ${m} ${k}`, m * k), dims: transposed === "lhs" ? [k, m] : [m, k] },
    rhs: { values: draw(`rhs ${k} ${n}`, k * n), dims: transposed === "rhs" ? [n, k] : [k, n] },
  };
}

/** The largest error of some elements of a product, against sums in f64, as a share of the operands' size. */
export function errorOfProduct({ m, k, n, transposed }, lhs, rhs, product) {
  let largest = product.length === m * n ? 0 : Infinity;
  for (let at = 0; at < 64; at++) {
    const [row, column] = [(at * 7919 + 13) % m, (at * 104729 + 7) % n];
    let sum = 0;
    for (let inner = 0; inner < k; inner++) {
      const left = transposed === "lhs" ? lhs.values[inner * m + row] : lhs.values[row * k + inner];
      const right = transposed === "rhs" ? rhs.values[column * k + inner] : rhs.values[inner * n + column];
      sum += left * right;
    }
    largest = Math.max(largest, Math.abs(product[row * n + column] - sum) / Math.sqrt(k));
  }
  return largest;
}
