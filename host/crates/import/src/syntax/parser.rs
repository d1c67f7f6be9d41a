//! Directives and blocks of one file.

use super::error::SyntaxError;
use super::lexer::{Lexer, Token};

/// How deep blocks may be nested. nginx itself has a use for six.
const DEPTH_MAX: usize = 32;
/// How many words a directive may have.
const WORDS_MAX: usize = 10_000;

/// A place in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// The number of the file in [`super::Tree::files`].
    pub file: usize,
    /// The line, from 1.
    pub line: u32,
}

/// A directive with its block, if it has one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Directive {
    /// Its first word.
    pub name: String,
    /// The others.
    pub args: Vec<String>,
    /// What is in its block.
    pub block: Option<Vec<Self>>,
    /// Where it begins.
    pub place: Place,
    /// Its number. No two directives of a tree have the same.
    pub id: usize,
}

impl Directive {
    /// Returns an argument, or an empty text if there are not so many.
    #[must_use]
    pub fn arg(&self, index: usize) -> &str {
        self.args.get(index).map_or("", String::as_str)
    }

    /// Returns what is in its block.
    #[must_use]
    pub fn inner(&self) -> &[Self] {
        self.block.as_deref().unwrap_or_default()
    }
}

/// Reads the directives of a file. `file` is its number.
pub(super) fn parse(text: &str, name: &str, file: usize) -> Result<Vec<Directive>, SyntaxError> {
    let mut parser = Parser { lexer: Lexer::new(text), name, file };
    parser.block(0)
}

struct Parser<'a> {
    lexer: Lexer<'a>,
    name: &'a str,
    file: usize,
}

impl Parser<'_> {
    fn block(&mut self, depth: usize) -> Result<Vec<Directive>, SyntaxError> {
        let mut directives = Vec::new();
        loop {
            match self.next()? {
                None if depth == 0 => return Ok(directives),
                None => {
                    return Err(
                        self.error(self.lexer.line(), "the file ends inside a block: a `}` is missing")
                    );
                }
                Some((Token::Close, _)) if depth > 0 => return Ok(directives),
                Some((Token::Word(word), line)) => directives.push(self.directive(word, line, depth)?),
                Some((Token::Close, line)) => return Err(self.error(line, "unexpected `}`")),
                Some((Token::Open, line)) => return Err(self.error(line, "unexpected `{`")),
                Some((Token::End, line)) => return Err(self.error(line, "unexpected `;`")),
            }
        }
    }

    fn directive(&mut self, name: String, line: u32, depth: usize) -> Result<Directive, SyntaxError> {
        let mut args = Vec::new();
        let block = loop {
            match self.next()? {
                Some((Token::Word(word), _)) if args.len() < WORDS_MAX => args.push(word),
                Some((Token::Word(_), line)) => {
                    return Err(self.error(line, "a directive with too many words"));
                }
                Some((Token::End, _)) => break None,
                Some((Token::Open, line)) => {
                    if name.ends_with("_by_lua_block") {
                        self.lexer.skip_foreign_block().map_err(|reason| self.error(line, &reason))?;
                        break Some(Vec::new());
                    }
                    if depth == DEPTH_MAX {
                        return Err(self.error(line, "blocks are nested too deep"));
                    }
                    break Some(self.block(depth + 1)?);
                }
                Some((Token::Close, line)) => {
                    return Err(self.error(line, &format!("`{name}` does not end with `;`")));
                }
                None => {
                    let reason = format!("the file ends inside `{name}`: a `;` or `}}` is missing");
                    return Err(self.error(self.lexer.line(), &reason));
                }
            }
        };
        Ok(Directive { name, args, block, place: Place { file: self.file, line }, id: 0 })
    }

    fn next(&mut self) -> Result<Option<(Token, u32)>, SyntaxError> {
        self.lexer.next().map_err(|(reason, line)| self.error(line, &reason))
    }

    fn error(&self, line: u32, reason: &str) -> SyntaxError {
        SyntaxError { file: self.name.to_owned(), line, reason: reason.to_owned() }
    }
}
