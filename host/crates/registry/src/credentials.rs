//! Credentials that other programs keep: `docker login` in `config.json`, `podman login` in `auth.json`.
//!
//! Read when a registry requires authentication and the configuration has no credentials. Programs that such a file
//! names (`credHelpers`, `credsStore`) are not run: a file in a home folder must not decide what runs as the gateway's
//! user. Their output can be put into a secret's file, which is read again when it changes.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use portcullis_model::Secret;
use portcullis_model::text::one_line;
use serde::Deserialize;

use crate::error::Error;

/// The largest file.
const FILE_BYTES_MAX: u64 = 1 << 20;
/// Letters of a name in a file that a message repeats.
const LETTERS_MAX: usize = 100;

/// A file, which need not exist.
#[derive(Debug, Clone)]
pub(crate) struct CredentialFile {
    pub(crate) path: PathBuf,
    /// Whether it was named explicitly, so that it is an error if it does not exist.
    pub(crate) must_exist: bool,
}

/// The files. The first one that has an entry for a registry counts.
#[derive(Debug, Clone, Default)]
pub(crate) struct CredentialFiles(pub(crate) Vec<CredentialFile>);

/// Credentials for a registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Credentials {
    Password(String, Secret),
    /// Gets tokens from the token service (OAuth 2.0 refresh token).
    Identity(Secret),
    /// Sent to the registry unchanged.
    Token(Secret),
}

/// What was found in the files.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// The credentials, and their file.
    pub(crate) credentials: Option<(Credentials, PathBuf)>,
    /// Why there are none, or others than an operator may expect.
    pub(crate) hint: Option<String>,
}

#[derive(Deserialize)]
struct Content {
    #[serde(default)]
    auths: Option<BTreeMap<String, Option<Entry>>>,
    #[serde(default, rename = "credHelpers")]
    helpers: Option<BTreeMap<String, String>>,
    #[serde(default, rename = "credsStore")]
    store: Option<String>,
}

#[derive(Deserialize)]
struct Entry {
    #[serde(default)]
    auth: Option<String>,
    #[serde(default)]
    username: Option<String>,
    #[serde(default)]
    password: Option<String>,
    #[serde(default)]
    identitytoken: Option<String>,
    #[serde(default)]
    registrytoken: Option<String>,
}

impl CredentialFiles {
    /// Returns the credentials for a repository of `host`.
    ///
    /// # Errors
    /// If a file is there and cannot be read.
    pub(crate) fn find(&self, host: &str, repository: &str) -> Result<Found, Error> {
        let mut found = Found::default();
        for file in &self.0 {
            let CredentialFile { path, must_exist } = file;
            let fail = |reason: String| Error::CredentialFile { path: path.clone(), reason };
            let content = match read(path) {
                Ok(content) => content,
                Err(error) if !must_exist && is_absent(&error) => continue,
                // For example a home folder that a service may not read.
                Err(error) if !must_exist && error.kind() == io::ErrorKind::PermissionDenied => {
                    found.hint.get_or_insert_with(|| format!("{} may not be read", path.display()));
                    continue;
                }
                Err(error) => return Err(fail(error.to_string())),
            };
            // serde's messages repeat wrong text, which may be a password.
            let content: Content = serde_json::from_slice(&content).map_err(|error| {
                fail(format!(
                    "it is not the JSON that it should be at line {} column {}",
                    error.line(),
                    error.column()
                ))
            })?;
            if let Some(credentials) = content.find(host, repository).map_err(fail)? {
                found.credentials = Some((credentials, path.clone()));
                return Ok(found);
            }
            if let Some(helper) = content.helper(host, repository) {
                let helper = one_line(helper, LETTERS_MAX);
                found.hint.get_or_insert_with(|| {
                    format!(
                        "{} leaves them to the program docker-credential-{helper}, which is not run",
                        path.display()
                    )
                });
            }
        }
        Ok(found)
    }
}

fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    // Before it is opened: opening a pipe would wait for its writer.
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::other("it is no file"));
    }
    let mut bytes = Vec::new();
    File::open(path)?.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(io::Error::other(format!("it is larger than {FILE_BYTES_MAX} bytes")));
    }
    Ok(bytes)
}

impl Content {
    /// Returns the credentials in `auths`: for the repository, for the part before each of its slashes, for the host;
    /// then for the host as a URL, as docker writes it.
    fn find(&self, host: &str, repository: &str) -> Result<Option<Credentials>, String> {
        let Some(auths) = &self.auths else { return Ok(None) };
        let exact = keys(host, repository).into_iter().filter_map(|key| auths.get_key_value(&key));
        let addresses = auths.iter().filter(|(key, _)| host_of(key) == normal(host));
        for (key, entry) in exact.chain(addresses) {
            // An empty entry is docker's mark that a helper has the credentials.
            let credentials = entry.as_ref().map(Entry::credentials).transpose();
            let credentials = credentials
                .map_err(|reason| format!("the entry `{}` {reason}", one_line(key, LETTERS_MAX)))?;
            if let Some(credentials) = credentials.flatten() {
                return Ok(Some(credentials));
            }
        }
        Ok(None)
    }

    /// Returns the program that docker would run.
    fn helper(&self, host: &str, repository: &str) -> Option<&str> {
        let helpers = self.helpers.as_ref();
        let exact =
            helpers.and_then(|helpers| keys(host, repository).iter().find_map(|key| helpers.get(key)));
        let address =
            || helpers?.iter().find(|(key, _)| host_of(key) == normal(host)).map(|(_, helper)| helper);
        exact.or_else(address).or(self.store.as_ref()).map(String::as_str).filter(|helper| !helper.is_empty())
    }
}

/// Returns `host/team/auth`, `host/team`, `host`.
fn keys(host: &str, repository: &str) -> Vec<String> {
    let whole = format!("{host}/{repository}");
    let ends = whole.match_indices('/').map(|(at, _)| at);
    let mut keys: Vec<String> = ends.filter_map(|at| whole.get(..at)).map(str::to_owned).collect();
    keys.push(whole);
    keys.reverse();
    keys
}

/// Returns the host of an entry that is a URL or a host. An entry with a path and without a scheme names a repository,
/// not a host.
fn host_of(key: &str) -> &str {
    let without = key.strip_prefix("https://").or_else(|| key.strip_prefix("http://"));
    let host = without.map_or(key, |rest| rest.split('/').next().unwrap_or(rest));
    normal(host)
}

/// docker.io has several names.
fn normal(host: &str) -> &str {
    match host {
        "index.docker.io" | "registry-1.docker.io" => "docker.io",
        host => host,
    }
}

impl Entry {
    fn credentials(&self) -> Result<Option<Credentials>, &'static str> {
        let text = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        let secret = |text: String| Secret::new(text.into_bytes());
        if let Some(token) = text(&self.identitytoken) {
            return Ok(Some(Credentials::Identity(secret(token))));
        }
        if let Some(token) = text(&self.registrytoken) {
            let fits = token.bytes().all(|byte| byte.is_ascii_graphic());
            return if fits {
                Ok(Some(Credentials::Token(secret(token))))
            } else {
                Err("has a token that is none")
            };
        }
        let Some(auth) = text(&self.auth) else {
            let pair = text(&self.username).zip(text(&self.password));
            return Ok(pair.map(|(user, password)| Credentials::Password(user, secret(password))));
        };
        const WRONG: &str = "has an `auth` that is not user:password in base64";
        let pair = BASE64.decode(auth.trim()).map_err(|_| WRONG)?;
        let at = pair.iter().position(|byte| *byte == b':').ok_or(WRONG)?;
        let (user, password) = pair.split_at(at);
        let user = String::from_utf8(user.to_vec()).map_err(|_| WRONG)?;
        // Old versions of docker have padded it.
        let password = password.get(1..).unwrap_or_default();
        let end = password.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        let password = password.get(..end).unwrap_or_default();
        Ok(Some(Credentials::Password(user, Secret::new(password))))
    }
}

#[cfg(test)]
mod tests;
