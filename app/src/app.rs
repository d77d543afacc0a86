//! The shell around the five steps.

use leptos::prelude::*;

use crate::components::drop_overlay::DropOverlay;
use crate::components::engine_alert::EngineAlert;
use crate::components::footer::Footer;
use crate::components::header::Header;
use crate::components::intake_note::IntakeNote;
use crate::components::intro::Intro;
use crate::components::step_nav::StepNav;
use crate::pages::data::DataPage;
use crate::pages::export::ExportPage;
use crate::pages::model::ModelPage;
use crate::pages::train::TrainPage;
use crate::pages::try_it::TryPage;
use crate::state::device::DeviceChoice;
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
                <ModelPage />
                <DataPage />
                <TrainPage />
                <TryPage />
                <ExportPage />
            </main>
        </div>
        <Footer />
        <IntakeNote />
        <DropOverlay />
    }
}
