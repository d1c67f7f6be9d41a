//! The modules of a crate, and which file uses which.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;
use proc_macro2::{Delimiter, TokenTree};

use crate::check::rust::{tokens, without_tests};
use crate::tree::Source;

/// Re-exports that are followed one after the other; a longer row is a circle of them.
const REEXPORTS_MAX: usize = 8;

/// A path from the root of the crate, without `crate`.
type Path = Vec<String>;

/// The files of a crate that are compiled outside of tests, by their module paths.
pub(super) struct Modules {
    files: BTreeMap<Path, File>,
}

/// A file that is a module.
#[derive(Default)]
struct File {
    /// Relative to the crate's `src`.
    name: String,
    tokens: Vec<TokenTree>,
    /// Modules that it declares.
    children: BTreeSet<String>,
    /// What its `use` declarations name, by the names that they give it.
    names: BTreeMap<String, Path>,
    /// Modules whose every item it imports.
    globs: Vec<Path>,
    /// Other items that it defines.
    items: BTreeSet<String>,
}

impl Modules {
    /// Reads those of the crate in `folder` (relative to the root of the workspace) from the files of the workspace.
    ///
    /// # Errors
    /// If a file is not Rust.
    pub(super) fn read(folder: &str, sources: &[Source]) -> Result<Self> {
        let src = if folder.is_empty() { "src/".to_owned() } else { format!("{folder}/src/") };
        let mut all = BTreeMap::new();
        for source in sources {
            let Some(name) = source.path.strip_prefix(&src) else { continue };
            let tokens = without_tests(tokens(source)?);
            let children = declared(&tokens);
            let file = File { name: name.to_owned(), tokens, children, ..File::default() };
            all.insert(module_path(name), file);
        }
        let mut files = BTreeMap::new();
        let mut open = vec![Path::new()];
        while let Some(path) = open.pop() {
            let Some(file) = all.remove(&path) else { continue };
            open.extend(file.children.iter().map(|child| joined(&path, [child.as_str()])));
            files.insert(path, file);
        }
        let mut modules = Self { files };
        modules.read_names();
        Ok(modules)
    }

    /// Returns, for each file, the other files that it uses.
    pub(super) fn uses(&self) -> BTreeMap<String, BTreeSet<String>> {
        let of_file = |(path, file): (&Path, &File)| {
            let mut used = BTreeSet::new();
            let mut names = Vec::new();
            collect(&file.tokens, path, &mut |path, place| {
                if !matches!(place, Place::Top { reexports: true, .. }) {
                    names.push(path);
                }
            });
            for name in names {
                let target = self.resolve(&name, 0);
                used.extend(
                    target.filter(|other| *other != path).map(|other| self.files[other].name.clone()),
                );
            }
            (file.name.clone(), used)
        };
        self.files.iter().map(of_file).collect()
    }

    fn read_names(&mut self) {
        let mut read = Vec::new();
        for (path, file) in &self.files {
            let (mut names, mut globs) = (BTreeMap::new(), Vec::new());
            collect(&file.tokens, path, &mut |target, place| match place {
                Place::Top { alias, .. } if alias == "*" => globs.push(target),
                Place::Top { alias, .. } => drop(names.insert(alias, target)),
                Place::Inside => {}
            });
            read.push((path.clone(), names, globs, items(&file.tokens)));
        }
        for (path, names, globs, items) in read {
            if let Some(file) = self.files.get_mut(&path) {
                (file.names, file.globs, file.items) = (names, globs, items);
            }
        }
    }

