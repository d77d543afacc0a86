//! The compressions inside Parquet and Arrow. All of them in Rust, as C does not build for wasm; the size is known before,
//! and kept to.

use std::io::{self, Read};

use flate2::bufread::MultiGzDecoder;

/// Bytes that zstd may look back.
pub(super) const MAX_WINDOW_BYTES: u64 = 32 << 20;
const BUFFER_BYTES: usize = 16 << 10;

/// How bytes are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Codec {
    None,
    Snappy,
    Gzip,
    Brotli,
    Zstd,
    Lz4Block,
    Lz4Frame,
    /// Under one name, Hadoop's blocks, frames and bare blocks.
    Lz4OfHadoop,
}

/// The `num_bytes` that `data` was before it was compressed.
pub(super) fn decompress(codec: Codec, data: &[u8], num_bytes: usize) -> Result<Vec<u8>, String> {
    match codec {
        Codec::None => Ok(data.to_vec()),
        Codec::Snappy => {
            let mut decoder = snap::raw::Decoder::new();
            filled(num_bytes, |bytes| decoder.decompress(data, bytes))
        }
        Codec::Gzip => collected(MultiGzDecoder::new(data), num_bytes),
        Codec::Brotli => collected(
            brotli_decompressor::Decompressor::new(data, BUFFER_BYTES),
            num_bytes,
        ),
        Codec::Zstd => {
            let decoder = ruzstd::decoding::StreamingDecoder::new_with_max_window_size(
                data,
                MAX_WINDOW_BYTES,
            )
            .map_err(|error| error.to_string())?;
            collected(decoder, num_bytes)
        }
        Codec::Lz4Block => lz4_block(data, num_bytes),
        Codec::Lz4Frame => collected(lz4_flex::frame::FrameDecoder::new(data), num_bytes),
        Codec::Lz4OfHadoop => lz4_of_hadoop(data, num_bytes)
            .or_else(|_| decompress(Codec::Lz4Frame, data, num_bytes))
            .or_else(|_| lz4_block(data, num_bytes)),
    }
}

fn collected(decoder: impl Read, num_bytes: usize) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let read = decoder.take(num_bytes as u64 + 1).read_to_end(&mut bytes);
    read.map_err(|error: io::Error| error.to_string())?;
    of_size(bytes, num_bytes)
}

fn filled<E: ToString>(
    num_bytes: usize,
    fill: impl FnOnce(&mut [u8]) -> Result<usize, E>,
) -> Result<Vec<u8>, String> {
    let mut bytes = vec![0; num_bytes];
    let len = fill(&mut bytes).map_err(|error| error.to_string())?;
    bytes.truncate(len);
    of_size(bytes, num_bytes)
}

fn of_size(bytes: Vec<u8>, num_bytes: usize) -> Result<Vec<u8>, String> {
    match bytes.len() == num_bytes {
        true => Ok(bytes),
        false => Err(format!(
            "a page does not have the {num_bytes} bytes it declares"
        )),
    }
}

fn lz4_block(data: &[u8], num_bytes: usize) -> Result<Vec<u8>, String> {
    filled(num_bytes, |bytes| {
        lz4_flex::block::decompress_into(data, bytes)
    })
}

/// Blocks, each preceded by its sizes after and before decompression, big-endian.
fn lz4_of_hadoop(data: &[u8], num_bytes: usize) -> Result<Vec<u8>, String> {
    let mut rest = data;
    let mut bytes = Vec::new();
    while let Some((sizes, after)) = rest.split_first_chunk::<8>() {
        let [a, b, c, d, e, f, g, h] = *sizes;
        let size = u32::from_be_bytes([a, b, c, d]) as usize;
        let num_stored = u32::from_be_bytes([e, f, g, h]) as usize;
        let block = after.get(..num_stored).ok_or("a block is cut off")?;
        if size > num_bytes - bytes.len() {
            return Err("a block is too large".to_owned());
        }
        bytes.extend(lz4_block(block, size)?);
        rest = &after[num_stored..];
    }
    if !rest.is_empty() {
        return Err("there is something after the blocks".to_owned());
    }
    of_size(bytes, num_bytes)
}
