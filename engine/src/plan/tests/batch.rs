//! What a batch of rows takes.

use super::*;

/// Rows that are held out are scored in batches of the same size, of which there may be more.
#[test]
fn held_out_rows_count_where_they_fill_a_batch_and_rows_to_train_on_do_not() {
    let bytes = |num_validation_rows| {
        let spec = RunSpec {
            per_device_train_batch_size: 16,
            ..RunSpec::default()
        };
        let dataset = PreparedSummary {
            num_validation_rows,
            ..dataset(2)
        };
        let plan = planned(&spec, &model(), &dataset, CPU).unwrap();
        plan.memory.total_bytes()
    };
    assert_eq!(bytes(0), bytes(2));
    assert!(bytes(100) > bytes(2));
    assert_eq!(bytes(100), bytes(16));
}
