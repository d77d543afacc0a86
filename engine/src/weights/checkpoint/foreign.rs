//! Files that hold no model that is read here: what each is, and what to bring in its place.
//!
//! People drop the whole folder of a checkpoint, a download that turned out to be a web page, or a model for
//! another program. A message that says what the file is spares them a search. A file is known by its first
//! bytes, and where those say little (a pickle inside a zip, protobuf) by its name.
//!
//! ```text
//! pytorch_model.bin   PK 03 04 ...      a zip by its bytes, so the name decides: a PyTorch checkpoint
//! model.safetensors   version https://  the bytes decide: a Git LFS pointer instead of the file itself
//! notes.bin           just text         the name would say pickle, but it is text: a text file
//! ```

use crate::weights::json::MARK;

/// What a file that we cannot use is. A static description: nothing in it comes from the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Foreign {
    /// With its article, such as "a PNG image".
    pub looks_like: &'static str,
    /// What the user can do.
    pub remedy: &'static str,
    /// Whether it holds a model's weights in another format, so that it is what the user meant.
    pub is_model: bool,
}

/// The remedy where nothing better is known.
const CHOOSE: &str =
    "Choose one .gguf file, or model.safetensors together with config.json and tokenizer.json.";
/// For pickles: the same weights in a format that can be read without running them.
const RESAVE: &str = "Take the model's .safetensors files, or make them with transformers: \
     `AutoModelForCausalLM.from_pretrained(FOLDER).save_pretrained(FOLDER, safe_serialization=True)`.";
/// For what was converted for another program: the conversion cannot be undone here.
const ANOTHER_FORMAT: &str = "Take the model's original files (model.safetensors, config.json and tokenizer.json), or a .gguf file of it.";
/// For archives.
const UNPACK: &str = "Unpack it, and choose the model's files themselves.";
/// For what stands in for the file: a pointer that Git LFS left, or a web page that was saved.
const LFS: &str =
    "Download the file itself (`git lfs pull`, or the download button of the model's page).";
/// For llama.cpp's files before GGUF; the script is part of llama.cpp.
const CONVERT_GGML: &str = "Take a .gguf file of this model, or convert it with llama.cpp's convert_llama_ggml_to_gguf.py.";

/// Describes a file with a model's weights in another format.
const fn model(looks_like: &'static str, remedy: &'static str) -> Foreign {
    Foreign {
        looks_like,
        remedy,
        is_model: true,
    }
}

/// Describes a file that is no model at all.
const fn other(looks_like: &'static str) -> Foreign {
    Foreign {
        looks_like,
        remedy: CHOOSE,
        is_model: false,
    }
}

/// PyTorch's own format. Unpickling calls whatever functions the file names, so it is never opened.
const PICKLE: Foreign = model(
    "a PyTorch checkpoint (a pickle, which can run programs and is never opened)",
    RESAVE,
);
/// llama.cpp's formats before August 2023, without key-value metadata.
const GGML: Foreign = model(
    "a model in the GGML format that came before GGUF",
    CONVERT_GGML,
);
/// The base of the entries for archives, each of which names its own kind.
const ARCHIVE: Foreign = Foreign {
    remedy: UNPACK,
    ..other("an archive")
};
/// The older of llama.cpp's two formats for it; the newer is GGUF.
const IMATRIX: Foreign =
    other("an importance matrix (imatrix), which llama.cpp uses while it quantizes");

