//! As much of Markdown as the checks need: code blocks, links, headings.

use std::collections::BTreeSet;

/// A fenced code block.
#[derive(Debug)]
pub(super) struct Block<'a> {
    /// The line of its opening fence, from 1.
    pub(super) line: usize,
    /// The first word after the fence.
    pub(super) language: &'a str,
    /// Whether the second word is `complete`.
    pub(super) is_complete: bool,
    /// What is inside.
    pub(super) text: String,
}

/// The fenced code blocks of a document.
pub(super) fn blocks(document: &str) -> Vec<Block<'_>> {
    let (mut blocks, mut open): (Vec<Block<'_>>, Option<Block<'_>>) = (Vec::new(), None);
    for (at, line) in document.lines().enumerate() {
        match (line.trim_start().strip_prefix("```"), &mut open) {
            (Some(info), None) => {
                let mut words = info.split_whitespace();
                let language = words.next().unwrap_or("");
                let is_complete = words.next() == Some("complete");
                open = Some(Block { line: at + 1, language, is_complete, text: String::new() });
            }
            (Some(_), Some(_)) => blocks.extend(open.take()),
            (None, Some(block)) => {
                block.text.push_str(line);
                block.text.push('\n');
            }
            (None, None) => {}
        }
    }
    blocks.extend(open);
    blocks
}

/// The lines outside of code blocks, with their numbers from 1.
fn prose(document: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut inside = false;
    document.lines().enumerate().filter_map(move |(at, line)| {
        let fence = line.trim_start().starts_with("```");
        inside ^= fence;
        (!inside && !fence).then_some((at + 1, line))
    })
}

/// The names of tests in the last column of tables, with their lines: code that has `::`, or a colon and a space.
pub(super) fn tests(document: &str) -> Vec<(usize, &str)> {
    let mut tests = Vec::new();
    for (line, text) in prose(document).filter(|(_, text)| text.starts_with('|')) {
        let column = text.trim_end_matches('|').rsplit(" | ").next().unwrap_or("");
        let code = column.split('`').skip(1).step_by(2);
        tests.extend(code.filter(|code| code.contains("::") || code.contains(": ")).map(|code| (line, code)));
    }
    tests
}

/// The targets of inline links, with their lines.
pub(super) fn links(document: &str) -> Vec<(usize, &str)> {
    let mut links = Vec::new();
    for (line, text) in prose(document) {
        // Only what is outside of `code`; a link whose text is code still ends outside of it.
        for piece in text.split('`').step_by(2) {
            let targets = piece.split("](").skip(1).filter_map(|rest| rest.split(')').next());
            // [text](target "title")
            links.extend(
                targets.filter_map(|target| target.split_whitespace().next()).map(|target| (line, target)),
            );
        }
    }
    links
}

/// What a link can name in a document: its headings as GitHub spells them in addresses.
pub(super) fn anchors(document: &str) -> BTreeSet<String> {
    let mut anchors = BTreeSet::new();
    for (_, line) in prose(document) {
        let heading = line.trim_start_matches('#');
        if heading.len() == line.len() || !heading.starts_with(' ') {
            continue;
        }
        let slug: String = heading.trim().to_lowercase().chars().filter_map(slug_character).collect();
        let repeated = (1..).map(|count| format!("{slug}-{count}"));
        let free = std::iter::once(slug.clone()).chain(repeated).find(|slug| !anchors.contains(slug));
        anchors.extend(free);
    }
    anchors
}

fn slug_character(c: char) -> Option<char> {
    match c {
        ' ' => Some('-'),
        c if c.is_alphanumeric() || c == '-' || c == '_' => Some(c),
        _ => None,
    }
}
