//! What was found about rows, in words: what it is, what it does to a run, and what can be done.

use engine::protocol::{DatasetSummary, Finding, FindingKind, PreparedSummary, RowShape};

use super::State;
use super::format::{capitalised, count, counted, sentence};

/// A finding in words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Words {
    /// On a row of the table.
    pub tag: &'static str,
    /// Of one row, and of several.
    pub one: &'static str,
    pub many: &'static str,
    pub meaning: &'static str,
    pub advice: &'static str,
    /// What a button leaves out or puts back.
    pub what: &'static str,
}

pub fn words(kind: FindingKind) -> Words {
    match kind {
        FindingKind::Duplicate => Words {
            tag: "duplicate",
            one: "row is equal to an earlier one",
            many: "rows are equal to earlier ones",
            meaning: "What is repeated is learnt more often, and a held-out row is no test where its twin is learnt.",
            advice: "Leave repetitions out, unless they are meant.",
            what: "duplicates",
        },
        FindingKind::NearDuplicate => Words {
            tag: "near duplicate",
            one: "row is nearly equal to an earlier one",
            many: "rows are nearly equal to earlier ones",
            meaning: "A difference of a few words teaches little that is new.",
            advice: "Leave such rows out if the difference does not matter.",
            what: "near duplicates",
        },
        FindingKind::Secret => Words {
            tag: "secret?",
            one: "row has what looks like a password or a key",
            many: "rows have what looks like a password or a key",
            meaning: "A model can repeat what it has learnt. This is a hint, found on this machine; nothing was sent anywhere.",
            advice: "Have a look; if it is a real one, leave it out, and take it out of the file before you share that.",
            what: "secrets",
        },
        FindingKind::Email => Words {
            tag: "e-mail",
            one: "row has an e-mail address",
            many: "rows have e-mail addresses",
            meaning: "A model can repeat what it has learnt. This is a hint, found on this machine; nothing was sent anywhere.",
            advice: "Leave such rows out if they are about people who have not agreed.",
            what: "e-mail addresses",
        },
        FindingKind::BrokenEncoding => Words {
            tag: "broken letters",
            one: "row has letters that were decoded wrongly",
            many: "rows have letters that were decoded wrongly",
            meaning: "Such as \u{201c}caf\u{c3}\u{a9}\u{201d} for \u{201c}caf\u{e9}\u{201d}: the model would learn to write so.",
            advice: "Best save the file anew as UTF-8; or leave such rows out.",
            what: "broken letters",
        },
        FindingKind::EmptyAnswer => Words {
            tag: "empty",
            one: "row has an empty answer",
            many: "rows have an empty answer",
            meaning: "Nothing of such a row would be trained, so the run leaves it out.",
            advice: "See above whether another field holds the answer.",
            what: "empty answers",
        },
        FindingKind::UnbalancedLabels => Words {
            tag: "unequal labels",
            one: "label is far more frequent than another",
            many: "labels are far more frequent than others",
            meaning: "The model may learn to give the frequent label always.",
            advice: "Add rows of the rare labels, or take some of the common one away.",
            what: "labels",
        },
    }
}

impl Words {
    /// The finding as a heading: `12 rows are equal to earlier ones`; that of a whole dataset has no row.
    pub fn title(self, num_rows: usize) -> String {
        if num_rows == 0 {
            return capitalised(self.tag);
        }
        let noun = if num_rows == 1 { self.one } else { self.many };
        format!("{} {noun}", count(num_rows as u64))
    }
}

/// What must not be overlooked: most rows repeat few.
pub fn alarm(dataset: &DatasetSummary) -> Option<String> {
    let (usable, repeated) = (dataset.num_usable_rows, dataset.num_duplicates);
    let unique = usable.checked_sub(repeated)?;
    if usable < 4 || 2 * repeated < usable {
        return None;
    }
    let verb = if unique == 1 { "is" } else { "are" };
    Some(format!(
        "Only {} of {} rows {verb} different; the other {} repeat them.",
        count(unique as u64),
        count(usable as u64),
        count(repeated as u64),
    ))
}

/// What was found about rows; an unequal number of labels is no row's fault.
pub fn of_rows(dataset: &DatasetSummary) -> impl Iterator<Item = &Finding> {
    let findings = dataset.findings.iter();
    findings.filter(|finding| finding.kind != FindingKind::UnbalancedLabels)
}

/// What concerns files as a whole, and what becomes of answers that are not learnt.
pub fn of_files(dataset: &DatasetSummary) -> Vec<String> {
    let notes = dataset.notes.iter().map(|note| sentence(note));
    let has_pairs = dataset
        .shapes
        .iter()
        .any(|(shape, _)| *shape == RowShape::Preference);
    let rejected = has_pairs.then(|| {
        "Of two answers the chosen one is learnt; the rejected ones are kept for later.".to_owned()
    });
    rejected.into_iter().chain(notes).collect()
}

/// Says that held-out rows are learnt all the same, where some are.
pub fn leaked(prepared: &PreparedSummary) -> Option<String> {
    let number = prepared.num_leaked;
    let stand = if number == 1 { "stands" } else { "stand" };
    (number > 0).then(|| {
        format!(
            "{} held out {stand} among the rows to learn, too",
            counted(number as u64, "row")
        )
    })
}

/// What is odd about the run as it is planned now, and about its rows and its model.
pub fn of_run(state: &State) -> Vec<String> {
    let planned = state.present_plan().into_iter();
    let planned = planned.flat_map(|plan| plan.warnings.iter().cloned());
    let leak = state.prepared.as_ref().and_then(leaked);
    let leak = leak.map(|what| format!("{what}: the held-out loss will look better than it is."));
    planned.chain(leak).chain(state.warnings.clone()).collect()
}

/// What turned out when rows became tokens, each with its remedy.
pub fn of_tokens(prepared: &PreparedSummary) -> Vec<(String, &'static str)> {
    let rows = |number: usize| counted(number as u64, "row");
    let is = |n| if n == 1 { "is" } else { "are" };
    let mut told = Vec::new();
    told.extend(leaked(prepared).map(|what| {
        (
            what,
            "The held-out loss will look better than it is. Leave out the duplicates, or keep rows together by a field.",
        )
    }));
    if prepared.num_truncated > 0 {
        told.push((
            format!(
                "{} {} cut to {} tokens",
                rows(prepared.num_truncated),
                is(prepared.num_truncated),
                count(prepared.spec.max_seq_length as u64)
            ),
            "What lies behind the cut is not learnt. A larger sequence length keeps more, and takes more memory.",
        ));
    }
    if prepared.num_without_target > 0 {
        told.push((
            format!(
                "{} {} left out: no token of {} would be trained",
                rows(prepared.num_without_target),
                is(prepared.num_without_target),
                if prepared.num_without_target == 1 {
                    "it"
                } else {
                    "them"
                }
            ),
            "The answer lies behind the cut, or is empty. A larger sequence length may bring it back.",
        ));
    }
    told
}