/// What files are by the ends of their names, for those whose content says little. The first that fits counts.
const EXTENSIONS: [(&str, Foreign); 18] = [
    (".pt", PICKLE),
    (".pth", PICKLE),
    (".ckpt", PICKLE),
    (".bin", PICKLE),
    (".onnx", model("an ONNX model", ANOTHER_FORMAT)),
    (".onnx_data", model("an ONNX model", ANOTHER_FORMAT)),
    (".h5", model("a Keras or TensorFlow model", ANOTHER_FORMAT)),
    (".keras", model("a Keras model", ANOTHER_FORMAT)),
    (".pb", model("a TensorFlow model", ANOTHER_FORMAT)),
    (".tflite", model("a TensorFlow Lite model", ANOTHER_FORMAT)),
    (".task", model("a MediaPipe model", ANOTHER_FORMAT)),
    (".litertlm", model("a LiteRT model", ANOTHER_FORMAT)),
    (".mlmodel", model("a Core ML model", ANOTHER_FORMAT)),
    (".msgpack", model("a Flax model", ANOTHER_FORMAT)),
    (".nemo", model("a NeMo model", ANOTHER_FORMAT)),
    (".npz", model("a NumPy archive", ANOTHER_FORMAT)),
    (".llamafile", model("a llamafile", ANOTHER_FORMAT)),
    (
        ".safetensors",
        model("a damaged safetensors file", LFS_OR_AGAIN),
    ),
];
/// What helps with a safetensors file whose first bytes are not those of one.
const LFS_OR_AGAIN: &str = "Download the file again.";

/// First bytes of files that people drop by mistake. `lmgg`, `fmgg` and `tjgg` are the magic numbers of
/// llama.cpp's files before GGUF, as little-endian machines write them.
const SIGNATURES: [(&[u8], Foreign); 13] = [
    (
        b"PK\x03\x04",
        Foreign {
            looks_like: "a zip archive",
            ..ARCHIVE
        },
    ),
    (b"\x89HDF", model("an HDF5 file", ANOTHER_FORMAT)),
    (b"\x89PNG", other("a PNG image")),
    (b"\xFF\xD8\xFF", other("a JPEG image")),
    (b"GIF8", other("a GIF image")),
    (b"%PDF", other("a PDF document")),
    (
        b"\x1F\x8B",
        Foreign {
            looks_like: "a gzip archive",
            ..ARCHIVE
        },
    ),
    (
        b"7z\xBC\xAF",
        Foreign {
            looks_like: "a 7z archive",
            ..ARCHIVE
        },
    ),
    (
        b"\x28\xB5\x2F\xFD",
        Foreign {
            looks_like: "a zstd archive",
            ..ARCHIVE
        },
    ),
    (b"lmgg", GGML),
    (b"fmgg", GGML),
    (b"tjgg", GGML),
    (
        b"version https://git-lfs",
        Foreign {
            remedy: LFS,
            ..model("a Git LFS pointer instead of the file itself", LFS)
        },
    ),
];
/// What a server answers in place of a file: an error, or a page to log in.
const WEB_PAGE: Foreign = Foreign {
    remedy: LFS,
    ..other("a web page")
};

/// Returns whether a file begins as a pickle does: the opcode PROTO, and a protocol from 2 to 5. Those before had no
/// mark of their own.
pub(crate) fn is_pickle(head: &[u8]) -> bool {
    matches!(head, [0x80, 2..=5, ..])
}

/// Returns whether a file begins as HTML does, which may be written in capitals or not.
fn is_web_page(head: &[u8]) -> bool {
    let text = head.strip_prefix(MARK).unwrap_or(head).trim_ascii_start();
    ["<!doctype html", "<html"].iter().any(|start| {
        let begin = text.get(..start.len());
        begin.is_some_and(|begin| begin.eq_ignore_ascii_case(start.as_bytes()))
    })
}

