use leptos::prelude::*;

use crate::components::first_batch::FirstBatch;
use crate::components::plan_line::PlanLine;
use crate::components::run_chart::RunChart;
use crate::components::run_controls::RunControls;
use crate::components::run_readouts::RunReadouts;
use crate::components::run_table::RunTable;
use crate::components::step_section::StepSection;
use crate::components::train_settings::TrainSettings;
use crate::components::verdict::VerdictCard;
use crate::state::Step;

/// Step 3: the settings, the run and its curves.
#[component]
pub fn TrainPage() -> impl IntoView {
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
