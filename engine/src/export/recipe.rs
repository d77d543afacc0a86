//! `recipe.json` of a run: the model's and the data's hashes, and every setting by its name. Dropped on the page, it
//! fills the form completely. The format is [`protocol::Recipe`]'s; here it gets what only the engine knows, and
//! serde_json reads it.

use protocol::{Recipe, RecipeError, RunSpec, Setting, Settings};
use serde::de::DeserializeOwned;

use super::{ExportError, ExportInput};

/// Makes the recipe of a run, with the adapter that it continued and the time of its end.
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

/// Refuses settings that are not finite, since JSON would write them as null and nothing could read them again.
///
/// # Errors
/// [`ExportError::NonFinite`] with the setting's name.
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
