use clap::{CommandFactory, Parser};

use super::{Cli, Command, LogFormat};

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
