// One LoRA training step in jax-js: the same computation as the engine's, with AdamW and nothing left out.
//
// Two ways: with `jit` around the whole step, as its README would have one write, and with `jit` around the pieces
// between the matrix products. The first fuses element-wise work into the inner loops of products, where it is done
// again for every column, and is many times slower on wasm. The bench measures both and compares with the better.

import { drawIds, drawMatrix, drawNorm, projections } from "./shape.js";

const BETA1 = 0.9;
const BETA2 = 0.999;
const ADAM_EPS = 1e-8;

/** The pieces between the matrix products, each compiled into as few kernels as jax-js can. */
function makePieces({ jit, nn, numpy: np }) {
  const swapHeads = (x) => x.transpose([1, 0, 2]);
  return {
    rmsNorm: jit(
      (x, weight, eps) => {
        const meanSquare = np.square(x.ref).mean(-1, { keepdims: true });
        return x.mul(np.reciprocal(np.sqrt(meanSquare.add(eps)))).mul(weight);
      },
      { staticArgnums: [2] },
    ),
    /** Rotates halves and puts the heads first: `[t, h, hd]` to `[h, t, hd]`; `cos`, `sin` are `[t, 1, hd / 2]`. */
    rope: jit((x, cos, sin) => {
      const half = x.shape[2] / 2;
      const low = x.ref.slice([], [], [0, half]);
      const high = x.slice([], [], [half, 2 * half]);
      const newLow = low.ref.mul(cos.ref).sub(high.ref.mul(sin.ref));
      return swapHeads(np.concatenate([newLow, high.mul(cos).add(low.mul(sin))], -1));
    }),
    swapHeads: jit(swapHeads),
    maskedSoftmax: jit((scores, mask, scale) => nn.softmax(scores.mul(scale).add(mask), -1), { staticArgnums: [2] }),
    swiGlu: jit((gate, up) => nn.silu(gate).mul(up)),
    crossEntropy: jit((logits, targets, weight) => {
      const logSum = nn.logsumexp(logits.ref, -1);
      const vocabulary = logits.shape[1];
      const isTarget = np.arange(vocabulary).reshape([1, vocabulary]).equal(targets.reshape([-1, 1]));
      return logSum.sub(np.where(isTarget, logits, 0).sum(-1)).mul(weight).sum();
    }),
    /** `correction` holds the two bias corrections of the step. */
    adamW: jit(
      (parameter, gradient, m, v, correction, learningRate) => {
        const nextM = m.mul(BETA1).add(gradient.ref.mul(1 - BETA1));
        const nextV = v.mul(BETA2).add(np.square(gradient).mul(1 - BETA2));
        const [first, second] = [correction.ref.slice(0), correction.slice(1)];
        const direction = nextM.ref.mul(first).div(np.sqrt(nextV.ref.mul(second)).add(ADAM_EPS));
        return [parameter.sub(direction.mul(learningRate)), nextM, nextV];
      },
      { staticArgnums: [5] },
    ),
  };
}

