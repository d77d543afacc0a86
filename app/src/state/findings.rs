//! What was found about rows, in words: what it is, what it does to a run, and what can be done.

use protocol::{
    ControlTokens, DatasetSummary, Finding, FindingKind, GatheredSummary, Mapping, PreparedSummary,
    RowShape,
};

use super::State;
use super::format::{capitalised, count, counted, sentence};
use super::summary::lost_rows;

/// A finding in words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Words {
    /// On a row of the table.
    pub tag: &'static str,
    /// The text for one row, and for several.
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
            one: "row repeats an earlier one",
            many: "rows repeat earlier ones",
            meaning: "Repeated rows weigh more in training, and a held-out row is no test if its copy is trained on.",
            advice: "Leave duplicates out, unless they are intended.",
            what: "duplicates",
        },
        FindingKind::NearDuplicate => Words {
            tag: "near duplicate",
            one: "row nearly repeats an earlier one",
            many: "rows nearly repeat earlier ones",
            meaning: "Rows that differ in a few words teach little that is new.",
            advice: "Leave them out if the difference does not matter.",
            what: "near duplicates",
        },
        FindingKind::Secret => Words {
            tag: "secret?",
            one: "row has what looks like a password or a key",
            many: "rows have what looks like a password or a key",
            meaning: "A model can repeat what it has learned. This is only a hint, found on this machine; nothing was sent anywhere.",
            advice: "Check it: if it is real, leave the row out, and remove it from the file before you share the file.",
            what: "secrets",
        },
        FindingKind::Email => Words {
            tag: "e-mail",
            one: "row has an e-mail address",
            many: "rows have e-mail addresses",
            meaning: "A model can repeat what it has learned. This is only a hint, found on this machine; nothing was sent anywhere.",
            advice: "Leave these rows out if they concern people who have not agreed.",
            what: "e-mail addresses",
        },
        FindingKind::BrokenEncoding => Words {
            tag: "garbled text",
            one: "row has garbled characters",
            many: "rows have garbled characters",
            meaning: "For example \u{201c}caf\u{c3}\u{a9}\u{201d} instead of \u{201c}caf\u{e9}\u{201d}: the model would learn to write that.",
            advice: "Save the file again as UTF-8, or leave these rows out.",
            what: "garbled text",
        },
        FindingKind::EmptyAnswer => Words {
            tag: "empty",
            one: "row has an empty answer",
            many: "rows have an empty answer",
            meaning: "There is nothing to train on in such a row, so the run leaves it out.",
            advice: "Check above whether another column holds the answer.",
            what: "empty answers",
        },
        FindingKind::MissingValue => Words {
            tag: "missing value",
            one: "row has a word for a missing value instead of text",
            many: "rows have a word for a missing value instead of text",
            meaning: "Programs write \u{201c}nan\u{201d}, \u{201c}None\u{201d} or \u{201c}NULL\u{201d} where a field is empty; the model would learn to write that.",
            advice: "Leave these rows out, unless the word is intended.",
            what: "missing values",
        },
        FindingKind::BadAnswer => Words {
            tag: "bad answer",
            one: "row has an answer that is marked as bad or has weight 0",
            many: "rows have answers that are marked as bad or have weight 0",
            meaning: "The dataset says so itself, as sets for preference training do. Such answers are never learned: the run leaves these rows out.",
            advice: "If the mark means something else, choose the columns by hand.",
            what: "bad answers",
        },
        FindingKind::UnbalancedLabels => Words {
            tag: "unbalanced labels",
            one: "label is far more frequent than another",
            many: "labels are far more frequent than others",
            meaning: "The model may learn to always give the frequent label.",
            advice: "Add rows with the rare labels, or remove some with the common one.",
            what: "labels",
        },
    }
}

