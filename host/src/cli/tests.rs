use clap::{CommandFactory, Parser};

use super::{Cli, Command, LogFormat, with_tip};

#[test]
fn the_definition_is_sound() {
    Cli::command().debug_assert();
}

#[test]
fn log_options_may_stand_after_the_command() {
    let cli = Cli::try_parse_from(["portcullis", "run", "--log-format", "json"]).unwrap();
    assert_eq!(cli.log.log_format, LogFormat::Json);
    assert!(matches!(cli.command, Command::Run(_)));
}

#[test]
fn a_named_config_wins_over_the_defaults() {
    let cli = Cli::try_parse_from(["portcullis", "validate", "-c", "edge.toml"]).unwrap();
    let Command::Validate(config) = cli.command else { panic!("not validate") };
    assert_eq!(config.config.find().unwrap(), std::path::Path::new("edge.toml"));
}

/// The help of a command and of all below it, as a terminal of that width shows it.
fn helps(command: &mut clap::Command, width: usize, found: &mut Vec<String>) {
    *command = command.clone().term_width(width);
    found.push(command.render_long_help().to_string());
    let names: Vec<String> = command
        .get_subcommands()
        .filter(|command| !command.is_hide_set())
        .map(|command| command.get_name().to_owned())
        .collect();
    for name in names {
        helps(command.find_subcommand_mut(&name).unwrap(), width, found);
    }
}

#[test]
fn help_is_wrapped_once_whatever_the_width() {
    let text_after_options = |width| {
        let mut found = Vec::new();
        let mut command = Cli::command();
        command.build();
        helps(&mut command, width, &mut found);
        assert!(found.len() > 15, "{}", found.len());
        found
    };
    for help in text_after_options(80) {
        // A usage line is never wrapped.
        for line in help.lines().filter(|line| !line.starts_with("Usage:")) {
            assert!(line.chars().count() <= 80, "{line}\n{help}");
        }
    }
    // What was wrapped by hand is wrapped by nothing else: it is the same in a wider terminal.
    let mut command = Cli::command();
    command.build();
    let mut commands = vec![&command];
    while let Some(command) = commands.pop() {
        commands.extend(command.get_subcommands());
        let Some(text) = command.get_after_help() else { continue };
        for line in text.to_string().lines() {
            assert!(line.chars().count() <= 80, "{}: {line}", command.get_name());
        }
    }
}

#[test]
fn what_other_gateways_call_so_is_answered_with_what_it_is_here() {
    for (arguments, expected) in [
        (&["run", "edge.toml"][..], "-c edge.toml"),
        (&["validate", "edge.toml"], "-c edge.toml"),
        (&["-t"], "portcullis validate"),
        (&["check"], "portcullis validate"),
        (&["test", "-c", "edge.toml"], "portcullis validate"),
        (&["start"], "portcullis run"),
        (&["stop"], "SIGTERM"),
        (&["-s", "reload"], "portcullis reload"),
        (&["restart"], "portcullis reload"),
    ] {
        let error = Cli::try_parse_from(["portcullis"].iter().chain(arguments)).unwrap_err();
        let text = with_tip(error).to_string();
        assert!(text.contains(expected), "{arguments:?}: no {expected:?} in:\n{text}");
    }
    // A slip is still a slip.
    let error = Cli::try_parse_from(["portcullis", "rotes"]).unwrap_err();
    assert!(with_tip(error).to_string().contains("'routes'"));
}

#[test]
fn a_word_that_is_no_level_is_wrong_usage() {
    for levels in ["verbose", "notice", "info,verbose", "portcullis_proxy"] {
        let error = Cli::try_parse_from(["portcullis", "run", "--log-level", levels]).unwrap_err();
        assert_eq!(error.exit_code(), 2, "{levels}");
        assert!(error.to_string().contains(levels), "{error}");
    }
    for levels in ["warning", "WARN", "info,portcullis_proxy=debug", ""] {
        Cli::try_parse_from(["portcullis", "run", "--log-level", levels]).unwrap();
    }
}
