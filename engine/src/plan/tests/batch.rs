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

/// On the CPU a micro-batch of packed rows is taken in passes, whose size is no matter of the batch's.
#[test]
fn more_packed_rows_a_batch_take_no_more_memory_on_the_cpu() {
    let bytes = |kind, batch| {
        let spec = RunSpec {
            packing: true,
            per_device_train_batch_size: batch,
            ..RunSpec::default()
        };
        let device = DeviceProfile { kind, ..CPU };
        let plan = planned(&spec, &model(), &dataset(200), device).unwrap();
        plan.memory.total_bytes()
    };
    assert_eq!(bytes(DeviceKind::Cpu, 8), bytes(DeviceKind::Cpu, 1));
    let (eight, one) = (bytes(DeviceKind::WebGpu, 8), bytes(DeviceKind::WebGpu, 1));
    assert!(eight > one, "{eight} and {one} bytes");
}

/// Evaluations take the rows that are held out a bin at a time, however few tokens are trained on.
#[test]
fn a_bin_of_held_out_rows_counts() {
    let bytes = |num_validation_rows| {
        let spec = RunSpec {
            packing: true,
            ..RunSpec::default()
        };
        let dataset = PreparedSummary {
            num_validation_rows,
            ..dataset(2)
        };
        let plan = planned(&spec, &model(), &dataset, CPU).unwrap();
        plan.memory.total_bytes()
    };
    assert!(bytes(500) > bytes(0));
    assert_eq!(bytes(500), bytes(5_000));
}
