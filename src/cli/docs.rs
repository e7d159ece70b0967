//! What is made of the command line for shells and readers: completions, the manual page.

use anyhow::{Context as _, bail};
use clap::Command;
use clap_complete::Shell;
use clap_mangen::Man;

use super::exit::Exit;
use super::report::print;
use super::values::Values;

/// Prints completions for a shell.
///
/// # Errors
/// When no shell is named, or one that nobody knows.
pub fn completions(values: &Values, command: &mut Command) -> anyhow::Result<Exit> {
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

/// Prints the manual page: all commands with their flags.
///
/// # Errors
/// When it cannot be printed.
pub fn man(command: &Command) -> anyhow::Result<Exit> {
    let page = || -> std::io::Result<Vec<u8>> {
        let mut text = Vec::new();
        let whole = Man::new(command.clone());
        whole.render_title(&mut text)?;
        whole.render_name_section(&mut text)?;
        whole.render_description_section(&mut text)?;
        for of in command.get_subcommands() {
            let section = format!(".SH \"OTPDRIVE {}\"\n", of.get_name().to_uppercase());
            text.extend_from_slice(section.as_bytes());
            let about = of.get_about().map(ToString::to_string).unwrap_or_default();
            text.extend_from_slice(about.replace('`', "").as_bytes());
            text.push(b'\n');
            Man::new(of.clone()).render_options_section(&mut text)?;
        }
        Ok(text)
    };
    print(std::io::stdout().lock(), &page().context("the page")?)
}
