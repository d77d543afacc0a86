//! Determines the split of a file from its name: `train-00000-of-00001.parquet`, `data/test.jsonl`, `my_valid.csv`.

use protocol::{FileSummary, Side};

const TRAIN: &[&str] = &[
    "train",
    "training",
    "trainset",
    "traindata",
    "trainingset",
    "trainingdata",
    "trainingsdaten",
    "traindaten",
    "trn",
    "entrenamiento",
    "entraînement",
    "entrainement",
    "apprentissage",
    "treino",
    "treinamento",
    "addestramento",
    "обучение",
    "训练集",
    "训练",
];
const VALIDATION: &[&str] = &[
    "valid",
    "validation",
    "validate",
    "validset",
    "validationset",
    "validationdata",
    "val",
    "valset",
    "dev",
    "devel",
    "devset",
    "eval",
    "evaluation",
    "evalset",
    "validierung",
    "validierungsdaten",
    "validación",
    "validacion",
    "validação",
    "validacao",
    "validazione",
    "验证集",
    "验证",
];
const TEST: &[&str] = &[
    "test",
    "tests",
    "testing",
    "testset",
    "testdata",
    "testdaten",
    "heldout",
    "holdout",
    "tst",
    "prueba",
    "pruebas",
    "teste",
    "тест",
    "测试集",
    "测试",
];
/// Words that say more of a split in a column: Kaggle's `PublicTest`, H4's `test_sft`.
const MORE: &[&str] = &[
    "public",
    "private",
    "set",
    "data",
    "sft",
    "gen",
    "prefs",
    "matched",
    "mismatched",
];

/// The split named by a file: by its own name first, then by its folders from the innermost outward. A name with words
/// of two splits (`train_test.csv`) says nothing.
pub fn side_of_name(name: &str) -> Option<Side> {
    name.rsplit(['/', '\\']).find_map(side_of_part)
}

/// The split that the value of a row's column names; `None` where the value says anything else, too.
pub fn side_of_value(value: &str) -> Option<Side> {
    if value.len() > 40 {
        return None;
    }
    let is_of_split = |word: &String| {
        let word = word.as_str();
        [TRAIN, VALIDATION, TEST, MORE]
            .iter()
            .any(|known| known.contains(&word))
    };
    words(value)
        .iter()
        .all(is_of_split)
        .then(|| side_of_part(value))
        .flatten()
}

fn side_of_part(part: &str) -> Option<Side> {
    let words = words(part);
    let has = |names: &[&str]| {
        let is_pair = |pair: &[String]| names.contains(&pair.concat().as_str());
        let is_one = |word: &String| names.contains(&word.as_str());
        words.iter().any(is_one) || words.windows(2).any(is_pair)
    };
    match (has(TRAIN), has(VALIDATION), has(TEST)) {
        (true, false, false) => Some(Side::Train),
        (false, true, false) => Some(Side::Validation),
        (false, false, true) => Some(Side::Test),
        _ => None,
    }
}

/// The words of a name in lower case: `myTrainSet-2.csv` has `my`, `train`, `set`, `csv`.
fn words(part: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut was_small = false;
    for character in part.chars() {
        let starts_word = character.is_uppercase() && was_small;
        if (!character.is_alphabetic() || starts_word)
            && words.last().is_some_and(|word| !word.is_empty())
        {
            words.push(String::new());
        }
        if character.is_alphabetic()
            && let Some(word) = words.last_mut()
        {
            word.extend(character.to_lowercase());
        }
        was_small = character.is_lowercase();
    }
    words.retain(|word| !word.is_empty());
    words
}

/// Records the split named by each file with rows, and returns a sentence if the names could not be followed because
/// something has to be trained.
pub fn note_splits(files: &mut [FileSummary]) -> Option<String> {
    let sides: Vec<Option<Side>> = files.iter().map(|file| side_of_name(&file.name)).collect();
    let is_trained = |side: &Option<Side>| matches!(side, None | Some(Side::Train));
    let mut with_rows = files
        .iter()
        .zip(&sides)
        .filter(|(file, _)| file.num_rows > 0);
    if with_rows.clone().any(|(_, side)| is_trained(side)) {
        // A single file is trained on, whatever its name; a split needs two files.
        if files.len() > 1 {
            for (file, side) in files.iter_mut().zip(sides) {
                file.split = side;
            }
        }
        return None;
    }
    let (first, first_side) = with_rows.next()?;
    let name = first.name.clone();
    if with_rows.all(|(_, side)| side == first_side) {
        return Some(if files.len() == 1 {
            format!("{name} is the only file, so its rows are used for training, too.")
        } else {
            "All files are named as the same split, so their rows are used for training, too."
                .to_owned()
        });
    }
    // Validation and test files without training data: test files stay test files.
    for (file, side) in files.iter_mut().zip(sides) {
        file.split = side.map(|side| match side {
            Side::Validation => Side::Train,
            side => side,
        });
    }
    Some(
        "No file is named as training data, so the validation rows are used for training."
            .to_owned(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_say_what_rows_are_for() {
        let cases = [
            ("train.jsonl", Some(Side::Train)),
            ("train-00000-of-00001.parquet", Some(Side::Train)),
            ("my_train.csv", Some(Side::Train)),
            ("data.zip/data/training/part1.jsonl", Some(Side::Train)),
            ("valid.jsonl", Some(Side::Validation)),
            ("myDev2.csv", Some(Side::Validation)),
            ("set.zip/val/rows.csv", Some(Side::Validation)),
            (
                "validation-00000-of-00001-abcdef.parquet",
                Some(Side::Validation),
            ),
            ("eval.json", Some(Side::Validation)),
            ("data/test.jsonl", Some(Side::Test)),
            ("TEST.CSV", Some(Side::Test)),
            ("held_out.jsonl", Some(Side::Test)),
            ("heldout.jsonl", Some(Side::Test)),
            ("Testdaten.csv", Some(Side::Test)),
            // The file's own name takes precedence over its folder's.
            ("test/train.jsonl", Some(Side::Train)),
            ("train_test_split.csv", None),
            ("latest.csv", None),
            ("contest.csv", None),
            ("trainers.csv", None),
            ("devices.jsonl", None),
            ("rows.jsonl", None),
        ];
        for (name, expected) in cases {
            assert_eq!(side_of_name(name), expected, "{name}");
        }
    }

    fn noted(names: &[&str]) -> (Vec<Option<Side>>, bool) {
        let file = |name: &&str| FileSummary {
            name: (*name).to_owned(),
            num_rows: 3,
            ..FileSummary::default()
        };
        let mut files: Vec<FileSummary> = names.iter().map(file).collect();
        let is_said = note_splits(&mut files).is_some();
        (files.into_iter().map(|file| file.split).collect(), is_said)
    }

    #[test]
    fn something_is_always_left_to_train_on() {
        use Side::{Test, Train, Validation};
        assert_eq!(
            noted(&["train.csv", "dev.csv", "test.csv"]),
            (vec![Some(Train), Some(Validation), Some(Test)], false)
        );
        assert_eq!(
            noted(&["rows.csv", "test.csv"]),
            (vec![None, Some(Test)], false)
        );
        assert_eq!(noted(&["test.csv"]), (vec![None], true));
        assert_eq!(noted(&["train.csv"]), (vec![None], false));
        assert_eq!(
            noted(&["test-1.csv", "test-2.csv"]),
            (vec![None, None], true)
        );
        assert_eq!(
            noted(&["valid.csv", "test.csv"]),
            (vec![Some(Train), Some(Test)], true)
        );
    }
}