/** The mean negative log-likelihood over the scored positions, as a function of the adapter. */
function makeLoss({ numpy: np }, pieces, shape) {
  const { heads, kvHeads, headDim, eps, alpha, rank } = shape;

  function projection(x, weight, pair) {
    const update = np.matmul(np.matmul(x.ref, pair.a), pair.b);
    return np.matmul(x, weight).add(update.mul(alpha / rank));
  }

  /** Causal, one product for each group of queries, so that no key or value is repeated; all `[h, t, hd]`. */
  function attention(q, k, v, mask) {
    const [h, t, hd] = q.shape;
    const [kv, g] = [k.shape[0], h / k.shape[0]];
    const scores = np.matmul(q.reshape([kv, g * t, hd]), k.transpose([0, 2, 1])).reshape([kv, g, t, t]);
    const weights = pieces.maskedSoftmax(scores, mask, 1 / Math.sqrt(hd)).reshape([kv, g * t, t]);
    return pieces.swapHeads(np.matmul(weights, v).reshape([h, t, hd])).reshape([t, h * hd]);
  }

  function block(x, weights, lora, { cos, sin, mask }) {
    const t = x.shape[0];
    const normed = pieces.rmsNorm(x.ref, weights.input_layernorm, eps);
    const q = projection(normed.ref, weights["self_attn.q_proj"], lora.q).reshape([t, heads, headDim]);
    const k = np.matmul(normed.ref, weights["self_attn.k_proj"]).reshape([t, kvHeads, headDim]);
    const v = projection(normed, weights["self_attn.v_proj"], lora.v).reshape([t, kvHeads, headDim]);
    const rotated = [pieces.rope(q, cos.ref, sin.ref), pieces.rope(k, cos, sin)];
    const mixed = attention(...rotated, pieces.swapHeads(v), mask);
    const attended = x.add(np.matmul(mixed, weights["self_attn.o_proj"]));
    const inner = pieces.rmsNorm(attended.ref, weights.post_attention_layernorm, eps);
    const gate = np.matmul(inner.ref, weights["mlp.gate_proj"]);
    const up = np.matmul(inner, weights["mlp.up_proj"]);
    return attended.add(np.matmul(pieces.swiGlu(gate, up), weights["mlp.down_proj"]));
  }

  return (lora, frozen, { embedded, targets, weight, ...shared }) => {
    let hidden = embedded;
    frozen.blocks.forEach((weights, layer) => (hidden = block(hidden, weights, lora[layer], references(shared), shape)));
    leaves(shared).forEach((array) => array.dispose());
    const logits = np.matmul(pieces.rmsNorm(hidden, frozen.norm, eps), frozen.head);
    return pieces.crossEntropy(logits, targets, weight);
  };
}

/** The model, the adapter in training and its optimizer, on jax-js's default device. */
export class JaxStep {
  constructor(jax, shape, { layers, tokens, vocabulary, isWhole }) {
    this.np = jax.numpy;
    this.shape = shape;
    this.pieces = makePieces(jax);
    const lossAndGradient = jax.valueAndGrad(makeLoss(jax, this.pieces, shape));
    const step = (state, correction, frozen, batch) => this.#step(lossAndGradient, state, correction, frozen, batch);
    this.step = isWhole ? jax.jit(step) : step;
    const embedding = drawMatrix("model.embed_tokens", vocabulary, shape.hidden);
    this.frozen = this.#model(layers, vocabulary, embedding);
    this.batch = this.#batch(tokens, vocabulary, embedding);
    const zeros = (_, dims) => this.np.zeros(dims);
    const start = (name, [rows, columns]) =>
      name.endsWith("A") ? this.#transposed(drawMatrix(name, columns, rows), columns, rows) : zeros(name, [rows, columns]);
    this.state = { lora: this.#adapter(layers, start), m: this.#adapter(layers, zeros), v: this.#adapter(layers, zeros) };
    this.stepsDone = 0;
  }

  /** One step; resolves with its loss once everything is computed. */
  async run() {
    this.stepsDone += 1;
    const corrections = [BETA1, BETA2].map((beta) => 1 / (1 - beta ** this.stepsDone));
    const correction = this.np.array(corrections);
    const [loss, state] = this.step(this.state, correction, references(this.frozen), references(this.batch));
    this.state = state;
    await Promise.all(leaves(state).map((array) => array.blockUntilReady()));
    return (await loss.data())[0];
  }

  #step(lossAndGradient, state, correction, frozen, batch) {
    const [loss, gradients] = lossAndGradient(references(state.lora), frozen, batch);
    const next = { lora: [], m: [], v: [] };
    gradients.forEach((modules, layer) => {
      Object.values(next).forEach((tree) => tree.push({ q: {}, v: {} }));
      for (const [module, pair] of Object.entries(modules)) {
        for (const [side, gradient] of Object.entries(pair)) {
          const [lora, m, v] = ["lora", "m", "v"].map((tree) => state[tree][layer][module][side]);
          const updated = this.pieces.adamW(lora, gradient, m, v, correction.ref, this.shape.learningRate);
          Object.values(next).forEach((tree, at) => (tree[layer][module][side] = updated[at]));
        }
      }
    });
    correction.dispose();
    return [loss, next];
  }

