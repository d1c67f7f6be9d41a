//! The main file and all that it includes.

mod glob;

use std::path::{Path, PathBuf};

use crate::diagnostic::Report;
use crate::files::read::{canonical, tidy};
use crate::files::source::{Source, Span};
use crate::loader::Loader;
use crate::syntax::check;
use crate::syntax::keys::ROOT;
use crate::syntax::suggest::shown;
use crate::syntax::tree::{self, Node, Table, Value};
use crate::syntax::view::View;

/// Files of one configuration.
const FILES_MAX: usize = 256;
/// Includes inside of includes.
const DEPTH_MAX: usize = 8;

/// A parsed config file.
#[derive(Debug)]
pub(crate) struct Document {
    pub(crate) file: u32,
    pub(crate) root: Table,
}

/// A file that is being read, and the place that included it.
#[derive(Debug)]
struct Visit {
    path: PathBuf,
    included: Option<Span>,
}

/// Reads the text `text` of the main file and everything that it includes. What cannot be read or parsed is reported
/// and missing from the result.
pub(crate) fn read_all(
    loader: &mut Loader<'_>,
    path: &Path,
    absolute: PathBuf,
    text: String,
) -> Vec<Document> {
    let mut reader = Reader { loader, seen: Vec::new(), full: false, documents: Vec::new() };
    reader.file(path, Visit { path: absolute, included: None }, text, &mut Vec::new());
    let mut documents = reader.documents;
    documents.sort_by_key(|document| document.file);
    documents
}

struct Reader<'l, 'p> {
    loader: &'l mut Loader<'p>,
    /// Every file so far, without links, and the place that included it.
    seen: Vec<(PathBuf, Option<Span>)>,
    /// Whether it was reported that there are too many.
    full: bool,
    documents: Vec<Document>,
}

impl Reader<'_, '_> {
    /// `stack` holds the files that led here.
    fn file(&mut self, name: &Path, visit: Visit, text: String, stack: &mut Vec<PathBuf>) {
        let folder = visit.path.parent().map_or_else(PathBuf::new, Path::to_path_buf);
        let canonical = canonical(&visit.path);
        self.seen.push((canonical.clone(), visit.included));
        let file = self.loader.sources.add(Source::new(name, folder, text.clone()));
        let Some(root) = tree::parse(file, &text, &mut self.loader.reports) else {
            self.loader.incomplete = true;
            return hide_secret_lines(self.loader, file, &text);
        };
        let whole = Span { file, start: 0, end: 0 };
        hide_secrets(self.loader, &root);
        let include = root.get("include").map(|entry| &entry.value.value);
        self.loader.incomplete |= include.is_some_and(|value| !matches!(value, Value::Array(_)));
        // What refers to such a name would seem wrong as well.
        self.loader.incomplete |= check::has_dotted_name(&root);
        check::table(&root, &ROOT, "the file", whole, &mut self.loader.reports);
        stack.push(canonical);
        for (pattern, span) in View::new(Some(&root), &ROOT, whole).texts("include") {
            self.include(name, pattern, span, stack);
        }
        stack.pop();
        self.documents.push(Document { file, root });
    }

    fn include(&mut self, from: &Path, pattern: &str, span: Span, stack: &mut Vec<PathBuf>) {
        if stack.len() >= DEPTH_MAX {
            let report = Report::new(
                span,
                "includes are nested too deeply",
                format!("this would be level {}", stack.len() + 1),
            );
            self.loader.incomplete = true;
            return self.loader.report(report.help(format!("include at most {DEPTH_MAX} levels deep")));
        }
        let folder = self.loader.sources.folder(span).to_path_buf();
        // Shown as the operator would name it: beside the file that includes it.
        let shown_folder = from.parent().unwrap_or(Path::new(""));
        let found = if glob::is_pattern(pattern) {
            let found = glob::find(&folder, pattern);
            self.loader.files.extend(found.folders);
            found.files
        } else {
            vec![PathBuf::from(pattern)]
        };
        for path in found {
            let absolute = tidy(&folder.join(&path));
            let name = shown_folder.join(&path);
            if self.may_visit(&absolute, span, &name, stack)
                && let Some(text) = self.text(&path, &absolute, span)
            {
                self.file(&name, Visit { path: absolute, included: Some(span) }, text, stack);
            }
        }
    }

    fn may_visit(&mut self, path: &Path, span: Span, name: &Path, stack: &[PathBuf]) -> bool {
        let name = shown(&name.display().to_string());
        // By links a file may have several names.
        let path = canonical(path);
        let report = if stack.contains(&path) {
            Report::new(
                span,
                format!("`{name}` includes itself"),
                "it is being read already, and would be read again without end",
            )
            .help("include only files that do not lead back to this one")
        } else if let Some((_, first)) = self.seen.iter().find(|(other, _)| *other == path) {
            let report = Report::new(span, format!("`{name}` is included twice"), "included before")
                .help("remove one of the two");
            first.iter().fold(report, |report, first| report.note("first included", *first))
        } else if self.seen.len() >= FILES_MAX {
            if std::mem::replace(&mut self.full, true) {
                return false;
            }
            self.loader.incomplete = true;
            Report::new(span, "too many files are included", format!("this would be more than {FILES_MAX}"))
                .help("put more into one file")
        } else {
            return true;
        };
        self.loader.report(report);
        false
    }

    fn text(&mut self, path: &Path, absolute: &Path, span: Span) -> Option<String> {
        self.loader.files.insert(absolute.to_path_buf());
        let text = self
            .loader
            .read_config(absolute)
            .and_then(|bytes| String::from_utf8(bytes).map_err(|_| "it is not UTF-8 text".to_owned()));
        match text {
            Ok(text) => Some(text),
            Err(reason) => {
                let name = shown(&path.display().to_string());
                let help = format!("it was looked for at {}", absolute.display());
                let message = format!("the included file `{name}` cannot be read");
                self.loader.report(Report::new(span, message, reason).help(help));
                self.loader.incomplete = true;
                None
            }
        }
    }
}

/// Hides the values in `[secrets]` of a file that is not TOML, of which only the lines are known.
fn hide_secret_lines(loader: &mut Loader<'_>, file: u32, text: &str) {
    let mut start = 0;
    let mut inside = false;
    for line in text.split_inclusive('\n') {
        let trimmed = line.trim_start();
        if let Some(header) = trimmed.strip_prefix('[') {
            inside = header.trim_start().starts_with("secrets");
        }
        if (inside || trimmed.starts_with("secrets"))
            && let Some((key, value)) = line.split_once('=')
        {
            let blanks = value.len() - value.trim_start().len();
            let from = start + key.len() + 1 + blanks;
            loader.sources.hide(Span::new(file, &(from..start + line.len())));
        }
        start += line.len();
    }
}

/// Hides everything in `[secrets]` that is not the name of a variable or file: it may be the secret.
fn hide_secrets(loader: &mut Loader<'_>, root: &Table) {
    let Some(secrets) = root.get("secrets") else { return };
    let Some(table) = secrets.value.as_table() else { return loader.sources.hide(secrets.value.span) };
    for secret in &table.entries {
        hide_values(loader, &secret.value);
    }
}

fn hide_values(loader: &mut Loader<'_>, node: &Node) {
    match &node.value {
        Value::Table(table) => {
            for entry in &table.entries {
                let is_place = matches!(entry.key.as_str(), "env" | "file") && entry.value.as_str().is_some();
                if !is_place {
                    hide_values(loader, &entry.value);
                }
            }
        }
        _ => loader.sources.hide(node.span),
    }
}
