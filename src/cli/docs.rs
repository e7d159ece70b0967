//! What the program says of itself: the helps, the topics of the reference, the manual page,
//! completions.

use std::fmt::Write as _;

use anyhow::{Context as _, bail};
use clap::{Arg, ArgAction};
use clap_complete::Shell;
use clap_mangen::Man;
use clap_mangen::roff::{Roff, roman};

use super::exit::Exit;
use super::report::print;
use super::settings::{EVERY, GROUPS, Setting, said};
use super::values::Values;
use super::{COMMANDS, Command};
use crate::doc::{Line, TOPICS, Topic};
use crate::text::{nearest, visible};

/// What clap is to know: the commands, and the settings of each.
pub fn command_line() -> clap::Command {
    let own = |id, short, action| Arg::new(id).long(id).short(short).action(action);
    // With a heading, which clap's own do not have.
    let help = own("help", 'h', ArgAction::Help).help("Print help; `--help` says all of it");
    let version = own("version", 'V', ArgAction::Version).help("Print the version");
    let general = EVERY[0].group;
    clap::Command::new("otpdrive")
        .about(env!("CARGO_PKG_DESCRIPTION"))
        .version(env!("CARGO_PKG_VERSION"))
        .args(EVERY.iter().map(|setting| setting.arg().global(true)))
        .arg(help.help_heading(general).global(true))
        .arg(version.help_heading(general))
        .disable_help_flag(true)
        .disable_version_flag(true)
        .subcommands(COMMANDS.iter().map(of_command))
        .after_help(topics())
        // Wrappers can put their flags in front of those that they were given.
        .args_override_self(true)
        .subcommand_required(true)
        .arg_required_else_help(true)
        .disable_help_subcommand(true)
}

fn of_command(command: &Command) -> clap::Command {
    let (short, full) = said(command.help);
    let more = format!(
        "All flags, all texts: otpdrive {0} --help; topics: otpdrive help",
        command.name
    );
    let mut settings: Vec<&Setting> = command.settings.iter().copied().flatten().collect();
    settings.sort_by_key(|setting| GROUPS.iter().position(|group| *group == setting.group));
    clap::Command::new(command.name)
        .about(short)
        .long_about(full)
        .after_help(more)
        .after_long_help(last(command))
        .args_override_self(true)
        .disable_help_flag(true)
        .args(settings.into_iter().map(Setting::arg))
}

/// What stands at the end of a command's help.
fn last(command: &Command) -> String {
    let mut text = "Times are written 500ms, 30s, 15m, 1h30m. Of a flag that is given twice the\n\
         later one counts (--exclude and --only add up).\n\nExamples:\n"
        .to_owned();
    for example in command.examples {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "  {example}");
    }
    text += "\nExit codes:\n";
    for (exit, meaning) in Exit::ALL {
        let _ = writeln!(text, "  {:<5}{meaning}", *exit as u8);
    }
    text + "\n" + &topics()
}

fn topics() -> String {
    let mut text = "Topics, for otpdrive help TOPIC:\n".to_owned();
    for topic in TOPICS {
        let _ = writeln!(text, "  {:<14} {}", topic.name, topic.about);
    }
    text
}

/// Prints a topic, or what `--help` of a command prints; without a name what `otpdrive --help` does.
///
/// # Errors
/// When there is nothing of that name: says which is most like it.
pub fn help(values: &Values) -> anyhow::Result<Exit> {
    let asked: Option<String> = values.optional("input", str::parse)?;
    let asked = asked.as_deref();
    let of_command = COMMANDS.iter().map(|command| command.name);
    if let Some(topic) = TOPICS.iter().find(|topic| asked == Some(topic.name)) {
        return print(std::io::stdout().lock(), topic.plain().as_bytes());
    }
    let command = of_command.clone().find(|name| asked == Some(name));
    if let (Some(asked), None) = (asked, command) {
        let names = TOPICS.iter().map(|topic| topic.name);
        let hint = match nearest(asked, names.clone().chain(of_command)) {
            Some(nearest) => format!("did you mean {nearest}?"),
            None => format!("there are: {}", names.collect::<Vec<_>>().join(", ")),
        };
        bail!(
            "there is no topic and no command {}; {hint}",
            visible(asked)
        );
    }
    let words = ["otpdrive"].into_iter().chain(command).chain(["--help"]);
    if let Err(help) = command_line().try_get_matches_from(words) {
        // There is nobody to tell if stdout is closed.
        let _ = help.print();
    }
    Ok(Exit::Done)
}

/// Prints completions for a shell.
///
/// # Errors
/// When no shell is named, or one that nobody knows.
pub fn completions(values: &Values, command: &mut clap::Command) -> anyhow::Result<Exit> {
    let shell: Option<String> = values.optional("input", str::parse)?;
    let shell = match shell.as_deref() {
        Some("bash") => Shell::Bash,
        Some("zsh") => Shell::Zsh,
        Some("fish") => Shell::Fish,
        _ => bail!("name a shell: bash, zsh or fish"),
    };
    let mut text = Vec::new();
    let name = command.get_name().to_owned();
    clap_complete::generate(shell, command, name, &mut text);
    print(std::io::stdout().lock(), &text)
}

