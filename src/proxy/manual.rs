//! What the arguments say of themselves, for shells and for `man`.

use std::io;

use clap::{Command, CommandFactory};
use clap_complete::Shell;
use clap_mangen::Man;
use clap_mangen::roff::{Roff, roman};

use super::arguments::Arguments;

/// What belongs to no option: heading, term, explanation.
const MORE: [(&str, &[(&str, &str)]); 2] = [
    (
        "FILES",
        &[(
            "proxy.yaml",
            "The configuration, in the working directory unless --config names another. \
             sse-proxy schema prints what it may hold, sse-proxy check what it means.",
        )],
    ),
    (
        "ENVIRONMENT",
        &[
            (
                "RUST_LOG",
                "What is logged, where --log-level does not say so.",
            ),
            (
                "SSL_CERT_FILE, SSL_CERT_DIR",
                "Certificate authorities in place of the system's.",
            ),
            (
                "NO_COLOR",
                "If it is not empty, sse-proxy tail prints no colours.",
            ),
        ],
    ),
];

/// Why there is no such page.
#[derive(Debug, PartialEq, Eq)]
pub struct NoSuchCommand;

/// The completion script of a shell.
pub fn completions(shell: Shell) -> Vec<u8> {
    let mut script = Vec::new();
    let mut command = Arguments::command();
    clap_complete::generate(shell, &mut command, "sse-proxy", &mut script);
    script
}

/// The manual page of the whole, or of one of its commands.
pub fn page(of: Option<&str>) -> Result<Vec<u8>, NoSuchCommand> {
    let mut command = Arguments::command();
    command.build();
    let command = match of {
        None => command,
        Some(name) => command
            .find_subcommand(name)
            .cloned()
            .ok_or(NoSuchCommand)?,
    };
    let mut page = Vec::new();
    // Memory takes whatever is written.
    let _ = render(command, of.is_none(), &mut page);
    Ok(page)
}

fn render(command: Command, whole: bool, page: &mut Vec<u8>) -> io::Result<()> {
    let notes = command.get_after_help().map(ToString::to_string);
    let man = Man::new(command).manual("sse-proxy");
    man.render_title(page)?;
    man.render_name_section(page)?;
    man.render_synopsis_section(page)?;
    man.render_description_section(page)?;
    man.render_options_section(page)?;
    let mut roff = Roff::new();
    if whole {
        man.render_subcommands_section(page)?;
        for (heading, terms) in MORE {
            roff.control("SH", [heading]);
            for (term, explanation) in terms {
                roff.control("TP", []);
                roff.text([roman(*term)]);
                roff.text([roman(*explanation)]);
            }
        }
    }
    if let Some(notes) = notes {
        // As it is: columns and empty lines mean something.
        roff.control("SH", ["NOTES"]);
        roff.control("nf", []);
        for line in notes.lines() {
            roff.text([roman(line)]);
        }
        roff.control("fi", []);
    }
    roff.to_writer(page)
}
