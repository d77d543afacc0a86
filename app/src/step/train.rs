mod batch_table;
mod first_batch;
mod pager;
mod plan_line;
mod readout;
mod run_chart;
mod run_controls;
mod run_readouts;
mod run_table;
mod start_from;
mod train_settings;
mod verdict;

use leptos::prelude::*;

use self::first_batch::FirstBatch;
use self::plan_line::PlanLine;
use self::run_chart::RunChart;
use self::run_controls::RunControls;
use self::run_readouts::RunReadouts;
use self::run_table::RunTable;
use self::train_settings::TrainSettings;
use self::verdict::VerdictCard;
use crate::shared::step_section::StepSection;
use crate::state::Step;

/// Step 3: the settings, the run and its curves.
#[component]
pub fn TrainStep() -> impl IntoView {
    view! {
        <StepSection step=Step::Train lead="The defaults are sensible. Start, and watch the loss fall.">
            <TrainSettings />
            <PlanLine />
            <RunControls />
            <FirstBatch />
            <VerdictCard />
            <div class="card run-card">
                <RunReadouts />
                <RunChart />
                <RunTable />
            </div>
        </StepSection>
    }
}
