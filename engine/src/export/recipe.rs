//! `recipe.json` of a run.

use protocol::{Recipe, RecipeError, RunSpec, Setting, Settings};
use serde::de::DeserializeOwned;

use super::{ExportError, ExportInput};

/// The recipe of a run.
pub(super) fn recipe(input: &ExportInput<'_>) -> Recipe {
    Recipe {
        initial_adapter: input.initial.cloned(),
        finished_at: input.finished_at.map(str::to_owned),
        ..Recipe::new(input.model, input.dataset, input.spec, input.device.kind)
    }
}

/// Reads a `recipe.json`; see [`Recipe::parse`].
///
/// # Errors
/// The first problem, with its position.
pub fn parse(json: &[u8]) -> Result<Recipe, RecipeError> {
    fn read<T: DeserializeOwned>(json: &[u8]) -> Result<T, RecipeError> {
        serde_json::from_slice(json)
            .map_err(|error| RecipeError::json(error.line(), error.column(), &error.to_string()))
    }
    Recipe::parse(json, read, read)
}

/// No file holds a number that is not finite.
pub(super) fn check(run: &RunSpec) -> Result<(), ExportError> {
    let settings = Settings::from(run);
    for setting in Setting::of_runs() {
        if let Some(value) = setting.non_finite(&settings) {
            let name = setting.name.to_owned();
            return Err(ExportError::NonFinite { name, value });
        }
    }
    Ok(())
}