  /** Frees the arrays. */
  dispose() {
    [this.frozen, this.batch, this.state].flatMap(leaves).forEach((array) => array.dispose());
    [this.step, ...Object.values(this.pieces)].forEach((compiled) => compiled.dispose?.());
  }

  #put(values, shape) {
    return this.np.array(values, { shape });
  }

  /** `[rows, columns]`, put there as `[columns, rows]`. */
  #transposed(values, rows, columns) {
    const result = new Float32Array(values.length);
    for (let i = 0; i < rows; i++) for (let j = 0; j < columns; j++) result[j * rows + i] = values[i * columns + j];
    return this.#put(result, [columns, rows]);
  }

  /** Matrices are kept as `[in, out]`. */
  #model(layers, vocabulary, embedding) {
    const d = this.shape.hidden;
    const block = (layer) => {
      const weights = {};
      for (const norm of ["input_layernorm", "post_attention_layernorm"])
        weights[norm] = this.#put(drawNorm(`model.layers.${layer}.${norm}`, d), [d]);
      for (const [path, rows, columns] of projections(this.shape))
        weights[path] = this.#transposed(drawMatrix(`model.layers.${layer}.${path}`, rows, columns), rows, columns);
      return weights;
    };
    return {
      blocks: Array.from({ length: layers }, (_, layer) => block(layer)),
      norm: this.#put(drawNorm("model.norm", d), [d]),
      head: this.#transposed(embedding, vocabulary, d),
    };
  }

  #batch(tokens, vocabulary, embedding) {
    const { hidden: d, headDim, theta } = this.shape;
    const half = headDim / 2;
    const ids = drawIds("ids", tokens, vocabulary);
    const embedded = new Float32Array(tokens * d);
    ids.forEach((id, at) => embedded.set(embedding.subarray(id * d, (id + 1) * d), at * d));
    const table = (length, f, dims, Type = Float32Array) => this.#put(Type.from({ length }, (_, at) => f(at)), dims);
    const angle = (at) => Math.floor(at / half) * theta ** (-(at % half) / half);
    const isHidden = (at) => at % tokens > Math.floor(at / tokens);
    return {
      embedded: this.#put(embedded, [tokens, d]),
      targets: table(tokens, (at) => ids[at + 1] ?? 0, [tokens], Int32Array),
      // The last position has no next token.
      weight: table(tokens, (at) => (at + 1 < tokens ? 1 / (tokens - 1) : 0), [tokens]),
      cos: table(tokens * half, (at) => Math.cos(angle(at)), [tokens, 1, half]),
      sin: table(tokens * half, (at) => Math.sin(angle(at)), [tokens, 1, half]),
      mask: table(tokens * tokens, (at) => (isHidden(at) ? -1e30 : 0), [tokens, tokens]),
    };
  }

  /** Pairs of `A^T` `[in, r]` and `B^T` `[r, out]` for the queries and values of each layer. */
  #adapter(layers, make) {
    const { hidden: d, heads, kvHeads, headDim, rank: r } = this.shape;
    return Array.from({ length: layers }, (_, layer) => {
      const pair = (module, out) => ({
        a: make(`lora.${layer}.${module}.A`, [d, r]),
        b: make(`lora.${layer}.${module}.B`, [r, out]),
      });
      return { q: pair("q", heads * headDim), v: pair("v", kvHeads * headDim) };
    });
  }
}

/** Arrays, and the tracers that stand for them. */
const isArray = (tree) => Array.isArray(tree.shape);

function leaves(tree) {
  return isArray(tree) ? [tree] : Object.values(tree).flatMap(leaves);
}

/** The tree again with every array referenced once more, so that a call does not use it up. */
function references(tree) {
  if (isArray(tree)) return tree.ref;
  if (Array.isArray(tree)) return tree.map(references);
  return Object.fromEntries(Object.entries(tree).map(([key, value]) => [key, references(value)]));
}
