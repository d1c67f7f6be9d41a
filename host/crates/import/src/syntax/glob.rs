//! Patterns of file names, as in `include conf.d/*.conf`.

/// Returns whether a name, without folders, fits a pattern with `*`, `?` and `[...]`, as glob(3) has it: a dot at the
/// begin of a name is matched by a dot alone.
#[must_use]
pub fn matches(pattern: &str, name: &str) -> bool {
    if name.starts_with('.') && !pattern.starts_with('.') {
        return false;
    }
    let (pattern, name): (Vec<char>, Vec<char>) = (pattern.chars().collect(), name.chars().collect());
    let (mut p, mut n) = (0, 0);
    // The place to go on from if what follows the last `*` does not fit.
    let mut retry: Option<(usize, usize)> = None;
    while n < name.len() {
        if pattern.get(p) == Some(&'*') {
            retry = Some((p, n));
            p += 1;
        } else if let Some(after) = one(&pattern, p, name[n]) {
            p = after;
            n += 1;
        } else if let Some((star, taken)) = retry {
            retry = Some((star, taken + 1));
            p = star + 1;
            n = taken + 1;
        } else {
            return false;
        }
    }
    pattern[p..].iter().all(|character| *character == '*')
}

/// Returns the place behind the part of the pattern at `at`, if that part takes the character.
fn one(pattern: &[char], at: usize, character: char) -> Option<usize> {
    match pattern.get(at)? {
        '?' => Some(at + 1),
        '[' => class(pattern, at, character),
        '\\' if at + 1 < pattern.len() => (pattern[at + 1] == character).then_some(at + 2),
        literal => (*literal == character).then_some(at + 1),
    }
}

fn class(pattern: &[char], at: usize, character: char) -> Option<usize> {
    let negated = matches!(pattern.get(at + 1), Some('!' | '^'));
    let first = at + 1 + usize::from(negated);
    // A `]` at the begin stands for itself. A class without an end is a bracket.
    let behind = pattern.get(first + 1..).unwrap_or_default();
    let Some(length) = behind.iter().position(|character| *character == ']') else {
        return (character == '[').then_some(at + 1);
    };
    let end = first + 1 + length;
    let mut found = false;
    let mut i = first;
    while i < end {
        if i + 2 < end && pattern[i + 1] == '-' {
            found |= (pattern[i]..=pattern[i + 2]).contains(&character);
            i += 3;
        } else {
            found |= pattern[i] == character;
            i += 1;
        }
    }
    (found != negated).then_some(end + 1)
}
