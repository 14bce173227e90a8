//! Which of the global options each command takes. Others are no part of its help, and are refused.

use super::Cli;
use clap::parser::ValueSource;
use clap::{ArgMatches, Command, CommandFactory};
use std::collections::BTreeSet;

/// Commands, and the global options that they take, by their names in [`super::Global`].
const TAKES: &[(&str, &[&str])] = &[
    ("demo", &["threads", "isa", "precision", "max_ram", "json", "quiet"]),
    ("models", &["json", "quiet"]),
    ("models list", &["json", "quiet"]),
    ("models fetch", &["max_ram", "json", "quiet"]),
    ("models import", &["max_ram", "quiet", "overwrite", "recipe"]),
    ("import", &["max_ram", "quiet", "overwrite", "recipe", "weights"]),
    ("inspect", &["threads", "isa", "precision", "max_ram", "json", "quiet", "verbose", "recipe", "weights"]),
    ("run", &["threads", "isa", "precision", "max_ram", "json", "quiet", "overwrite", "recipe", "weights"]),
    ("plan", &["threads", "isa", "precision", "max_ram", "json", "quiet", "overwrite", "recipe", "weights"]),
    ("merge", &["max_ram", "json", "quiet"]),
    ("evaluate", &["max_ram", "json", "quiet", "overwrite"]),
    ("compare", &["threads", "isa", "precision", "max_ram", "json", "quiet", "recipe", "weights"]),
    (
        "optimize",
        &["threads", "isa", "precision", "max_ram", "json", "quiet", "overwrite", "recipe", "weights"],
    ),
    ("bench", &["threads", "isa", "precision", "max_ram", "json", "quiet", "overwrite", "weights"]),
    ("bench-worker", &[]),
    ("study", &["max_ram", "json", "quiet", "overwrite", "weights"]),
    ("report", &["max_ram", "quiet", "overwrite"]),
    ("study-worker", &[]),
    #[cfg(feature = "serve")]
    ("serve", &["threads", "isa", "precision", "max_ram", "json", "quiet", "recipe"]),
    #[cfg(feature = "serve")]
    ("listen", &["threads", "isa", "precision", "max_ram", "json", "quiet"]),
    #[cfg(feature = "serve")]
    ("view", &["json", "quiet"]),
    ("doctor", &["isa", "json", "quiet"]),
    ("generate", &["quiet", "weights"]),
];

/// What is said beside the refusal, where the option has another place.
const ELSEWHERE: &[(&str, &str)] =
    &[("study", "; the study's file sets threads, tier, precision and recipe")];

fn takes(command: &str, option: &str) -> bool {
    TAKES.iter().any(|(name, options)| *name == command && options.contains(&option))
}

/// The command line, where each command shows the options that it takes.
pub fn command() -> Command {
    let root = Cli::command();
    let global: Vec<clap::Arg> = root.get_arguments().filter(|a| a.is_global_set()).cloned().collect();
    root.mut_subcommands(|c| shown(c, "", &global))
}

/// `command`, which is called `above` and its name, with what it does not take hidden.
fn shown(command: Command, above: &str, global: &[clap::Arg]) -> Command {
    let name = format!("{above}{}", command.get_name());
    let not_taken = global.iter().filter(|a| !takes(&name, a.get_id().as_str()));
    let hidden: Vec<clap::Arg> = not_taken.map(|a| a.clone().hide(true)).collect();
    let command = command.mut_subcommands(|c| shown(c, &format!("{name} "), global));
    command.args(hidden)
}

/// The command that was typed, by its whole name, and what was typed for it.
fn leaf(matches: &ArgMatches) -> (String, &ArgMatches) {
    let (mut name, mut at) = (String::new(), matches);
    while let Some((next, inner)) = at.subcommand() {
        name = if name.is_empty() { next.to_owned() } else { format!("{name} {next}") };
        at = inner;
    }
    (name, at)
}

/// Names of the options that were typed, without the dashes in front.
pub fn given(matches: &ArgMatches) -> BTreeSet<String> {
    let (_, at) = leaf(matches);
    let typed = |id: &&clap::Id| at.value_source(id.as_str()) == Some(ValueSource::CommandLine);
    at.ids().filter(typed).map(|id| id.as_str().replace('_', "-")).collect()
}

/// Says which of the options that were typed the command does not take.
pub fn refused(matches: &ArgMatches) -> Option<String> {
    let (name, _) = leaf(matches);
    let root = Cli::command();
    let global: BTreeSet<String> = root
        .get_arguments()
        .filter(|a| a.is_global_set())
        .map(|a| a.get_id().as_str().replace('_', "-"))
        .collect();
    let vain =
        given(matches).into_iter().find(|o| global.contains(o) && !takes(&name, &o.replace('-', "_")))?;
    let elsewhere = ELSEWHERE.iter().find(|e| e.0 == name).map_or("", |e| e.1);
    Some(format!("`ampoule {name}` takes no --{vain}{elsewhere}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(line: &[&str]) -> Option<String> {
        refused(&command().try_get_matches_from(line).unwrap())
    }

    #[test]
    fn every_command_has_a_row_and_rows_name_options() {
        let mut root = command();
        root.build();
        let ids: Vec<&str> = root.get_arguments().map(|a| a.get_id().as_str()).collect();
        for (name, options) in TAKES {
            let mut at = &root;
            for part in name.split(' ') {
                at = at.find_subcommand(part).unwrap_or_else(|| panic!("{name}"));
            }
            for option in *options {
                assert!(ids.contains(option), "{name}: {option}");
            }
        }
        let named = |name: &str| TAKES.iter().any(|t| t.0 == name);
        for sub in root.get_subcommands().filter(|c| c.get_name() != "help") {
            assert!(named(sub.get_name()), "{}", sub.get_name());
            for inner in sub.get_subcommands().filter(|c| c.get_name() != "help") {
                let name = format!("{} {}", sub.get_name(), inner.get_name());
                assert!(named(&name), "{name}");
            }
        }
    }

    #[test]
    fn help_shows_what_is_taken_and_the_rest_is_refused() {
        let mut root = command();
        root.build();
        let help = |name: &str| root.find_subcommand(name).unwrap().clone().render_long_help().to_string();
        assert!(help("run").contains("--threads") && help("run").contains("--recipe"));
        assert!(!help("study").contains("--threads") && help("study").contains("--max-ram"));
        assert!(!help("generate").contains("--max-ram") && !help("doctor").contains("--overwrite"));
        assert_eq!(refusal(&["ampoule", "run", "m", "i", "-o", "o", "--threads", "2"]), None);
        assert_eq!(refusal(&["ampoule", "--threads", "2", "run", "m", "i", "-o", "o"]), None);
        for line in [
            &["ampoule", "study", "s", "-o", "o", "--threads", "1"][..],
            &["ampoule", "--recipe", "r", "bench", "m"],
            &["ampoule", "models", "list", "--overwrite"],
            &["ampoule", "generate", "man", "--json"],
        ] {
            let told = refusal(line).unwrap_or_else(|| panic!("{line:?}"));
            assert!(told.contains(line[1]) || told.contains(line[3]), "{told}");
        }
    }

    #[test]
    fn what_was_typed_is_known_by_its_name() {
        let line = ["ampoule", "optimize", "m", "-o", "o", "--epochs", "10", "--calibration-method", "mse"];
        let given = given(&command().try_get_matches_from(line).unwrap());
        assert!(
            given.contains("epochs") && given.contains("calibration-method") && !given.contains("patience")
        );
    }
}
