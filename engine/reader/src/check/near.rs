//! Finds nearly equal rows, by minhash with one permutation (Broder 1997; Li, Owen and Zhang, NeurIPS 2012).
//!
//! A row's words, in lower case and without punctuation, form shingles of three words. Each shingle's hash falls into
//! one of 16 bins, and the lowest hash of each bin is kept: the share of equal bins of two rows is about the share of
//! shingles they have in common. Rows are nearly equal if 13 bins are equal, and candidates are found by four bins at
//! once. Short rows are nearly equal only if their words are the same: a few shingles say too little.

use std::{
    collections::HashMap,
    hash::{DefaultHasher, Hash, Hasher},
};

use formats::chunks::Chunks;

use super::ENTRY_BYTES;

const WORDS: usize = 3;
const MIN_SHINGLES: usize = 32;
const BINS: usize = 16;
const MIN_ALIKE: usize = 13;
const BINS_PER_BAND: usize = 4;
const NUM_BANDS: usize = BINS / BINS_PER_BAND;
/// The number of candidates checked per band: if all rows shared a band, checking all would take quadratic time.
const MAX_CANDIDATES: usize = 32;

/// The lowest hash of each bin.
type Sketch = [u32; BINS];

/// The rows so far.
#[derive(Default)]
pub struct NearDuplicates {
    /// Maps the hash of all words to the first row that has them.
    words: HashMap<u64, usize>,
    sketches: Chunks<(Sketch, usize)>,
    /// Maps the hash of a band to the last row that has it, by index in `sketches`.
    bands: HashMap<u64, u32>,
    /// The row before with the same band, for each band of each sketch.
    before: Chunks<[u32; NUM_BANDS]>,
}

/// No row before.
const NONE: u32 = u32::MAX;

impl NearDuplicates {
    /// The number of bytes that the rows so far take.
    pub fn num_bytes(&self) -> usize {
        let sketch = size_of::<(Sketch, usize)>() + size_of::<[u32; NUM_BANDS]>();
        ENTRY_BYTES * (self.words.len() + self.bands.len()) + sketch * self.sketches.len()
    }

    /// Returns an earlier row that is nearly equal to this one; if there is none, remembers this row, unless `is_full`.
    pub fn find_or_add<'a>(
        &mut self,
        row: usize,
        texts: impl Iterator<Item = &'a str>,
        is_full: bool,
    ) -> Option<usize> {
        // Word by word: a list of all of them would take several times the text.
        let mut shingles = Shingles::default();
        for word in texts.flat_map(words) {
            shingles.push(word);
        }
        if shingles.num_words == 0 {
            return None;
        }
        let all = shingles.all.finish();
        if let Some(&earlier) = self.words.get(&all) {
            return Some(earlier);
        }
        if !is_full {
            self.words.insert(all, row);
        }
        if shingles.num_words < MIN_SHINGLES + WORDS - 1 {
            return None;
        }
        let sketch = shingles.sketch;
        let bands: Vec<u64> = sketch
            .chunks(BINS_PER_BAND)
            .enumerate()
            .map(|band| hash(&band))
            .collect();
        let found = bands.iter().enumerate().find_map(|(number, band)| {
            let before = |place: &u32| {
                let before = self.before.get(*place as usize)?[number];
                (before != NONE).then_some(before)
            };
            let last = self.bands.get(band).copied();
            let candidates = std::iter::successors(last, before).take(MAX_CANDIDATES);
            candidates
                .filter_map(|place| self.sketches.get(place as usize))
                .find(|(other, _)| num_alike(other, &sketch) >= MIN_ALIKE)
                .map(|(_, row)| row)
        });
        if found.is_none() && !is_full {
            let place = self.sketches.len() as u32;
            self.sketches.push((sketch, row));
            let mut before = [NONE; NUM_BANDS];
            for (before, band) in before.iter_mut().zip(bands) {
                *before = self.bands.insert(band, place).unwrap_or(NONE);
            }
            self.before.push(before);
        }
        found
    }
}

fn num_alike(one: &Sketch, other: &Sketch) -> usize {
    one.iter()
        .zip(other)
        .filter(|(one, other)| one == other)
        .count()
}

/// The words of a row read so far.
struct Shingles {
    /// Hashes all words.
    all: DefaultHasher,
    num_words: usize,
    last: [u64; WORDS],
    sketch: Sketch,
}

impl Default for Shingles {
    fn default() -> Self {
        Self {
            all: DefaultHasher::new(),
            num_words: 0,
            last: [0; WORDS],
            sketch: [u32::MAX; BINS],
        }
    }
}

impl Shingles {
    fn push(&mut self, word: u64) {
        self.all.write_u64(word);
        self.num_words += 1;
        self.last.rotate_left(1);
        self.last[WORDS - 1] = word;
        if self.num_words >= WORDS {
            let hash = mixed(&self.last);
            let least = &mut self.sketch[hash as usize % BINS];
            *least = (*least).min((hash >> 32) as u32);
        }
    }
}

/// A hash of hashes, which is much faster than one of anything: a multiplication for each, and the end of SplitMix64.
fn mixed(hashes: &[u64]) -> u64 {
    let mut mixed = hashes.iter().fold(0u64, |mixed, hash| {
        (mixed.rotate_left(23) ^ hash).wrapping_mul(0x9E37_79B9_7F4A_7C15)
    });
    mixed = (mixed ^ mixed >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ mixed >> 31
}

/// The hashes of a text's words.
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

fn hash(value: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(texts: &[String]) -> Vec<Option<usize>> {
        let mut near = NearDuplicates::default();
        let rows = texts.iter().enumerate();
        rows.map(|(row, text)| near.find_or_add(row, [text.as_str()].into_iter(), false))
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