/// Prints the manual page: all commands with their flags, and the topics.
///
/// # Errors
/// When it cannot be printed.
pub fn man() -> anyhow::Result<Exit> {
    let page = || -> std::io::Result<Vec<u8>> {
        let mut text = Vec::new();
        let command = command_line();
        let whole = Man::new(command.clone());
        whole.render_title(&mut text)?;
        whole.render_name_section(&mut text)?;
        whole.render_synopsis_section(&mut text)?;
        for of in command.get_subcommands() {
            let mut head = Roff::new();
            head.control(
                "SH",
                [format!("otpdrive {}", of.get_name())
                    .to_uppercase()
                    .as_str()],
            );
            let about = of.get_long_about().map(ToString::to_string);
            head.text([roman(about.unwrap_or_default())]);
            head.to_writer(&mut text)?;
            let mut options = Vec::new();
            Man::new(of.clone()).render_options_section(&mut options)?;
            // Their headings are the command's.
            let options = String::from_utf8_lossy(&options).replace(".SH ", ".SS ");
            text.extend_from_slice(options.as_bytes());
        }
        whole.render_options_section(&mut text)?;
        for topic in TOPICS {
            roff(topic).to_writer(&mut text)?;
        }
        Ok(text)
    };
    print(std::io::stdout().lock(), &page().context("the page")?)
}

/// A topic as a section of the manual page.
fn roff(topic: &Topic) -> Roff {
    let mut page = Roff::new();
    let mut is_block = false;
    for line in topic.lines() {
        let starts = matches!(line, Line::Block(_));
        if starts != is_block {
            // Lines as they are, and their end.
            page.control(if starts { "nf" } else { "fi" }, []);
            is_block = starts;
        }
        match line {
            Line::Heading(1, title) => page.control("SH", [title.to_uppercase().as_str()]),
            Line::Heading(_, title) => page.control("SS", [title]),
            Line::Item(item) => {
                page.control("IP", ["\\(bu", "2"]);
                page.text([roman(item)])
            }
            Line::Blank => page.control("PP", []),
            Line::Block(text) | Line::Text(text) => page.text([roman(text)]),
        };
    }
    if is_block {
        page.control("fi", []);
    }
    page
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;
    use crate::cli::settings::ALL;
    use crate::cli::tests::config;

    /// The command lines in the blocks of a page, without what a shell does with them.
    fn command_lines(page: &str) -> Vec<String> {
        let blocks = page.split("```sh\n").skip(1);
        let blocks = blocks.filter_map(|rest| rest.split("```").next());
        let lines = blocks.map(|block| block.replace("\\\n", " "));
        let lines: Vec<String> = lines.collect();
        let lines = lines.iter().flat_map(|lines| lines.lines());
        let lines = lines.filter_map(|line| Some(line.rsplit_once("otpdrive ")?.1));
        let shell = [" #", " >", " 2>", " |", " &"];
        let own = lines.map(|line| {
            shell
                .iter()
                .fold(line, |line, end| line.split(end).next().unwrap())
        });
        own.map(|line| line.replace('\'', "")).collect()
    }

    #[test]
    fn every_command_line_that_is_shown_is_a_good_one() {
        let mut key = tempfile::NamedTempFile::new().unwrap();
        key.write_all(b"KK12").unwrap();
        let key = key.path().to_str().unwrap();
        let pages = TOPICS.iter().map(|topic| topic.text);
        let pages = pages.chain([include_str!("../../README.md")]);
        let mut lines: Vec<String> = pages.flat_map(command_lines).collect();
        assert!(lines.len() > 20, "{lines:?}");
        let examples = COMMANDS.iter().flat_map(|command| command.examples);
        lines.extend(examples.flat_map(|line| command_lines(&format!("```sh\n{line}```"))));
        for line in lines {
            let line = line.split_whitespace().collect::<Vec<_>>().join(" ");
            let line = format!("otpdrive {line}")
                .replace("kookoo.key", key)
                .replace(" key", &format!(" {key}"));
            let parsed = command_line().try_get_matches_from(line.split(' '));
            let matches = parsed.expect(&line);
            let (name, of) = matches.subcommand().unwrap();
            // A file of settings is not there.
            if ["send", "verify", "check"].contains(&name) && !of.contains_id("config") {
                config(&line).expect(&line);
            }
        }
    }

    #[test]
    fn every_flag_that_a_topic_names_is_there() {
        let known = |flag: &str| {
            let mut settings = ALL.into_iter().flatten();
            // The others are those of the proofs and of zstd, and clap's.
            ["long", "help"].contains(&flag) || settings.any(|setting| setting.name == flag)
        };
        for topic in TOPICS {
            for rest in topic.text.split("--").skip(1) {
                let end = rest.find(|c: char| !c.is_ascii_lowercase() && c != '-');
                let flag = &rest[..end.unwrap_or(rest.len())];
                assert!(known(flag), "{}: --{flag}", topic.name);
            }
        }
    }

    #[test]
    fn every_setting_stands_under_a_heading_that_has_a_place() {
        for setting in ALL.into_iter().flatten() {
            assert!(GROUPS.contains(&setting.group), "{}", setting.group);
        }
    }
}
