//! The recipe: how a file becomes the network's input, and the network's output a result.
//!
//! One schema for volumes, tiles, slides and photos. It is TOML, is stored in the model file under
//! `ampoule.recipe`, and every key is documented in `docs/recipes.md`. All errors of a text are reported at once.

mod boxes;
mod check;
mod crop;
mod decide;
mod external;
mod input;
mod network;
mod options;
mod post;
mod read_step;
mod schema;
mod scores;
mod skeleton;
mod slide;
mod step;
mod tiles;

pub use crate::error::Problem;
use crate::{Error, Result};
use ampoule_imaging::picture::{Legend, palette};
pub use crop::{Crop, Empty};
pub use decide::{Decide, Label, Rule};
pub use input::{Agree, Colours, Input, Kind};
pub use network::{
    Activation, Axes, Axis, Bounds, Cascade, Combine, Fast, Flip, LabelResampling, Layout, Network,
    OutputGrid, Role, Weighting, Window, WindowStyle,
};
pub use options::{
    Across, Back, Channels, Divisor, Method, Middle, Outside, Over, PadMode, Rule as SpacingRule, Side,
    SizeKey, Stain,
};
pub use post::{Neighbours, Post, PostStep, Ties};
pub use schema::Choice;
use schema::{Problems, Section, choices};
use serde::Serialize;
pub use skeleton::skeleton;
pub use slide::{Slide, SlideRule, TissueRule};
pub use step::Step;
pub use tiles::{Pool, Tiles};
use toml::de::DeTable;

/// The version of recipes that this program reads.
pub const VERSION: u32 = 2;

/// A whole recipe.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Recipe {
    /// Format version, [`VERSION`].
    pub version: u32,
    /// What the model is.
    pub model: About,
    /// The files of a case and their channels, in the order of the network's channels.
    pub input: Vec<Input>,
    /// What happens to a case before all networks.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub preprocess: Vec<Step>,
    /// Networks in order; the last gives the result, and others say what they are for.
    pub network: Vec<Network>,
    /// From scores to labels.
    pub decide: Decide,
    /// The labels or classes that the network distinguishes, in the order of its channels.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub label: Vec<Label>,
    /// Labels that networks decide too, and that are in no result; see [`Recipe::keep_labels`].
    #[serde(skip)]
    pub dropped: Vec<Label>,
    /// What happens to labels.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub postprocess: Vec<Post>,
    /// How slides are cut into windows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slide: Option<Slide>,
    /// How photos larger than a classifier's patch are cut into windows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tiles: Option<Tiles>,
    /// Outputs besides the labels.
    pub outputs: Outputs,
}

choices! {
    /// What a model gives.
    #[derive(Default)]
    Task {
        /// A label for every voxel or pixel.
        #[default]
        Segmentation = "segmentation",
        /// A class for the whole image.
        Classification = "classification",
        /// Numbers for the whole image.
        Regression = "regression",
    }
}

/// What the model is.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct About {
    /// Short name, used in files and tables.
    pub name: String,
    /// What it gives.
    pub task: Task,
    /// One sentence for people.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// Publication.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub reference: String,
    /// Licence of the weights.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub license: String,
    /// On whose images, and for what, it may be used.
    #[serde(rename = "intended-use", skip_serializing_if = "String::is_empty")]
    pub intended_use: String,
}

/// Outputs besides the labels.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Outputs {
    /// Ending of a copy of the (first) image whose voxels outside the labels are 0; none where empty.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub masked: String,
    /// Names of labels whose scores are drawn as a heat map, `NAME_heat_LABEL.png`. A classifier that names any draws
    /// one for each photo, `NAME_heat.png`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub heat: Vec<String>,
    /// Why some labels only cannot be had of this model, as a sentence for people; they can where it is empty.
    #[serde(rename = "whole-only", skip_serializing_if = "String::is_empty")]
    pub whole_only: String,
    /// Tables of another program that are written besides.
    #[serde(skip_serializing_if = "Tables::is_own")]
    pub tables: Tables,
}

choices! {
    /// Whose tables of classes and numbers are written.
    #[derive(Default)]
    Tables {
        /// This program's alone.
        #[default]
        Own = "own",
        /// Those of GaNDLF's inference too.
        Gandlf = "gandlf",
    }
}

impl Tables {
    fn is_own(&self) -> bool {
        *self == Tables::Own
    }
}

