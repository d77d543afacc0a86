//! Headers of GGUF models of any size, without the weights.

fn text(bytes: &mut Vec<u8>, text: &str) {
    bytes.extend((text.len() as u64).to_le_bytes());
    bytes.extend(text.as_bytes());
}

fn pair(bytes: &mut Vec<u8>, key: &str, number: u32, value: &[u8]) {
    text(bytes, key);
    bytes.extend(number.to_le_bytes());
    bytes.extend(value);
}

/// The header of a Llama with these sizes, all matrices of the type `kind`, a weight of which takes `bits`; and the
/// bytes of the whole file.
pub fn llama(architecture: &str, hidden: u64, layers: u64, kind: u32, bits: u64) -> (Vec<u8>, u64) {
    let words: Vec<String> = (0..32_000).map(|word| format!("w{word}")).collect();
    llama_of(architecture, [hidden, layers, bits], kind, &words, &[])
}

/// An array of texts, after the number of its type.
fn texts(list: &[String]) -> Vec<u8> {
    let mut bytes = 8u32.to_le_bytes().to_vec();
    bytes.extend((list.len() as u64).to_le_bytes());
    for word in list {
        text(&mut bytes, word);
    }
    bytes
}

/// As [`llama`], with these words and merges.
pub fn llama_of(
    architecture: &str,
    [hidden, layers, bits]: [u64; 3],
    kind: u32,
    words: &[String],
    merges: &[String],
) -> (Vec<u8>, u64) {
    let feed_forward = hidden * 8 / 3 / 256 * 256;
    let mut pairs = Vec::new();
    let mut value = Vec::new();
    text(&mut value, architecture);
    pair(&mut pairs, "general.architecture", 8, &value);
    for (key, number) in [
        ("embedding_length", hidden),
        ("feed_forward_length", feed_forward),
        ("block_count", layers),
        ("attention.head_count", hidden / 128),
        ("attention.head_count_kv", hidden / 128),
        ("context_length", 4096),
    ] {
        let number = (number as u32).to_le_bytes();
        pair(&mut pairs, &format!("{architecture}.{key}"), 4, &number);
    }
    let epsilon = format!("{architecture}.attention.layer_norm_rms_epsilon");
    pair(&mut pairs, &epsilon, 6, &1e-5_f32.to_le_bytes());
    let mut value = Vec::new();
    text(&mut value, "gpt2");
    pair(&mut pairs, "tokenizer.ggml.model", 8, &value);
    pair(&mut pairs, "tokenizer.ggml.tokens", 9, &texts(words));
    pair(&mut pairs, "tokenizer.ggml.merges", 9, &texts(merges));

    let mut tensors = vec![(
        "token_embd.weight".to_owned(),
        vec![hidden, words.len() as u64],
    )];
    for layer in 0..layers {
        for (name, shape) in [
            ("attn_norm", vec![hidden]),
            ("attn_q", vec![hidden, hidden]),
            ("attn_k", vec![hidden, hidden]),
            ("attn_v", vec![hidden, hidden]),
            ("attn_output", vec![hidden, hidden]),
            ("ffn_norm", vec![hidden]),
            ("ffn_gate", vec![hidden, feed_forward]),
            ("ffn_up", vec![hidden, feed_forward]),
            ("ffn_down", vec![feed_forward, hidden]),
        ] {
            tensors.push((format!("blk.{layer}.{name}.weight"), shape));
        }
    }
    tensors.push(("output_norm.weight".to_owned(), vec![hidden]));
    let mut entries = Vec::new();
    let mut offset = 0u64;
    for (name, shape) in &tensors {
        text(&mut entries, name);
        entries.extend((shape.len() as u32).to_le_bytes());
        for size in shape {
            entries.extend(size.to_le_bytes());
        }
        let (kind, bits) = match shape.len() {
            1 => (0, 32),
            _ => (kind, bits),
        };
        entries.extend(kind.to_le_bytes());
        entries.extend(offset.to_le_bytes());
        let num_bytes = shape.iter().product::<u64>() * bits / 8;
        offset += num_bytes.next_multiple_of(32);
    }
    let mut file = b"GGUF".to_vec();
    file.extend(3u32.to_le_bytes());
    file.extend((tensors.len() as u64).to_le_bytes());
    file.extend(11u64.to_le_bytes());
    file.extend(pairs);
    file.extend(entries);
    file.resize(file.len().next_multiple_of(32), 0);
    let num_bytes = file.len() as u64 + offset;
    (file, num_bytes)
}
