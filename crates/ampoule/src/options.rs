use ampoule_engine::Precision;

/// How a model is run; [`Builder`](crate::Builder) documents each.
#[derive(Clone, Debug, Default)]
pub(crate) struct Options {
    pub threads: usize,
    pub memory_limit: Option<u64>,
    pub features: Option<String>,
    pub precision: Precision,
    pub recipe: Option<String>,
    pub fast: bool,
    pub probabilities: bool,
    pub folders: ampoule_zoo::Folders,
}
