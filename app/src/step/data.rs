mod data_facts;
mod file_splits;
mod findings;
mod group_field;
mod labels;
mod lengths;
mod mapping_fields;
mod mapping_panel;
mod paste_box;
mod problems;
mod read_again;
mod rows_bar;
mod rows_table;
mod samples;
mod summary_line;
mod template_field;
mod text_split;
mod unusable_rows;

use leptos::prelude::*;
use protocol::Group;

use self::data_facts::DataFacts;
use self::file_splits::FileSplits;
use self::findings::{Alarm, Findings};
use self::labels::Labels;
use self::lengths::Lengths;
use self::mapping_panel::MappingPanel;
use self::paste_box::PasteBox;
use self::problems::{Problems, RefusedFiles};
use self::rows_table::RowsTable;
use self::samples::Samples;
use self::summary_line::SummaryLine;
use self::unusable_rows::UnusableRows;
use crate::shared::cancel::Cancel;
use crate::shared::control::Controls;
use crate::shared::file_input::FileInput;
use crate::shared::progress::Progress;
use crate::shared::step_section::StepSection;
use crate::shared::token_view::TokenView;
use crate::state::slot::Loading;
use crate::state::{State, Step};
use crate::store::Store;

/// Step 2: the examples, as read and as the model will see them.
#[component]
pub fn DataStep() -> impl IntoView {
    let store = Store::get();
    let loading = store.select(data_loading);
    let ratio =
        Signal::derive(move || loading.with(|loading| loading.as_ref().and_then(Loading::ratio)));
    view! {
        <StepSection step=Step::Data lead="Any file with rows: Excel, CSV, JSON, Parquet or plain text, zipped or not. You see what the model will see.">
            <div class="choices">
                <div class="card choice">
                    <h3>"Your examples"</h3>
                    <p>"A few dozen good rows are enough to see a change. Several files become one dataset."</p>
                    <FileInput id="dataset-files" label="Dataset files" folder_label="Dataset folder" hint="Choose, or drop anywhere"
                        on_files=move |files| store.take_chosen(files, Step::Data) />
                </div>
                <Samples />
            </div>
            <PasteBox />
            <div class="load-progress" hidden=move || loading.with(Option::is_none)>
                <Progress label="Progress of the data" ratio />
                <Cancel step=Step::Data label="Cancel reading the data" />
            </div>
            <SummaryLine />
            <Alarm />
            <RefusedFiles />
            <UnusableRows />
            <MappingPanel />
            <FileSplits />
            <RowsTable />
            <TokenView />
            <Findings />
            <Problems />
            <div class="fields data-fields">
                <Controls group=Group::Data />
            </div>
            <Lengths />
            <Labels />
            <DataFacts />
        </StepSection>
    }
}

fn data_loading(state: &State) -> Option<Loading> {
    state
        .data
        .loading
        .clone()
        .or_else(|| state.encoding.clone())
}
