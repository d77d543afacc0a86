use protocol::*;

use crate::state::scores::{headline, measures, of_keep, of_labels};

fn model(loss: f64, token_accuracy: f64, exact_matches: usize) -> ModelScore {
    ModelScore {
        loss,
        perplexity: loss.exp(),
        token_accuracy,
        exact_matches,
    }
}

fn both(base: ModelScore, tuned: ModelScore) -> BothScores {
    BothScores {
        num_rows: 1200,
        scored_tokens: 45_000,
        base,
        tuned,
    }
}

fn keep(base: f64, tuned: f64) -> KeepScore {
    KeepScore {
        total: both(model(base, 0.5, 1), model(tuned, 0.5, 1)),
        prompts: Vec::new(),
    }
}

#[test]
fn measures_are_told_before_and_after() {
    let total = both(model(3.0, 0.25, 0), model(1.5, 0.6666, 1100));
    let expected = [
        ["Loss", "3.0000", "1.5000"],
        ["Perplexity", "20.1", "4.48"],
        ["Token accuracy", "25.0%", "66.7%"],
        ["Exact match", "0 of 1,200", "1,100 of 1,200"],
    ];
    assert_eq!(measures(&total), expected);
    for (loss, perplexity) in [(0.0, "1.00"), (7.0, "1,097"), (20.0, "5e8")] {
        let total = both(model(loss, 0.0, 0), model(loss, 0.0, 0));
        assert_eq!(measures(&total)[1][1], perplexity);
    }
}

#[test]
fn what_was_forgotten_is_told_by_its_size() {
    let told = |tuned| of_keep(&keep(2.31, tuned));
    assert!(
        told(2.95).starts_with("General prompts: 2.31 before, 2.95 after. The model forgot much")
    );
    assert!(told(2.45).contains("2.45 after. The model forgot a little"));
    for tuned in [2.33, 2.31, 2.29] {
        assert!(told(tuned).ends_with("Practically nothing was forgotten."));
    }
    assert!(told(2.0).contains("model even got better"));
}

#[test]
fn the_headline_names_the_rows() {
    let total = both(model(3.0, 0.0, 0), model(2.0, 0.0, 0));
    let mut report = ScoreReport {
        side: Side::Validation,
        dataset_sha256: String::new(),
        total,
        labels: None,
        keep: None,
        worst: Vec::new(),
        best: Vec::new(),
        rows: Vec::new(),
    };
    assert_eq!(
        headline(&report),
        "1,200 held-out rows: mean loss 3.0000 without the adapter and 2.0000 with it, over 45,000 tokens."
    );
    report.side = Side::Test;
    report.total.num_rows = 1;
    assert!(headline(&report).starts_with("1 test row: mean loss"));
}

#[test]
fn labels_are_told_beside_the_most_frequent() {
    let labels = LabelScore {
        labels: ["wet", "dry"].map(str::to_owned).to_vec(),
        num_rows: 9,
        base_right: 4,
        tuned_right: 8,
        most_frequent_right: 5,
        base_confusion: vec![vec![2, 3], vec![2, 2]],
        tuned_confusion: vec![vec![5, 0], vec![1, 3]],
    };
    assert_eq!(
        of_labels(&labels),
        "Of 2 labels, the likeliest is right for 4 of 9 rows without the adapter and 8 with it; always choosing the most frequent \
         label gets 5 right."
    );
}
