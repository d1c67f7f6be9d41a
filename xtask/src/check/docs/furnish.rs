//! Makes up what an example names, so that the gateway judges the example and not the absence of its files.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use toml::{Table, Value};

/// Keys whose value is the path of a file.
const FILE_KEYS: [&str; 4] = ["cert", "key", "ca", "file"];

/// Walks `config`; puts the files that it names into `folder` and the variables that it names into the environment of
/// `command`. A file that exists in `files` is copied from there.
pub(super) fn furnish(config: &Table, files: &Path, folder: &Path, command: &mut Command) -> Result<()> {
    let (cert, key) = certificate()?;
    let made = Made { files, folder, cert, key };
    made.table(config, command)
}

struct Made<'a> {
    files: &'a Path,
    folder: &'a Path,
    cert: String,
    key: String,
}

impl Made<'_> {
    fn table(&self, table: &Table, command: &mut Command) -> Result<()> {
        let is_certificate = table.contains_key("cert");
        for (key, value) in table {
            match value {
                Value::String(text) if key == "env" => {
                    command.env(text, "an-example");
                }
                Value::String(text) if key == "plugin" && !text.starts_with("builtin:") => {
                    self.put(text, "")?
                }
                // `key` is a file only beside `cert`; elsewhere it is what a rate is counted by.
                Value::String(_) if key == "key" && !is_certificate => {}
                Value::String(text) if key == "root" => {
                    self.put(&format!("{text}/index.html"), "an-example\n")?
                }
                Value::String(text) if FILE_KEYS.contains(&key.as_str()) || key.ends_with("-file") => {
                    let content = match key.as_str() {
                        "cert" | "ca" => &self.cert,
                        "key" => &self.key,
                        _ => "an-example\n",
                    };
                    self.put(text, content)?;
                }
                value => self.value(value, command)?,
            }
        }
        Ok(())
    }

    fn value(&self, value: &Value, command: &mut Command) -> Result<()> {
        match value {
            Value::Table(table) => self.table(table, command),
            Value::Array(values) => values.iter().try_for_each(|value| self.value(value, command)),
            _ => Ok(()),
        }
    }

    fn put(&self, path: &str, content: &str) -> Result<()> {
        let to = self.folder.join(path);
        // An absolute path would be outside: such an example stays a fragment.
        if !to.starts_with(self.folder) || path.split('/').any(|part| part == "..") {
            return Ok(());
        }
        if let Some(parent) = to.parent() {
            std::fs::create_dir_all(parent)?;
        }
        let from = self.files.join(path);
        if from.is_file() {
            std::fs::copy(&from, &to)?;
        } else {
            std::fs::write(&to, content)?;
        }
        Ok(())
    }
}

fn certificate() -> Result<(String, String)> {
    let made = rcgen::generate_simple_self_signed(["example.com".to_owned(), "localhost".to_owned()]);
    let made = made.context("cannot make a certificate")?;
    Ok((made.cert.pem(), made.signing_key.serialize_pem()))
}
