use clap::{Args, ValueEnum};

/// Arguments of `generate`.
#[derive(Args, Debug)]
pub struct Generate {
    /// What to print.
    pub what: Document,
    /// Model whose recipe is printed; where it carries none, one to fill in, made from its inputs and outputs.
    pub model: Option<String>,
}

/// What `generate` prints.
#[derive(ValueEnum, Debug, Clone, Copy, PartialEq, Eq)]
pub enum Document {
    /// Manual page.
    Man,
    /// Completions for bash.
    CompleteBash,
    /// Completions for zsh.
    CompleteZsh,
    /// Completions for fish.
    CompleteFish,
    /// Recipe of a model.
    Recipe,
}
