//! All files of a configuration, as one tree.

use std::path::{Path, PathBuf};

use super::error::SyntaxError;
use super::parser::{Directive, Place, parse};

/// The largest file that is read, in bytes.
pub const FILE_BYTES_MAX: u64 = 4 << 20;
/// How many files a configuration may have.
const FILES_MAX: usize = 1_000;
/// How deep includes may be nested.
const INCLUDES_MAX: usize = 16;
/// How many directives a configuration may have. A file that is included in several places counts each time.
const DIRECTIVES_MAX: usize = 200_000;

/// Opens files for the reader.
pub trait Files {
    /// Returns the text of a file of at most [`FILE_BYTES_MAX`] bytes.
    ///
    /// # Errors
    /// Why it cannot be read, for people.
    fn text(&self, path: &Path) -> Result<String, String>;

    /// Returns the files whose paths fit a pattern, sorted. A pattern may fit none.
    ///
    /// # Errors
    /// Why it is not known which there are, for people.
    fn matching(&self, pattern: &Path) -> Result<Vec<PathBuf>, String>;
}

/// A configuration with everything that it includes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tree {
    /// The files, as messages name them. The first is the main one.
    pub files: Vec<String>,
    /// The directives. In place of each `include` stands what it includes.
    pub directives: Vec<Directive>,
    /// The `include` directives themselves: what each names, and how many files that were.
    pub includes: Vec<(Place, String, usize)>,
}

/// Reads a file and what it includes. As in nginx, relative paths start from the folder of the main file.
///
/// # Errors
/// The first mistake.
pub fn read(files: &dyn Files, main: &Path) -> Result<Tree, SyntaxError> {
    let folder = main.parent().unwrap_or_else(|| Path::new(""));
    let mut reader = Reader { files, folder, tree: Tree::default(), count: 0 };
    let text = files.text(main).map_err(|reason| SyntaxError {
        file: main.display().to_string(),
        line: 1,
        reason,
    })?;
    let directives = reader.file(main, &text, 0)?;
    Ok(Tree { directives, ..reader.tree })
}

struct Reader<'a> {
    files: &'a dyn Files,
    folder: &'a Path,
    tree: Tree,
    /// Directives read so far, which number them.
    count: usize,
}

impl Reader<'_> {
    fn file(&mut self, path: &Path, text: &str, depth: usize) -> Result<Vec<Directive>, SyntaxError> {
        let number = self.tree.files.len();
        let name = path.strip_prefix(self.folder).unwrap_or(path).display().to_string();
        if number == FILES_MAX {
            return Err(SyntaxError { file: name, line: 1, reason: format!("more than {FILES_MAX} files") });
        }
        let directives = parse(text, &name, number)?;
        self.tree.files.push(name);
        self.resolve(directives, depth)
    }

    /// Numbers directives, and puts files in the place of their includes.
    fn resolve(&mut self, directives: Vec<Directive>, depth: usize) -> Result<Vec<Directive>, SyntaxError> {
        let mut resolved = Vec::with_capacity(directives.len());
        for mut directive in directives {
            self.count += 1;
            if self.count > DIRECTIVES_MAX {
                return Err(self.error(directive.place, format!("more than {DIRECTIVES_MAX} directives")));
            }
            if directive.name == "include" && directive.block.is_none() {
                resolved.extend(self.include(&directive, depth)?);
                continue;
            }
            directive.id = self.count;
            directive.block = directive.block.map(|block| self.resolve(block, depth)).transpose()?;
            resolved.push(directive);
        }
        Ok(resolved)
    }

    fn include(&mut self, include: &Directive, depth: usize) -> Result<Vec<Directive>, SyntaxError> {
        let [named] = &include.args[..] else {
            return Err(self.error(include.place, "`include` takes one path".to_owned()));
        };
        if depth == INCLUDES_MAX {
            return Err(
                self.error(include.place, format!("includes are nested more than {INCLUDES_MAX} deep"))
            );
        }
        let path = self.folder.join(named);
        let paths = if named.contains(['*', '?', '[']) {
            self.files.matching(&path).map_err(|reason| self.error(include.place, reason))?
        } else {
            vec![path]
        };
        self.tree.includes.push((include.place, named.clone(), paths.len()));
        let mut directives = Vec::new();
        for path in paths {
            let text = self.files.text(&path).map_err(|reason| self.error(include.place, reason))?;
            directives.extend(self.file(&path, &text, depth + 1)?);
        }
        Ok(directives)
    }

    fn error(&self, place: Place, reason: String) -> SyntaxError {
        let file = self.tree.files.get(place.file).cloned().unwrap_or_default();
        SyntaxError { file, line: place.line, reason }
    }
}
