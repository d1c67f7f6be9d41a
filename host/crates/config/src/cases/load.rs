//! The steps of reading a file of test cases.

use std::path::{Path, PathBuf};

use super::keys;
use super::model::CaseFile;
use super::read;
use crate::diagnostic::Diagnostics;
use crate::files::read::{FILE_BYTES_MAX, read_file, tidy};
use crate::files::source::{Source, Span};
use crate::loader::Loader;
use crate::plugins::Plugins;
use crate::syntax::{check, tree};

/// Reads the file of test cases at `path`. `plugin` takes the place of the one that the file names.
///
/// # Errors
/// If anything is wrong, with all that is wrong.
pub fn load_cases(path: &Path, plugin: Option<&str>, plugins: &dyn Plugins) -> Result<CaseFile, Diagnostics> {
    let absolute = std::path::absolute(path).map_or_else(|_| path.to_path_buf(), |path| tidy(&path));
    let unreadable = |reason: String| {
        let message = format!("the file of test cases cannot be read: {reason}");
        Diagnostics::unreadable(path, message, None, absolute.clone())
    };
    let bytes = read_file(&absolute, FILE_BYTES_MAX).map_err(unreadable)?;
    let text = String::from_utf8(bytes).map_err(|_| unreadable("it is not UTF-8 text".to_owned()))?;
    let mut loader = Loader::new(plugins);
    loader.files.insert(absolute.clone());
    let folder = absolute.parent().map_or_else(|| PathBuf::from("/"), Path::to_path_buf);
    let file = loader.sources.add(Source::new(path, folder, text.clone()));
    let read = tree::parse(file, &text, &mut loader.reports).and_then(|root| {
        let whole = Span { file, start: 0, end: 0 };
        check::table(&root, &keys::ROOT, "the file", whole, &mut loader.reports);
        read::file(&mut loader, &root, plugin, whole)
    });
    let files: Vec<PathBuf> = loader.files.into_iter().collect();
    match read {
        Some(read) if loader.reports.is_empty() => Ok(CaseFile { files, sources: loader.sources, ..read }),
        _ => Err(Diagnostics::new(loader.reports, &loader.sources, files)),
    }
}
