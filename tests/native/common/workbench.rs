//! Workbenches on the CPU, with a model and rows.

use burn::tensor::Device;
use engine::{device::DeviceProfile, weights::checkpoint::NamedSource, workbench::Workbench};
use formats::row_file::{RowWriter, StoredRow};
use futures_executor::block_on;
use protocol::{Command, DatasetSummary, DeviceKind, DeviceReport, ModelSource, Precision};

use super::{file, host::ScriptedHost};

/// A file in memory.
pub fn named(name: &str, bytes: impl Into<Vec<u8>>) -> NamedSource {
    NamedSource {
        name: name.to_owned(),
        source: Box::new(bytes.into()),
    }
}

/// One of the committed adapters of other programs.
pub fn adapter(case: &str) -> Vec<NamedSource> {
    let names = ["adapter_config.json", "adapter_model.safetensors"];
    let files = names.map(|name| named(name, file::bytes(&format!("strangers/{case}/{name}"))));
    files.into()
}

/// A workbench without a model.
pub fn empty(host: &ScriptedHost) -> Workbench<'_> {
    let report = DeviceReport {
        kind: DeviceKind::Cpu,
        name: "tests".to_owned(),
        self_test: Vec::new(),
        threads: 1,
        precision: Precision::Single,
    };
    let profile = DeviceProfile::from(&report);
    Workbench::new(host, Device::flex(), profile, report)
}

pub fn load_model(bench: &mut Workbench<'_>, files: Vec<NamedSource>) {
    let names = files.iter().map(|file| file.name.clone()).collect();
    let source = ModelSource::Files { names };
    block_on(bench.handle(Command::LoadModel { source }, files));
}

/// Loads these rows; the summary lacks only their number.
pub fn load_rows(bench: &mut Workbench<'_>, rows: &[StoredRow], mut dataset: DatasetSummary) {
    dataset.num_usable_rows = rows.len();
    dataset.num_rows = dataset.num_rows.max(rows.len());
    let mut writer = RowWriter::default();
    for row in rows {
        assert!(writer.push(row).is_none());
    }
    let mut bytes = Vec::new();
    writer.finish(|part| bytes.extend(part));
    let rows = named("rows", bytes);
    block_on(bench.handle(Command::LoadDataset { dataset }, vec![rows]));
}
