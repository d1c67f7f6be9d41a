//! Words, `;`, `{` and `}`, as nginx's own reader takes them apart.

/// One piece of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Token {
    /// A word, without its quotes and with its escapes carried out.
    Word(String),
    /// `;`
    End,
    /// `{`
    Open,
    /// `}`
    Close,
}

/// Takes the text of a file apart.
#[derive(Debug)]
pub(super) struct Lexer<'a> {
    rest: &'a str,
    line: u32,
}

impl<'a> Lexer<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { rest: text.strip_prefix('\u{feff}').unwrap_or(text), line: 1 }
    }

    /// Returns the line that is read next, from 1.
    pub(super) fn line(&self) -> u32 {
        self.line
    }

    /// Returns the next piece and the line that it begins in, or `None` at the end of the text.
    ///
    /// # Errors
    /// A quote that is not closed, or what may not follow one, with its line.
    pub(super) fn next(&mut self) -> Result<Option<(Token, u32)>, (String, u32)> {
        self.skip_blank();
        let line = self.line;
        let token = match self.peek() {
            None => return Ok(None),
            Some(';') => self.take(Token::End),
            Some('{') => self.take(Token::Open),
            Some('}') => self.take(Token::Close),
            Some(quote @ ('"' | '\'')) => Token::Word(self.quoted(quote).map_err(|reason| (reason, line))?),
            Some(_) => Token::Word(self.bare()),
        };
        Ok(Some((token, line)))
    }

    /// Skips a block of another language, whose `{` was just read, to behind its `}`.
    ///
    /// # Errors
    /// If the block does not end.
    pub(super) fn skip_foreign_block(&mut self) -> Result<(), String> {
        let mut depth = 1_u32;
        let mut quote = None;
        while let Some(character) = self.bump() {
            match (quote, character) {
                (Some(_), '\\') => {
                    self.bump();
                }
                (Some(open), _) if open == character => quote = None,
                (None, '"' | '\'') => quote = Some(character),
                (None, '{') => depth = depth.saturating_add(1),
                (None, '}') => {
                    depth -= 1;
                    if depth == 0 {
                        return Ok(());
                    }
                }
                _ => (),
            }
        }
        Err("the block does not end".to_owned())
    }

    fn take(&mut self, token: Token) -> Token {
        self.bump();
        token
    }

    fn skip_blank(&mut self) {
        while let Some(character) = self.peek() {
            if character == '#' {
                while self.peek().is_some_and(|character| character != '\n') {
                    self.bump();
                }
            } else if is_blank(character) {
                self.bump();
            } else {
                return;
            }
        }
    }

    fn quoted(&mut self, quote: char) -> Result<String, String> {
        self.bump();
        let mut text = String::new();
        loop {
            match self.bump() {
                None => return Err(format!("a text in {quote} does not end")),
                Some('\\') => self.escape(&mut text),
                Some(character) if character == quote => break,
                Some(character) => text.push(character),
            }
        }
        match self.peek() {
            // nginx takes `)` for the begin of a next word, for `if ($a = "b")`.
            None | Some(';' | '{' | ')') => Ok(text),
            Some(character) if is_blank(character) => Ok(text),
            Some(character) => Err(format!("unexpected {character:?} behind a text in quotes")),
        }
    }

    fn bare(&mut self) -> String {
        let mut text = String::new();
        let mut after_dollar = false;
        while let Some(character) = self.peek() {
            if is_blank(character) || character == ';' || (character == '{' && !after_dollar) {
                break;
            }
            self.bump();
            after_dollar = character == '$';
            match character {
                '\\' => self.escape(&mut text),
                _ => text.push(character),
            }
        }
        text
    }

    /// Carries out an escape whose backslash was just read. One that nginx does not know stays as it is, so that
    /// regular expressions need no second backslash.
    fn escape(&mut self, text: &mut String) {
        match self.bump() {
            Some(character @ ('"' | '\'' | '\\')) => text.push(character),
            Some('t') => text.push('\t'),
            Some('r') => text.push('\r'),
            Some('n') => text.push('\n'),
            Some(character) => text.extend(['\\', character]),
            None => text.push('\\'),
        }
    }

    fn peek(&self) -> Option<char> {
        self.rest.chars().next()
    }

    fn bump(&mut self) -> Option<char> {
        let mut characters = self.rest.chars();
        let character = characters.next()?;
        self.rest = characters.as_str();
        if character == '\n' {
            self.line = self.line.saturating_add(1);
        }
        Some(character)
    }
}

fn is_blank(character: char) -> bool {
    matches!(character, ' ' | '\t' | '\r' | '\n')
}
