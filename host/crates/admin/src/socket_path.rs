//! Finds the control socket of a config, so that the command line needs no option for it.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::private_folder;

/// Bytes of a config file's name that are in its socket's: a socket's path has at most 108 in all.
const STEM_BYTES_MAX: usize = 24;

/// The parent of the `XDG_RUNTIME_DIR` of logins.
const RUNTIME_DIRS: &str = "/run/user";

/// Other users whose folders are searched.
const OTHERS_MAX: usize = 256;

/// The parts of the process's environment that determine the paths of sockets.
#[derive(Debug, Clone)]
pub struct Surroundings {
    /// `RUNTIME_DIRECTORY`: what systemd gives a unit with `RuntimeDirectory=`; of several the first.
    pub runtime_directory: Option<PathBuf>,
    /// `XDG_RUNTIME_DIR`: what a login gives its user.
    pub xdg_runtime_dir: Option<PathBuf>,
    /// The folder for temporary files.
    pub temp_dir: PathBuf,
    /// The effective user.
    pub user: u32,
}

impl Surroundings {
    /// Returns those of this process.
    #[must_use]
    pub fn current() -> Self {
        let folder = |variable: &str| {
            let value = std::env::var_os(variable)?;
            let first = value.as_bytes().split(|byte| *byte == b':').next()?;
            Some(PathBuf::from(OsStr::from_bytes(first))).filter(|path| path.is_absolute())
        };
        Self {
            runtime_directory: folder("RUNTIME_DIRECTORY"),
            xdg_runtime_dir: folder("XDG_RUNTIME_DIR"),
            temp_dir: std::env::temp_dir(),
            user: private_folder::user(),
        }
    }

    /// Returns the paths at which the socket of the config at `config` may be, the likeliest first. For root, who may
    /// ask every gateway, they include those of other users.
    #[must_use]
    pub fn places(&self, config: &Path) -> Vec<PathBuf> {
        let names: Vec<String> = identities(config).iter().map(|path| name(path)).collect();
        let mut folders = self.folders();
        if self.user == 0 {
            let others = folders_of_others(&self.temp_dir, Path::new(RUNTIME_DIRS));
            folders.extend(others);
        }
        folders.iter().flat_map(|folder| names.iter().map(|name| folder.join(name))).collect()
    }

    /// Returns the path at which a gateway of that config opens its socket: in the first folder that it can make its
    /// own.
    ///
    /// # Errors
    /// What is wrong with each of them.
    pub fn place(&self, config: &Path) -> Result<PathBuf, String> {
        let name = identities(config).first().map(|path| name(path)).unwrap_or_default();
        let mut wrong = Vec::new();
        for folder in self.folders() {
            let made = private_folder::make(&folder).map_err(|error| error.to_string());
            match made.and_then(|()| private_folder::check_private(&folder)) {
                Ok(()) => return Ok(folder.join(name)),
                Err(reason) => wrong.push(format!("{}: {reason}", folder.display())),
            }
        }
        Err(wrong.join("; "))
    }

    fn folders(&self) -> Vec<PathBuf> {
        let mut folders = Vec::new();
        folders.extend(self.runtime_directory.clone());
        folders.extend(self.xdg_runtime_dir.as_ref().map(|folder| folder.join("portcullis")));
        if self.user == 0 {
            folders.push(PathBuf::from("/run/portcullis"));
        }
        // Other users can write beside it, but not in it, and cannot take its name once it exists.
        folders.push(self.temp_dir.join(format!("portcullis-{}", self.user)));
        folders
    }
}

/// Returns the folders of other users in which their gateways open sockets. A folder that does not belong to the user
/// in its name, or that others can write to, may be a trap.
fn folders_of_others(temp_dir: &Path, runtime_dirs: &Path) -> Vec<PathBuf> {
    let entries = |folder: &Path| std::fs::read_dir(folder).into_iter().flatten().flatten();
    let user_of = |name: &OsStr, prefix: &str| name.to_str()?.strip_prefix(prefix)?.parse::<u32>().ok();
    let of_temp = entries(temp_dir)
        .filter_map(|entry| Some((user_of(&entry.file_name(), "portcullis-")?, entry.path())));
    let of_logins = entries(runtime_dirs)
        .filter_map(|entry| Some((user_of(&entry.file_name(), "")?, entry.path().join("portcullis"))));
    let is_theirs = |(user, path): &(u32, PathBuf)| {
        std::fs::symlink_metadata(path)
            .is_ok_and(|meta| meta.is_dir() && meta.uid() == *user && meta.mode() & 0o022 == 0)
    };
    let mut folders: Vec<(u32, PathBuf)> = of_temp.chain(of_logins).filter(is_theirs).collect();
    folders.sort();
    folders.truncate(OTHERS_MAX);
    folders.into_iter().map(|(_, path)| path).collect()
}

/// Returns the paths that identify a config: first the one in its folder, with links followed as far as that folder. A
/// deployment that swaps the target of the file's own name (as Kubernetes does with a ConfigMap) does not change this
/// one. Then the target of the file's name.
fn identities(config: &Path) -> Vec<PathBuf> {
    let absolute = std::path::absolute(config).unwrap_or_else(|_| config.to_path_buf());
    let folder = absolute.parent().and_then(|folder| folder.canonicalize().ok());
    let named = match (folder, absolute.file_name()) {
        (Some(folder), Some(name)) => folder.join(name),
        _ => absolute.clone(),
    };
    let linked = absolute.canonicalize().ok().filter(|linked| *linked != named);
    std::iter::once(named).chain(linked).collect()
}

/// Returns the plain characters of the file's name, and enough of a digest of its path to be unique.
fn name(path: &Path) -> String {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let plain = |char: char| if char.is_ascii_alphanumeric() || char == '_' { char } else { '-' };
    let stem: String = stem.chars().map(plain).take(STEM_BYTES_MAX).collect();
    let digest = Sha256::digest(path.as_os_str().as_bytes());
    let digest: String = digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    format!("{stem}-{digest}.sock")
}