    /// Returns the module whose file defines what `path` names, or `None` if it leads out of the crate.
    fn resolve(&self, path: &[String], followed: usize) -> Option<&Path> {
        let depth = (0..=path.len()).rev().find(|depth| self.files.contains_key(&path[..*depth]))?;
        let (module, file) = self.files.get_key_value(&path[..depth])?;
        let Some(name) = path.get(depth).filter(|_| followed < REEXPORTS_MAX) else { return Some(module) };
        if file.items.contains(name) {
            return Some(module);
        }
        let rest = path[depth + 1..].iter().map(String::as_str);
        if let Some(target) = file.names.get(name) {
            return self.resolve(&joined(target, rest), followed + 1).or(Some(module));
        }
        let through_glob = file.globs.iter().find_map(|glob| {
            let target = joined(glob, [name.as_str()]);
            let found = self.resolve(&target, followed + 1)?;
            self.files[found].items.contains(name).then_some(found)
        });
        through_glob.or(Some(module))
    }
}

/// Returns the module path of a file in `src`.
fn module_path(name: &str) -> Path {
    let stem = name.strip_suffix(".rs").unwrap_or(name);
    let stem = stem.strip_suffix("/mod").unwrap_or(stem);
    match stem {
        "lib" | "main" => Path::new(),
        stem => stem.split('/').map(str::to_owned).collect(),
    }
}

fn joined<'a>(path: &[String], rest: impl IntoIterator<Item = &'a str>) -> Path {
    path.iter().cloned().chain(rest.into_iter().map(str::to_owned)).collect()
}

/// Returns the names of modules declared with `mod name;`.
fn declared(tokens: &[TokenTree]) -> BTreeSet<String> {
    let declarations = tokens.windows(3).filter_map(|three| match three {
        [TokenTree::Ident(keyword), TokenTree::Ident(name), TokenTree::Punct(end)]
            if keyword == "mod" && end.as_char() == ';' =>
        {
            Some(name.to_string())
        }
        _ => None,
    });
    declarations.collect()
}

/// Returns the names of the items that a file defines at its top.
fn items(tokens: &[TokenTree]) -> BTreeSet<String> {
    const KEYWORDS: [&str; 8] = ["fn", "struct", "enum", "trait", "type", "const", "static", "union"];
    let items = tokens.windows(2).filter_map(|two| match two {
        [TokenTree::Ident(keyword), TokenTree::Ident(name)]
            if KEYWORDS.iter().any(|known| keyword == known) =>
        {
            Some(name.to_string())
        }
        _ => None,
    });
    items.collect()
}

/// Where a path stands.
enum Place {
    /// In a `use` at the top of its file, which calls what it names `alias` (`*` for all names in it).
    Top { alias: String, reexports: bool },
    /// Anywhere else.
    Inside,
}

/// Calls `found` with each path into the crate that stands in `tokens` of the module at `at`, as seen from the root.
fn collect(tokens: &[TokenTree], at: &[String], found: &mut impl FnMut(Path, Place)) {
    walk(tokens, at, &declared(tokens), true, found);
}

fn walk(
    tokens: &[TokenTree],
    at: &[String],
    children: &BTreeSet<String>,
    at_top: bool,
    found: &mut impl FnMut(Path, Place),
) {
    let mut index = 0;
    while let Some(token) = tokens.get(index) {
        index += 1;
        match token {
            // `use<'a>` captures lifetimes.
            TokenTree::Ident(word) if word == "use" && !is_mark(tokens.get(index), '<') => {
                let end = tokens[index..].iter().position(|token| is_mark(Some(token), ';'));
                let end = end.map_or(tokens.len(), |length| index + length);
                let reexports = is_public(&tokens[..index - 1]);
                let mut leaf = |path: &[String], alias: String| {
                    if let Some(path) = absolute(path, at, children) {
                        let place = if at_top { Place::Top { alias, reexports } } else { Place::Inside };
                        found(path, place);
                    }
                };
                use_tree(&tokens[index..end], &[], &mut leaf);
                index = end;
            }
            // A module in the middle of a file has its own `super`; it belongs to the file all the same.
            TokenTree::Ident(word) if word == "mod" => {
                if let (Some(TokenTree::Ident(name)), Some(TokenTree::Group(body))) =
                    (tokens.get(index), tokens.get(index + 1))
                {
                    let inside: Vec<TokenTree> = body.stream().into_iter().collect();
                    let at = joined(at, [name.to_string().as_str()]);
                    walk(&inside, &at, &declared(&inside), false, found);
                    index += 2;
                }
            }
            TokenTree::Ident(_) if is_path_start(tokens, index - 1) => {
                let (path, next) = path_at(tokens, index - 1);
                index = next;
                if path.len() > 1
                    && let Some(path) = absolute(&path, at, children)
                {
                    found(path, Place::Inside);
                }
            }
            TokenTree::Group(group) => {
                let inside: Vec<TokenTree> = group.stream().into_iter().collect();
                walk(&inside, at, children, false, found);
            }
            _ => {}
        }
    }
}