/// Returns what a file is whose first bytes we cannot use. The first bytes count before the name, except in a
/// zip, which says nothing of what is in it.
pub(super) fn foreign(name: &str, head: &[u8]) -> Foreign {
    let lower = name.to_lowercase();
    let by_start = SIGNATURES.iter().find(|(magic, _)| head.starts_with(magic));
    let by_name = EXTENSIONS.iter().find(|(end, _)| lower.ends_with(end));
    let is_zip = head.starts_with(b"PK\x03\x04");
    match (by_start, by_name) {
        // What PyTorch, Keras and NumPy write is a zip as well.
        (Some(_), Some((_, named))) if is_zip => *named,
        (Some((_, started)), _) => *started,
        (None, _) if is_pickle(head) => PICKLE,
        (None, _) if is_web_page(head) => WEB_PAGE,
        (None, _) if is_imatrix(head) => IMATRIX,
        (None, Some((_, named))) if !looks_like_text(head) => *named,
        (None, _) if looks_like_text(head) => other("a text file"),
        (None, _) => other("a binary file of another kind"),
    }
}

/// Returns whether the file is an importance matrix in llama.cpp's older format:
///
/// ```text
/// num_entries: i32    then of the first entry: length: i32, name, such as blk.0.attn_k.weight
/// ```
fn is_imatrix(head: &[u8]) -> bool {
    let number = |at: usize| {
        let bytes = head.get(at..at + 4)?.first_chunk::<4>()?;
        usize::try_from(i32::from_le_bytes(*bytes)).ok()
    };
    let (Some(1..=100_000), Some(length @ 1..=256)) = (number(0), number(4)) else {
        return false;
    };
    let name = head.get(8..8 + length);
    name.is_some_and(|name| name.is_ascii() && name.ends_with(b".weight"))
}

/// Returns whether the bytes are UTF-8 without zeros; the last character may be cut off.
fn looks_like_text(head: &[u8]) -> bool {
    let valid = match std::str::from_utf8(head) {
        Ok(_) => true,
        // The head may end within a character.
        Err(error) => error.error_len().is_none(),
    };
    valid && !head.contains(&0)
}

/// Returns whether the file is what `tokenizer.model` is called: a SentencePiece model, or the token list of a
/// Llama 3 release.
pub(super) fn is_tokenizer_model(name: &str, head: &[u8]) -> bool {
    let is_named = name.to_lowercase().ends_with("tokenizer.model");
    // A protobuf whose first field is a list of pieces, the first of which is most often the unknown one.
    let is_pieces = head.first() == Some(&0x0A)
        && head[..head.len().min(64)]
            .windows(5)
            .any(|window| window == b"<unk>");
    is_named || is_pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_known_by_their_start_and_else_by_their_name() {
        for (name, head, looks_like) in [
            (
                "pytorch_model.bin",
                &b"PK\x03\x04"[..],
                "a PyTorch checkpoint",
            ),
            ("consolidated.00.pth", b"\x80\x02}", "a PyTorch checkpoint"),
            ("rng", b"\x80\x04\x95\x12", "a PyTorch checkpoint"),
            ("rng", b"\x80\x05\x95\x12", "a PyTorch checkpoint"),
            ("rng", b"\x80\x06\x95\x12", "a binary file"),
            ("config.json", b"<!DOCTYPE html>", "a web page"),
            ("config.json", b"\n<!doctype HTML>\n", "a web page"),
            ("config.json", b"<HTML lang", "a web page"),
            ("notes.txt", b"<htm", "a text file"),
            (
                "model.onnx",
                b"\x08\x07\x12\x07pytorch\xFF",
                "an ONNX model",
            ),
            ("tf_model.h5", b"\x89HDF\r\n", "an HDF5 file"),
            ("model.zip", b"PK\x03\x04", "a zip archive"),
            ("notes.bin", b"just text", "a text file"),
            (
                "imatrix.dat",
                b"\x02\0\0\0\x13\0\0\0blk.0.attn_k.weight\x01\0\0\0",
                "an importance matrix",
            ),
            (
                "m.gguf",
                b"\x02\0\0\0\x13\0\0\0blk.0.attn_k.what\xFF",
                "a binary file",
            ),
        ] {
            let found = foreign(name, head);
            assert!(
                found.looks_like.starts_with(looks_like),
                "{name}: {found:?}"
            );
        }
    }
}
