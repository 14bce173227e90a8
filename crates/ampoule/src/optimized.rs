use crate::error::Result;
use crate::model::Model;
use ampoule_engine::Precision;

impl Model {
    /// The model as `optimize` takes it, with its recipe; an error without one.
    pub fn to_optimize(&self) -> Result<ampoule_optimize::Model> {
        let recipe = self.recipe_text().ok_or(ampoule_pipeline::Error::NoRecipe)?;
        Ok(ampoule_optimize::Model {
            graph: self.graph().clone(),
            recipe: recipe.to_owned(),
            sha256: self.sha256().to_owned(),
        })
    }

    /// Options of the engine for `optimize`, which chooses precisions by itself.
    pub fn to_optimize_with(&self) -> ampoule_engine::Options {
        ampoule_engine::Options { precision: Precision::default(), ..self.engine_options(false) }
    }
}
