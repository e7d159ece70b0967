//! The reference, a module for each topic. A topic is one file, and that file is what
//! `otpdrive help TOPIC` prints, what the manual page has and what these pages show.
//!
//! To add a topic, add its file and a row here. It is written to be read on a terminal too: one `#`
//! heading, `##` headings, paragraphs, lists of one level, fenced blocks; a term and what it means are
//! `- term: meaning`; no tables, no links, nothing bold, no line over 78 columns (in a block: 76).

/// A page of the reference.
pub struct Topic {
    /// What it is asked for by.
    pub name: &'static str,
    /// What it is about, in one line.
    pub about: &'static str,
    /// The page, in Markdown.
    pub text: &'static str,
}

macro_rules! topics {
    ($(#[doc = $about:literal] $module:ident $name:literal;)+) => {
        $(#[doc = include_str!(concat!($name, ".md"))] pub mod $module {})+

        /// All topics, in the order of the help.
        pub const TOPICS: &[Topic] = &[$(Topic {
            name: $name,
            about: $about.trim_ascii(),
            text: include_str!(concat!($name, ".md")),
        }),+];
    };
}

topics! {
    /// A campaign step by step, and what comes after it
    campaign "campaign";
    /// Lists: numbers, codes, CSV and Excel, columns, result files
    formats "formats";
    /// What becomes of a row, and of the same command again
    outcomes "outcomes";
    /// How the program ends
    exit_codes "exit-codes";
    /// `results.csv` and `report.json`
    results "results";
    /// What an answer of the gateway means, and what then
    verdicts "verdicts";
    /// Hours, caps, prices and budgets
    hours "hours";
    /// A file of settings, the environment
    configuration "configuration";
    /// cron, systemd, signals; `unknown` rows; backups, damage
    operations "operations";
    /// A ledger on a server, and several machines at work
    fleet "fleet";
    /// What is said on stderr: for people, and as JSON
    logs "logs";
    /// What is promised, how it is checked, and the limits
    guarantees "guarantees";
    /// Rehearsals: magic numbers, codes, faults
    sandbox "sandbox";
    /// How the promises are proved, by machine
    proofs "proofs";
}

/// A line of a page.
pub enum Line<'a> {
    /// A heading, with its level.
    Heading(usize, &'a str),
    /// Of a block that is shown as it is.
    Block(&'a str),
    /// The first line of an item.
    Item(&'a str),
    /// Of a paragraph or an item.
    Text(&'a str),
    /// Between two of them.
    Blank,
}

impl Topic {
    /// The lines of the page, without the marks that say what they are.
    pub fn lines(&self) -> impl Iterator<Item = Line<'static>> {
        let mut is_block = false;
        self.text.lines().filter_map(move |line| {
            if line.starts_with("```") {
                is_block = !is_block;
                return None;
            }
            let level = line.len() - line.trim_start_matches('#').len();
            Some(match line.strip_prefix("- ") {
                _ if is_block => Line::Block(line),
                Some(item) => Line::Item(item),
                None if level > 0 => Line::Heading(level, line[level..].trim_start()),
                None if line.is_empty() => Line::Blank,
                None => Line::Text(line.trim_start()),
            })
        })
    }

    /// The page as a terminal shows it.
    #[must_use]
    pub fn plain(&self) -> String {
        let mut text = String::new();
        let mut margin = "  ";
        for line in self.lines() {
            let line = match line {
                Line::Heading(1, title) => title.to_uppercase(),
                Line::Heading(_, title) => title.to_owned(),
                Line::Block(code) => format!("    {code}"),
                Line::Item(item) => {
                    margin = "    ";
                    format!("  - {item}")
                }
                Line::Text(words) => format!("{margin}{words}"),
                Line::Blank => {
                    margin = "  ";
                    String::new()
                }
            };
            text += line.trim_end();
            text.push('\n');
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_page_is_legible_on_a_terminal_of_80_columns() {
        for topic in TOPICS {
            for line in topic.plain().lines() {
                let width = line.chars().count();
                assert!(width <= 80, "{}: {width} columns: {line}", topic.name);
                let is_bold = line.replace("******", "").contains("**");
                assert!(!is_bold, "{}: {line}", topic.name);
                assert!(!line.trim_start().starts_with('|'), "a table: {line}");
            }
            assert!(topic.text.starts_with("# "), "{}", topic.name);
        }
    }
}
