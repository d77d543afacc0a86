//! The shell around the five steps.

mod drop_overlay;
mod engine_alert;
mod footer;
mod header;
mod intake_note;
mod intro;
mod marquetry;
mod run_status;
mod step_nav;
mod theme_toggle;

use leptos::prelude::*;

use self::drop_overlay::DropOverlay;
use self::engine_alert::EngineAlert;
use self::footer::Footer;
use self::header::Header;
use self::intake_note::IntakeNote;
use self::intro::Intro;
use self::step_nav::StepNav;
use crate::state::device::DeviceChoice;
use crate::step::data::DataStep;
use crate::step::export::ExportStep;
use crate::step::model::ModelStep;
use crate::step::train::TrainStep;
use crate::step::try_it::TryStep;
use crate::store::Store;

#[component]
pub fn App() -> impl IntoView {
    let store = Store::new();
    provide_context(store);
    store.watch();
    store.supervise();
    store.start_device(DeviceChoice::Automatic);
    view! {
        <a class="skip-link" href="#steps">"Skip to the steps"</a>
        <Header />
        <EngineAlert />
        <div class="shell">
            <StepNav />
            <main id="steps" class="steps" tabindex="-1">
                <Intro />
                <ModelStep />
                <DataStep />
                <TrainStep />
                <TryStep />
                <ExportStep />
            </main>
        </div>
        <Footer />
        <IntakeNote />
        <DropOverlay />
    }
}
