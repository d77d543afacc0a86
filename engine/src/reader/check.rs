//! What can be found about a row without a model: repetitions, secrets, texts that were decoded wrongly.

mod encoding;
mod missing;
mod near;
mod secret;

use std::{
    collections::HashMap,
    hash::{DefaultHasher, Hash, Hasher},
};

use self::near::NearDuplicates;
use super::{
    mapping::{Mapped, is_weight},
    path::Fields,
};
use crate::{
    data::Example,
    protocol::{FindingKind, Mapping, TrainOn},
};

/// Labels that are counted; a field with more of them is no label.
const MAX_LABELS: usize = 1000;
/// Rows of the most frequent label for each of the rarest, from which labels count as unbalanced.
const UNBALANCED: usize = 10;

/// Looks at one row after the other.
#[derive(Default)]
pub struct Checks {
    /// Hash of an example to the number of the first row that has it. Two rows of 2^32 may share one by accident.
    seen: HashMap<u64, usize>,
    near: NearDuplicates,
    labels: HashMap<String, usize>,
}

/// What was found, with a sentence about this very row.
pub type Found = (FindingKind, String);

impl Checks {
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
        let earlier = *self.seen.entry(hasher.finish()).or_insert(row);
        if earlier != row {
            return Some((FindingKind::Duplicate, earlier));
        }
        let near = self.near.find_or_add(row, example.texts().into_iter())?;
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
