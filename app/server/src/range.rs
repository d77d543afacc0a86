//! Which bytes of a file a request asks for.

/// What a `Range` header asks for of a file; `end` is exclusive.
#[derive(Debug, PartialEq, Eq)]
pub enum ByteRange {
    Whole,
    Part { start: u64, end: u64 },
    Unsatisfiable,
}

impl ByteRange {
    /// Several ranges, other units and malformed headers get the whole file, as RFC 9110 allows.
    pub fn parse(text: &str, len_bytes: u64) -> Self {
        let Some((start, end)) = text
            .strip_prefix("bytes=")
            .and_then(|range| range.split_once('-'))
        else {
            return Self::Whole;
        };
        if start.is_empty() {
            return match end.parse::<u64>() {
                Ok(tail) if tail == 0 || len_bytes == 0 => Self::Unsatisfiable,
                Ok(tail) => Self::Part {
                    start: len_bytes.saturating_sub(tail),
                    end: len_bytes,
                },
                Err(_) => Self::Whole,
            };
        }
        let last = if end.is_empty() {
            Ok(u64::MAX)
        } else {
            end.parse::<u64>()
        };
        match (start.parse::<u64>(), last) {
            (Ok(start), Ok(last)) if start > last => Self::Whole,
            (Ok(start), Ok(_)) if start >= len_bytes => Self::Unsatisfiable,
            (Ok(start), Ok(last)) => Self::Part {
                start,
                end: last.saturating_add(1).min(len_bytes),
            },
            _ => Self::Whole,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_follow_the_rfc() {
        let part = |start, end| ByteRange::Part { start, end };
        for (text, expected) in [
            ("bytes=0-0", part(0, 1)),
            ("bytes=5-", part(5, 10)),
            ("bytes=2-400", part(2, 10)),
            ("bytes=-3", part(7, 10)),
            ("bytes=-300", part(0, 10)),
            ("bytes=10-", ByteRange::Unsatisfiable),
            ("bytes=10-12", ByteRange::Unsatisfiable),
            ("bytes=-0", ByteRange::Unsatisfiable),
            ("bytes=3-2", ByteRange::Whole),
            ("bytes=0-1,4-5", ByteRange::Whole),
            ("bytes=99999999999999999999-", ByteRange::Whole),
            ("rows=0-1", ByteRange::Whole),
            ("bytes=a-b", ByteRange::Whole),
        ] {
            assert_eq!(ByteRange::parse(text, 10), expected, "{text}");
        }
        assert_eq!(ByteRange::parse("bytes=-1", 0), ByteRange::Unsatisfiable);
    }
}
