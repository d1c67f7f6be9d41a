//! Files by pattern: `*` and `?` within a name, which must be spelled out if it begins with a dot.

use std::path::{Component, Path, PathBuf};

/// Entries of one folder that are looked at.
const ENTRIES_MAX: usize = 10_000;

/// What a pattern led to.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// Files that match, relative to the base as the pattern is, in the order of their names.
    pub(crate) files: Vec<PathBuf>,
    /// Absolute folders whose entries decide what matches.
    pub(crate) folders: Vec<PathBuf>,
}

pub(crate) fn is_pattern(path: &str) -> bool {
    path.contains(['*', '?'])
}

/// Finds what matches `pattern`, which is relative to the absolute folder `base`.
pub(crate) fn find(base: &Path, pattern: &str) -> Found {
    let mut found = Found::default();
    let mut paths = vec![PathBuf::new()];
    for component in Path::new(pattern).components() {
        let name = component.as_os_str().to_string_lossy();
        paths = match component {
            Component::Normal(_) if is_pattern(&name) => {
                paths.iter().flat_map(|path| matching(base, path, &name, &mut found.folders)).collect()
            }
            _ => paths.into_iter().map(|path| path.join(component)).collect(),
        };
    }
    paths.retain(|path| base.join(path).is_file());
    found.files = paths;
    found
}

/// The entries of a folder that match; of a folder that is not there, none.
fn matching(base: &Path, folder: &Path, pattern: &str, folders: &mut Vec<PathBuf>) -> Vec<PathBuf> {
    let absolute = base.join(folder);
    folders.push(absolute.components().collect());
    let Ok(entries) = std::fs::read_dir(&absolute) else { return Vec::new() };
    let names = entries.take(ENTRIES_MAX).flatten().filter_map(|entry| entry.file_name().into_string().ok());
    let mut found: Vec<PathBuf> =
        names.filter(|name| name_matches(pattern, name)).map(|name| folder.join(name)).collect();
    found.sort();
    found
}

fn name_matches(pattern: &str, name: &str) -> bool {
    let hidden = name.starts_with('.') && !pattern.starts_with('.');
    !hidden && wildcard(&pattern.chars().collect::<Vec<_>>(), &name.chars().collect::<Vec<_>>())
}

/// Matches with one step back to the last `*`, so that no pattern takes exponential time.
fn wildcard(pattern: &[char], text: &[char]) -> bool {
    let (mut p, mut t) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        match pattern.get(p) {
            Some('*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(letter) if *letter == '?' || Some(letter) == text.get(t) => {
                p += 1;
                t += 1;
            }
            _ => {
                let Some((star_p, star_t)) = star else { return false };
                star = Some((star_p, star_t + 1));
                p = star_p + 1;
                t = star_t + 1;
            }
        }
    }
    pattern.get(p..).is_some_and(|rest| rest.iter().all(|letter| *letter == '*'))
}
