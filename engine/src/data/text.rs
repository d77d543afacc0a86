//! Places in text: depth of JSON, lines and columns.

/// JSON nested deeper than this is refused before it is parsed.
pub const MAX_DEPTH: usize = 64;

/// Offset of the first bracket that opens a level beyond [`MAX_DEPTH`]; brackets inside strings do not count.
pub(crate) fn too_deep(json: &[u8]) -> Option<usize> {
    let mut depth = 0usize;
    let mut in_string = false;
    let mut escaped = false;
    for (offset, &byte) in json.iter().enumerate() {
        match (in_string, byte) {
            (true, _) if escaped => escaped = false,
            (true, b'\\') => escaped = true,
            (_, b'"') => in_string = !in_string,
            (true, _) => {}
            (false, b'[' | b'{') => {
                depth += 1;
                if depth > MAX_DEPTH {
                    return Some(offset);
                }
            }
            (false, b']' | b'}') => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    None
}
