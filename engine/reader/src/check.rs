//! What can be found about a row without a model: repetitions, secrets, texts that were decoded wrongly.

mod encoding;
mod missing;
mod near;
mod secret;

use std::{
    collections::HashMap,
    hash::{DefaultHasher, Hash, Hasher},
};

use formats::row::Example;
use protocol::{FindingKind, Mapping, TrainOn};

use self::near::NearDuplicates;
use super::{
    mapping::{Mapped, is_weight},
    path::Fields,
};

/// Labels that are counted; a field with more of them is no label.
const MAX_LABELS: usize = 1000;
/// Rows of the most frequent label for each of the rarest, from which labels count as unbalanced.
const UNBALANCED: usize = 10;

/// The memory that rows are remembered in: so many bytes, and a part of the size of the files.
const ALWAYS_ALLOWED_BYTES: u64 = 12 << 20;
/// The bytes that a hash table takes for each of its entries, while it grows.
const ENTRY_BYTES: usize = 58;

/// Looks at one row after the other.
pub struct Checks {
    most_bytes: usize,
    /// The number of rows that were looked at when that was used up.
    full_at: Option<usize>,
    /// Hash of an example to the number of the first row that has it. Two rows of 2^32 may share one by accident.
    seen: HashMap<u64, usize>,
    near: NearDuplicates,
    labels: HashMap<String, usize>,
}

/// What was found, with a sentence about this very row.
pub type Found = (FindingKind, String);

impl Checks {
    pub fn new(file_bytes: u64) -> Self {
        let most_bytes = ALWAYS_ALLOWED_BYTES + file_bytes + file_bytes / 4;
        Self {
            most_bytes: usize::try_from(most_bytes).unwrap_or(usize::MAX),
            full_at: None,
            seen: HashMap::new(),
            near: NearDuplicates::default(),
            labels: HashMap::new(),
        }
    }

    /// A sentence about rows that were not compared with all others.
    pub fn note(&self) -> Option<String> {
        let row = self.full_at?;
        Some(format!(
            "The rows after row {row} were compared with those up to it, but not with each other: more do not fit into the memory allowed, so repetitions may be left among them."
        ))
    }

    /// What is found about the row of that number, whose `fields` were read as `mapping` says.
    pub fn look(
        &mut self,
        row: usize,
        fields: &Fields,
        mapping: &Mapping,
        mapped: &Mapped,
    ) -> Vec<Found> {
        let mut found = Vec::new();
        let is_bad = matches!(mapped.verdict, Some((false, _)));
        // An answer that is never learned repeats none, and none repeats it.
        let repeated = (!is_bad).then(|| self.repeats(row, &mapped.example));
        if let Some((kind, earlier)) = repeated.flatten() {
            let what = match kind {
                FindingKind::Duplicate => format!("repeats row {}", earlier + 1),
                _ => format!("nearly repeats row {}", earlier + 1),
            };
            found.push((kind, what));
        }
        if let Some((false, field)) = &mapped.verdict {
            let what = match is_weight(field) {
                true => format!("is given weight 0 by `{field}`"),
                false => format!("`{field}` marks its answer as a bad one"),
            };
            found.push((FindingKind::BadAnswer, what));
        } else if mapped
            .example
            .targets(TrainOn::AssistantTurns)
            .iter()
            .all(|target| target.trim().is_empty())
        {
            found.push((FindingKind::EmptyAnswer, "has nothing to learn".to_owned()));
        }
        if let Some(missing) = missing::missing(fields, mapping, &mapped.example) {
            found.push((FindingKind::MissingValue, missing));
        }
        let first =
            |look: fn(&str) -> Option<String>| mapped.example.texts().into_iter().find_map(look);
        if let Some(secret) = first(secret::secret) {
            found.push((
                FindingKind::Secret,
                format!("contains what looks like {secret}"),
            ));
        }
        if let Some(email) = first(secret::email) {
            found.push((FindingKind::Email, format!("contains the address {email}")));
        }
        if let Some(broken) = first(encoding::broken) {
            found.push((FindingKind::BrokenEncoding, broken));
        }
        if let Some(label) = &mapped.label
            && (self.labels.len() <= MAX_LABELS || self.labels.contains_key(label))
        {
            *self.labels.entry(label.clone()).or_default() += 1;
        }
        found
    }

    fn repeats(&mut self, row: usize, example: &Example) -> Option<(FindingKind, usize)> {
        let mut hasher = DefaultHasher::new();
        example.hash(&mut hasher);
        let hash = hasher.finish();
        if let Some(&earlier) = self.seen.get(&hash) {
            return Some((FindingKind::Duplicate, earlier));
        }
        let is_full = self.full_at.is_some();
        if !is_full {
            self.seen.insert(hash, row);
            if ENTRY_BYTES * self.seen.len() + self.near.num_bytes() > self.most_bytes {
                self.full_at = Some(row + 1);
            }
        }
        let texts = example.texts().into_iter();
        let near = self.near.find_or_add(row, texts, is_full)?;
        Some((FindingKind::NearDuplicate, near))
    }

    /// How many rows have each label, most first; nothing where there are too many to be labels.
    pub fn labels(&self) -> Vec<(String, usize)> {
        if self.labels.len() > MAX_LABELS {
            return Vec::new();
        }
        let mut labels: Vec<_> = self.labels.clone().into_iter().collect();
        labels.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        labels
    }

    /// What is wrong with the labels as a whole.
    pub fn unbalanced(labels: &[(String, usize)]) -> Option<String> {
        let ((most, many), (least, few)) = (labels.first()?, labels.last()?);
        (labels.len() > 1 && *many >= UNBALANCED * few)
            .then(|| format!("{many} rows are “{most}”, only {few} are “{least}”"))
    }
}
