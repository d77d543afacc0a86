//! Nearly equal rows, by simhash (Charikar 2002; Manku, Jain and Das Sarma, WWW 2007).
//!
//! A row's words in small letters, without punctuation and digits' values, give shingles of three words; each bit of the
//! hash is the majority of the shingles' hashes. Rows are nearly equal where at most three of 64 bits differ: then one of
//! four parts of 16 bits is equal, by which candidates are found. Short rows are nearly equal only where their words are
//! the same: a few shingles make no majority.

use std::{
    collections::HashMap,
    hash::{DefaultHasher, Hash, Hasher},
};

const WORDS: usize = 3;
const MIN_SHINGLES: usize = 16;
const MAX_DISTANCE: u32 = 3;
const PARTS: usize = 4;
/// Candidates that are looked at for each part: rows that all share a part would take squared time.
const MAX_CANDIDATES: usize = 64;

/// The rows so far.
#[derive(Default)]
pub struct NearDuplicates {
    /// Hash of all words to the first row that has them.
    words: HashMap<u64, usize>,
    /// Simhash and row by each of its parts.
    parts: [HashMap<u16, Vec<(u64, usize)>>; PARTS],
}

impl NearDuplicates {
    /// An earlier row that is nearly equal to this one, which is remembered where there is none.
    pub fn find_or_add<'a>(
        &mut self,
        row: usize,
        texts: impl Iterator<Item = &'a str>,
    ) -> Option<usize> {
        let words: Vec<u64> = texts.flat_map(words).collect();
        if words.is_empty() {
            return None;
        }
        let earlier = *self.words.entry(hash(&words)).or_insert(row);
        if earlier != row {
            return Some(earlier);
        }
        if words.len() < MIN_SHINGLES + WORDS - 1 {
            return None;
        }
        let own = simhash(&words);
        let near = |&&(other, _): &&(u64, usize)| (own ^ other).count_ones() <= MAX_DISTANCE;
        let found = (0..PARTS).find_map(|part| {
            let candidates = self.parts[part].get(&part_of(own, part))?;
            let recent = candidates.iter().rev().take(MAX_CANDIDATES);
            recent.clone().find(near).map(|&(_, row)| row)
        });
        if found.is_none() {
            for part in 0..PARTS {
                let rows = self.parts[part].entry(part_of(own, part)).or_default();
                rows.push((own, row));
            }
        }
        found
    }
}

fn part_of(hash: u64, part: usize) -> u16 {
    (hash >> (16 * part)) as u16
}

/// Hashes of a text's words.
fn words(text: &str) -> impl Iterator<Item = u64> {
    text.split(|character: char| !character.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .map(|word| {
            let mut hasher = DefaultHasher::new();
            for character in word.chars().flat_map(char::to_lowercase) {
                hasher.write_u32(character as u32);
            }
            hasher.finish()
        })
}

fn hash(words: &[u64]) -> u64 {
    let mut hasher = DefaultHasher::new();
    words.hash(&mut hasher);
    hasher.finish()
}

fn simhash(words: &[u64]) -> u64 {
    let mut votes = [0i32; 64];
    for shingle in words.windows(WORDS) {
        let hash = hash(shingle);
        for (bit, votes) in votes.iter_mut().enumerate() {
            *votes += if hash >> bit & 1 == 1 { 1 } else { -1 };
        }
    }
    let bits = votes.iter().enumerate();
    bits.fold(0, |hash, (bit, &votes)| hash | u64::from(votes > 0) << bit)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(texts: &[String]) -> Vec<Option<usize>> {
        let mut near = NearDuplicates::default();
        let rows = texts.iter().enumerate();
        rows.map(|(row, text)| near.find_or_add(row, [text.as_str()].into_iter()))
            .collect()
    }

    fn long(seed: u64) -> Vec<String> {
        (0..200)
            .map(|index| format!("w{:x}", hash(&[seed, index]) % 5000))
            .collect()
    }

    #[test]
    fn case_punctuation_and_a_few_words_make_no_other_row() {
        let (first, second) = (long(1), long(2));
        let mut changed = first.clone();
        changed[150] = "another".to_owned();
        let texts = [
            "How do I reset it?".to_owned(),
            "how do I  reset it".to_owned(),
            "How do I reset that?".to_owned(),
            first.join(" "),
            second.join(" "),
            changed.join(", ").to_uppercase(),
        ];
        assert_eq!(find(&texts), [None, Some(0), None, None, None, Some(3)]);
    }

    #[test]
    fn different_rows_of_one_pattern_stay_apart() {
        let rows: Vec<String> = (0..300).map(|seed| long(seed + 10).join(" ")).collect();
        assert!(find(&rows).iter().all(Option::is_none));
    }
}