impl Recipe {
    /// Parses and checks a recipe: ours, WSInfer's `config.json`, or a MONAI bundle's `metadata.json`. `origin` is
    /// where the text comes from, for messages.
    pub fn parse(text: &str, origin: &str) -> Result<Self> {
        let fail = |problems: Vec<Problem>| Error::Recipe { origin: origin.into(), problems };
        if text.trim_start().starts_with('{') {
            return external::parse(text).map_err(|message| fail(vec![Problem { line: 1, message }]));
        }
        let problems = Problems::new(text);
        let (table, errors) = DeTable::parse_recoverable(text);
        for e in &errors {
            problems.add(e.span().map_or(0, |s| s.start), e.message());
        }
        let found = if errors.is_empty() { read(table.get_ref(), &problems) } else { None };
        let list = problems.into_list();
        match found {
            Some(recipe) if list.is_empty() => Ok(recipe),
            _ => Err(fail(list)),
        }
    }

    /// The recipe as text, for model files and for hashing.
    pub fn to_text(&self) -> String {
        if self.dropped.is_empty() {
            return toml::to_string(self).unwrap_or_default();
        }
        // What networks decide and no result has is auxiliary to whoever reads the text.
        let mut whole = self.clone();
        let dropped = whole.dropped.drain(..).map(|l| Label { auxiliary: true, ..l });
        whole.label.extend(dropped);
        toml::to_string(&whole).unwrap_or_default()
    }

    /// The steps before the last network, in their order.
    pub fn steps(&self) -> impl Iterator<Item = &Step> {
        self.preprocess.iter().chain(&self.last().preprocess)
    }

    /// The network that gives the result.
    pub fn last(&self) -> &Network {
        // A recipe without networks does not parse.
        &self.network[self.network.len() - 1]
    }

    /// Whether cases are volumes, images or slides.
    pub fn kind(&self) -> Kind {
        self.input.first().map_or(Kind::Volume, |i| i.kind)
    }

    /// Channels of a case's files.
    pub fn channels(&self) -> usize {
        self.input.iter().map(Input::channels).sum()
    }

    /// Channels of the input of network `i`: those of the files, and one for each label where it follows a cascade.
    pub fn channels_of(&self, i: usize) -> usize {
        let before = i.checked_sub(1).map(|k| self.network[k].role());
        let more = match before {
            Some(Role::Cascade(_)) => self.cascade_values().len(),
            Some(Role::Result | Role::Bounds(_) | Role::Crop | Role::Average | Role::Join) | None => 0,
        };
        self.channels() + more
    }

    /// Values of label maps that a cascade gives the next network, a channel each, in order.
    pub(crate) fn cascade_values(&self) -> Vec<u16> {
        let mut values: Vec<u16> = self.computed().map(|l| l.value).filter(|v| *v != 0).collect();
        values.sort_unstable();
        values
    }

    /// Labels as pictures name and colour them, without the background.
    pub(crate) fn legend(&self) -> Vec<Legend> {
        let one = |(i, l): (usize, &Label)| Legend {
            value: l.value,
            name: l.name.clone(),
            colour: l.colour.unwrap_or_else(|| palette(i)),
        };
        self.foreground().enumerate().map(one).collect()
    }

    /// Whether there is one result for a whole image: a classification or regression.
    pub fn is_image_level(&self) -> bool {
        match self.model.task {
            Task::Segmentation => false,
            Task::Classification | Task::Regression => true,
        }
    }

    /// All outputs of the model that are used.
    pub fn used_outputs(&self, fast: bool) -> Vec<&str> {
        self.network.iter().flat_map(|n| n.active_outputs(fast)).map(String::as_str).collect()
    }

    /// Names of the labels, in the order of the network's channels.
    pub fn classes(&self) -> Vec<String> {
        self.label.iter().map(|l| l.name.clone()).collect()
    }

    /// The label with value 0, which is neither drawn nor measured.
    pub fn background(&self) -> Option<&Label> {
        self.label.iter().find(|l| l.value == 0)
    }

    /// Labels that are drawn and measured.
    pub fn foreground(&self) -> impl Iterator<Item = &Label> {
        self.label.iter().filter(|l| l.value != 0)
    }
}