impl Words {
    /// The finding as a heading: `12 rows repeat earlier ones`; that of a whole dataset has no row.
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
        "Only {} of {} rows {verb} distinct; the other {} repeat them.",
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

/// Notes about files as a whole, and about answers that are not learned.
pub fn of_files(dataset: &DatasetSummary) -> Vec<String> {
    let notes = dataset.notes.iter().map(|note| sentence(note));
    let has_preferences = dataset
        .shapes
        .iter()
        .any(|(shape, _)| *shape == RowShape::Preference);
    let is_marked = |mapping: &Mapping| !matches!(mapping, Mapping::Preference { .. });
    let has_pairs = has_preferences && !dataset.mapping.as_ref().is_some_and(is_marked);
    let rejected = has_pairs.then(|| {
        "Training uses the chosen answers; rejected answers are ignored: preference training isn't available yet.".to_owned()
    });
    let gathered = dataset.gathered.as_ref().map(gathered);
    rejected.into_iter().chain(gathered).chain(notes).collect()
}

/// What rows of one message became.
fn gathered(gathered: &GatheredSummary) -> String {
    let order = match &gathered.order {
        Some(order) => format!("in the order of \u{201c}{order}\u{201d}"),
        None => "in the order of the file".to_owned(),
    };
    let conversations = counted(gathered.num_conversations as u64, "conversation");
    format!(
        "{} became {conversations}: joined by \u{201c}{}\u{201d}, {order}.",
        counted(gathered.num_messages as u64, "message row"),
        gathered.conversation,
    )
}

/// Control tokens in texts of rows: what they are and what becomes of them; `None` where there are none.
pub fn of_control_tokens(prepared: &PreparedSummary) -> Option<(String, &'static str)> {
    let found = &prepared.control_tokens;
    if found.num_rows == 0 {
        return None;
    }
    let tokens = found.tokens.iter().map(|token| format!("`{token}`"));
    let has = if found.num_rows == 1 { "has" } else { "have" };
    let what = format!(
        "{} {has} control tokens in the text: {}",
        counted(found.num_rows as u64, "row"),
        tokens.collect::<Vec<_>>().join(", ")
    );
    let meaning = match prepared.spec.control_tokens {
        ControlTokens::AsTokens => {
            "They are trained as control tokens, as TRL does: inside a message, such a token can end the turn and begin another."
        }
        ControlTokens::AsText => {
            "They are trained as plain text: the model sees their characters, and no turn ends there."
        }
    };
    Some((what, meaning))
}

/// Says how many held-out rows are in the training data, too, if any are.
pub fn leaked(prepared: &PreparedSummary) -> Option<String> {
    let number = prepared.num_leaked;
    let verb = if number == 1 { "appears" } else { "appear" };
    (number > 0).then(|| {
        format!(
            "{} also {verb} in the training data",
            counted(number as u64, "held-out row")
        )
    })
}

/// What is odd about the run as it is planned now, and about its rows and its model.
pub fn of_run(state: &State) -> Vec<String> {
    let planned = state.present_plan().into_iter();
    let planned = planned.flat_map(|plan| plan.warnings.iter().cloned());
    let leak = state.prepared.as_ref().and_then(leaked);
    let leak = leak.map(|what| format!("{what}: the held-out loss will look better than it is."));
    let lost = lost_rows(state);
    let found = lost.into_iter().chain(planned).chain(leak);
    found.chain(state.warnings.clone()).collect()
}

/// What turned out when rows became tokens, each with its remedy.
pub fn of_tokens(prepared: &PreparedSummary) -> Vec<(String, &'static str)> {
    let rows = |number: usize| counted(number as u64, "row");
    let is = |n| if n == 1 { "is" } else { "are" };
    let mut told = Vec::new();
    told.extend(leaked(prepared).map(|what| {
        (
            what,
            "The held-out loss will look better than it is. Leave out the duplicates, or keep rows together by a column.",
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
            "Everything after the cut is lost. A larger sequence length keeps more, but takes more memory.",
        ));
    }
    if prepared.num_without_target > 0 {
        told.push((
            format!(
                "{} {} left out: {} no tokens to train on",
                rows(prepared.num_without_target),
                is(prepared.num_without_target),
                if prepared.num_without_target == 1 {
                    "it has"
                } else {
                    "they have"
                }
            ),
            "The answer is empty or comes after the cut. A larger sequence length may bring it back.",
        ));
    }
    told
}
