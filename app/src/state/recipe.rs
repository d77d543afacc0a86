//! A recipe that was dropped on the page. It fills the form; what of its model and data is not what is loaded is told, for
//! as long as it is on the page.

use protocol::{Failure, Recipe, RecipeError};
use serde::de::DeserializeOwned;

use super::State;
use super::files::Intake;
use super::{Step, format};

/// A recipe and the name of its file.
#[derive(Debug, Clone, PartialEq)]
pub struct DroppedRecipe {
    pub file: String,
    pub recipe: Recipe,
}

/// Reads a `recipe.json`.
///
/// # Errors
/// Why it cannot be read.
pub fn parse(json: &[u8]) -> Result<Recipe, Failure> {
    fn read<T: DeserializeOwned>(json: &[u8]) -> Result<T, RecipeError> {
        // Texts are what the workers' messages are read from; reading bytes would be compiled once more.
        let json = str::from_utf8(json).map_err(|_| RecipeError::NotARecipe)?;
        // An editor may have put a byte order mark there.
        let json = json.strip_prefix('\u{feff}').unwrap_or(json);
        serde_json::from_str(json)
            .map_err(|error| RecipeError::json(error.line(), error.column(), &error.to_string()))
    }
    Ok(Recipe::parse(json, read, read)?)
}

impl State {
    /// What became of the latest files, and of the recipe.
    pub fn shown_intake(&self) -> Option<Intake> {
        let Some(DroppedRecipe { file, recipe }) = &self.recipe else {
            return self.intake.clone();
        };
        let mut shown = self.intake.clone().unwrap_or_default();
        shown.taken.push((Step::Train, file.clone()));
        shown.remarks.extend(self.differences(recipe));
        Some(shown)
    }

    /// What of a recipe is not as it is here, a sentence or two each.
    fn differences(&self, recipe: &Recipe) -> Vec<String> {
        let mut told = Vec::new();
        let Recipe { model, dataset, .. } = recipe;
        let name = format!("{} ({})", model.name, model.quantization);
        match &self.model.loaded {
            _ if self.model.loading.is_some() => {}
            None => told.push(format!(
                "The recipe was made with the model {name}, which is not loaded."
            )),
            Some(loaded) if loaded.sha256 != model.sha256 => told.push(format!(
                "The recipe was made with the model {name}; the one that is loaded differs from it."
            )),
            Some(_) => {}
        }
        let rows = format::counted(dataset.num_rows as u64, "row");
        let name = format!("{} ({rows})", dataset.names.join(", "));
        match &self.data.loaded {
            _ if self.data.loading.is_some() => {}
            None => told.push(format!(
                "The recipe was made with the dataset {name}, which is not loaded."
            )),
            Some(loaded) if loaded.sha256 != dataset.sha256 => told.push(format!(
                "The recipe was made with the dataset {name}; the one that is loaded differs from it."
            )),
            Some(loaded) if loaded.spec != dataset.reading => told.push(
                "The recipe\u{2019}s run read the same files in another way; see \u{201c}Columns and format\u{201d}."
                    .to_owned(),
            ),
            Some(_) => {}
        }
        if let Some(adapter) = &recipe.initial_adapter {
            told.push(format!(
                "The recipe\u{2019}s run continued the adapter {}. Load it, and choose it under \u{201c}Start from\u{201d}.",
                adapter.name
            ));
        }
        let run = &recipe.settings;
        if run.data.seed != run.seed {
            told.push(format!(
                "The recipe splits the rows with the seed {}; here, the seed of the run splits them.",
                run.data.seed
            ));
        }
        told
    }
}