fn read(table: &DeTable, problems: &Problems) -> Option<Recipe> {
    let top = Section::new(table, 0, "", problems);
    match top.integer("version", 0..=i64::MAX) {
        Some(v) if v == VERSION as i64 => {}
        Some(1) => {
            top.wrong("version", "is 1, of an earlier program; `ampoule generate recipe MODEL` writes a new one to fill in (docs/recipes.md shows what became of each key)");
            return None;
        }
        Some(v) => {
            top.wrong("version", format_args!("is {v}; this program reads {VERSION}"));
            return None;
        }
        None => {
            top.needed::<u32>("version", None);
            return None;
        }
    }
    let (model, task) = top.section("model").map_or((None, None), about);
    if !top.has("model") {
        top.needed::<About>("model", None);
    }
    if !top.has("input") {
        top.wrong_here("[[input]] is missing: at least one file with its channels");
    }
    let input: Vec<Option<Input>> = top.sections("input").into_iter().map(Input::read).collect();
    let kind = input.iter().flatten().next().map(|i| i.kind);
    let preprocess: Vec<Option<Step>> =
        top.sections("preprocess").into_iter().map(|s| Step::read(s, kind)).collect();
    let network: Vec<Option<Network>> =
        top.sections("network").into_iter().map(|s| Network::read(s, kind)).collect();
    let before = problems.count();
    let label: Vec<Option<Label>> =
        top.sections("label").into_iter().enumerate().map(|(i, s)| Label::read(s, i, task)).collect();
    // Values that were not understood have others in their place, which may stand there twice.
    let label_sound = problems.count() == before;
    let decide = top.section("decide").map_or_else(Decide::default, |s| Decide::read(s, task));
    let postprocess: Vec<Option<Post>> = top.sections("postprocess").into_iter().map(Post::read).collect();
    // What was read is compared with other parts, so that no error has others that are none.
    let parts = check::Parts {
        task: task.is_some(),
        input: !input.is_empty() && input.iter().all(Option::is_some),
        preprocess: preprocess.iter().all(Option::is_some),
        network: network.iter().all(Option::is_some),
        label: label_sound,
        postprocess: postprocess.iter().all(Option::is_some),
    };
    let slide = top.section("slide").map(Slide::read);
    let tiles = top.section("tiles").map(Tiles::read);
    let outputs = top.section("outputs").map_or_else(Outputs::default, outputs);
    let slide_read = slide.as_ref().is_none_or(Option::is_some);
    let tiles_read = tiles.as_ref().is_none_or(Option::is_some);
    let whole = model.is_some()
        && parts.input
        && parts.preprocess
        && parts.network
        && parts.label
        && parts.postprocess
        && slide_read
        && tiles_read;
    let recipe = Recipe {
        version: VERSION,
        model: model.unwrap_or_else(|| About { task: task.unwrap_or_default(), ..About::default() }),
        input: input.into_iter().flatten().collect(),
        preprocess: preprocess.into_iter().flatten().collect(),
        network: network.into_iter().flatten().collect(),
        decide,
        label: label.into_iter().flatten().collect(),
        dropped: Vec::new(),
        postprocess: postprocess.into_iter().flatten().collect(),
        slide: slide.flatten(),
        tiles: tiles.flatten(),
        outputs,
    };
    check::check(&recipe, &parts, &top);
    top.done();
    whole.then_some(recipe)
}

/// What the model is, and its task as far as that can be read.
fn about(s: Section) -> (Option<About>, Option<Task>) {
    let name = s.needed("name", s.text("name"));
    if name.as_ref().is_some_and(|n| n.trim().is_empty() || n.chars().any(char::is_control)) {
        s.wrong("name", "must be a short name without control characters");
    }
    let task = s.needed("task", s.choice("task"));
    let text = |key| s.text(key).unwrap_or_default();
    let [description, reference, license, intended_use] =
        ["description", "reference", "license", "intended-use"].map(text);
    s.done();
    let read = |name| Some(About { name, task: task?, description, reference, license, intended_use });
    (name.and_then(read), task)
}

fn outputs(s: Section) -> Outputs {
    let masked = s.text("masked").unwrap_or_default();
    if !masked.chars().all(|c| c.is_ascii_alphanumeric() || c == '-') {
        s.wrong("masked", "must be a word of letters, digits and `-`");
    }
    let heat = s.texts("heat").unwrap_or_default();
    let whole_only = s.text("whole-only").unwrap_or_default();
    let tables = s.choice("tables").unwrap_or_default();
    s.done();
    Outputs { masked, heat, whole_only, tables }
}

#[cfg(test)]
mod tests;
