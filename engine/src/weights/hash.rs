//! The SHA-256 (FIPS 180-4) of a file that is read in slices.
//!
//! It identifies a model in recipes and checkpoints, and verifies downloads. The hub lists the same number for
//! large files (`lfs.oid`), so the two can be compared as text.

use formats::text::hex;
use sha2::{Digest, Sha256};

use super::source::{ByteSource, SourceError};

/// Bytes read and hashed between two reports of progress.
const CHUNK_BYTES: u64 = 4 << 20;

/// Returns the SHA-256 of the whole file in lower-case hexadecimal, 64 characters. After every slice,
/// `progress` receives the bytes done and the total; an empty file reports nothing.
///
/// # Errors
/// Whatever the source fails with; nothing is returned of what was hashed up to there.
pub async fn sha256_hex(
    source: &dyn ByteSource,
    mut progress: impl FnMut(u64, u64),
) -> Result<String, SourceError> {
    let total = source.num_bytes();
    let mut hasher = Sha256::new();
    let mut done = 0;
    while done < total {
        let num_bytes = CHUNK_BYTES.min(total - done);
        hasher.update(&source.read(done, num_bytes as usize).await?);
        done += num_bytes;
        progress(done, total);
    }
    Ok(hex(&hasher.finalize()))
}

#[cfg(test)]
mod tests {
    use futures_executor::block_on;

    use super::*;

    #[test]
    fn known_digests() {
        let empty = block_on(sha256_hex(&Vec::new(), |_, _| ())).unwrap();
        assert_eq!(
            empty,
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
        );
        let abc = block_on(sha256_hex(&b"abc".to_vec(), |_, _| ())).unwrap();
        assert_eq!(
            abc,
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }

    #[test]
    fn slices_hash_like_the_whole() {
        let file: Vec<u8> = (0..CHUNK_BYTES + 12_345)
            .map(|i| ((i * i) >> 5) as u8)
            .collect();
        let mut seen = Vec::new();
        let sliced = block_on(sha256_hex(&file, |done, all| seen.push((done, all)))).unwrap();
        let whole: String = Sha256::digest(&file)
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        assert_eq!(sliced, whole);
        let total = file.len() as u64;
        assert_eq!(seen, [(CHUNK_BYTES, total), (total, total)]);
    }
}
