//! What is said to a command line that cannot be used, where clap's own tips would mislead.

use clap::error::{ContextKind, ContextValue, ErrorKind};

use super::{COMMANDS, Command};
use crate::doc::TOPICS;
use crate::text::{nearest, shell_word};

/// What people try, and what there is instead.
const MEANT: &[(&[&str], &str)] = &[
    (
        &["key", "api-key"],
        "no flag takes the key, for everybody can read it there: write it into a file and name that with --api-key-file, or set KOOKOO_API_KEY",
    ),
    (
        &["dry-run", "plan"],
        "`otpdrive check` makes the plan and no request; --sandbox rehearses the whole campaign",
    ),
    (
        &["resume", "continue"],
        "nothing is needed: the same command again goes on where the last run ended",
    ),
    (&["retries", "retry"], "did you mean --max-attempts?"),
];

/// An error of clap's, with advice about a flag or a command that is not there.
pub fn with_advice(error: clap::Error, words: &[String]) -> clap::Error {
    match error.kind() {
        ErrorKind::UnknownArgument => about_flag(error, words),
        ErrorKind::InvalidSubcommand => about_command(error),
        _ => error,
    }
}

fn about_command(mut error: clap::Error) -> clap::Error {
    let Some(ContextValue::String(word)) = error.get(ContextKind::InvalidSubcommand) else {
        return error;
    };
    let advice = if TOPICS.iter().any(|topic| topic.name == word) {
        format!("it is a topic: otpdrive help {word}")
    } else if word.contains('.') {
        let word = shell_word(word);
        format!("name a command before the file, such as: otpdrive check {word}")
    } else {
        return error;
    };
    error.remove(ContextKind::SuggestedSubcommand);
    let advice = ContextValue::StyledStrs(vec![advice.into()]);
    error.insert(ContextKind::Suggested, advice);
    error
}

fn about_flag(mut error: clap::Error, words: &[String]) -> clap::Error {
    let flag = match error.get(ContextKind::InvalidArg) {
        Some(ContextValue::String(flag)) if flag.starts_with('-') => flag.clone(),
        _ => return error,
    };
    let mut words = words.iter().skip(1);
    let command = words.find_map(|word| COMMANDS.iter().find(|command| command.name == word));
    error.remove(ContextKind::SuggestedArg);
    error.remove(ContextKind::Suggested);
    if let Some(advice) = advice(flag.trim_start_matches('-'), command) {
        let advice = ContextValue::StyledStrs(vec![advice.into()]);
        error.insert(ContextKind::Suggested, advice);
    }
    let mut line = super::command_line();
    line.build();
    let of_command = command.and_then(|command| line.find_subcommand_mut(command.name));
    let usage = match of_command {
        Some(command) => command.render_usage(),
        None => line.render_usage(),
    };
    error.insert(ContextKind::Usage, ContextValue::StyledStr(usage));
    error
}

fn advice(name: &str, command: Option<&Command>) -> Option<String> {
    if let Some((_, advice)) = MEANT.iter().find(|(names, _)| names.contains(&name)) {
        return Some((*advice).to_owned());
    }
    let has = |command: &&Command| command.flags().any(|flag| flag == name);
    if let Some(has) = command.filter(has) {
        // Or there would be no error.
        return Some(format!(
            "it stands behind the command: otpdrive {} --{name} …",
            has.name
        ));
    }
    let having: Vec<&str> = COMMANDS.iter().filter(has).map(|has| has.name).collect();
    if !having.is_empty() {
        return Some(format!("--{name} is a flag of: {}", having.join(", ")));
    }
    let names = command.filter(|_| name.len() > 2)?.flags();
    nearest(name, names).map(|flag| format!("did you mean --{flag}?"))
}