/// Whether `tokens` end with `pub` or `pub(...)`.
fn is_public(tokens: &[TokenTree]) -> bool {
    let before = match tokens {
        [before @ .., TokenTree::Group(group)] if group.delimiter() == Delimiter::Parenthesis => before,
        before => before,
    };
    matches!(before.last(), Some(TokenTree::Ident(word)) if word == "pub")
}

fn is_mark(token: Option<&TokenTree>, mark: char) -> bool {
    matches!(token, Some(TokenTree::Punct(punct)) if punct.as_char() == mark)
}

/// Whether no `::` stands before the word at `index`: what comes behind one belongs to a path that was read already.
fn is_path_start(tokens: &[TokenTree], index: usize) -> bool {
    let before = |back: usize| index.checked_sub(back).and_then(|at| tokens.get(at));
    !(is_mark(before(1), ':') && is_mark(before(2), ':'))
}

/// Returns the words of the path that begins at `index`, and the index behind it.
fn path_at(tokens: &[TokenTree], mut index: usize) -> (Path, usize) {
    let mut path = Path::new();
    while let Some(TokenTree::Ident(word)) = tokens.get(index) {
        path.push(word.to_string());
        index += 1;
        if !(is_mark(tokens.get(index), ':') && is_mark(tokens.get(index + 1), ':')) {
            break;
        }
        index += 2;
    }
    (path, index)
}

/// Calls `leaf` for each name that the tree of a `use` imports.
fn use_tree(tokens: &[TokenTree], prefix: &[String], leaf: &mut impl FnMut(&[String], String)) {
    let (path, index) = path_at(tokens, 0);
    let whole = joined(prefix, path.iter().map(String::as_str));
    match (tokens.get(index), tokens.get(index + 1)) {
        (Some(TokenTree::Group(group)), _) if group.delimiter() == Delimiter::Brace => {
            let inside: Vec<TokenTree> = group.stream().into_iter().collect();
            for part in inside.split(|token| is_mark(Some(token), ',')).filter(|part| !part.is_empty()) {
                use_tree(part, &whole, leaf);
            }
        }
        (Some(TokenTree::Punct(star)), _) if star.as_char() == '*' => leaf(&whole, "*".to_owned()),
        (Some(TokenTree::Ident(word)), Some(TokenTree::Ident(alias))) if word == "as" => {
            leaf(&whole, alias.to_string());
        }
        _ => {
            // `a::{self}` imports `a`.
            let named = match whole.split_last() {
                Some((last, before)) if last == "self" && !before.is_empty() => before,
                _ => &whole[..],
            };
            if let Some(name) = named.last() {
                leaf(named, name.clone());
            }
        }
    }
}

/// Returns a path as seen from the root, or `None` if it leads out of the crate.
fn absolute(path: &[String], at: &[String], children: &BTreeSet<String>) -> Option<Path> {
    let rest = |from: usize| path[from..].iter().map(String::as_str);
    match path.first()?.as_str() {
        "crate" => Some(joined(&[], rest(1))),
        "self" => Some(joined(at, rest(1))),
        "super" => {
            let levels = path.iter().take_while(|word| *word == "super").count();
            Some(joined(&at[..at.len().checked_sub(levels)?], rest(levels)))
        }
        child if children.contains(child) => Some(joined(at, rest(0))),
        _ => None,
    }
}
