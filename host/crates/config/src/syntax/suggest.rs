//! What was probably meant, and how the operator's text is shown in messages.

/// The candidate that is nearest to `word`, if one is near enough to be a slip of the keys.
pub(crate) fn did_you_mean<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // Comparing is quadratic; what is longer than any key is no slip of one.
    if word.len() > 100 {
        return None;
    }
    let lower = word.to_ascii_lowercase().replace('_', "-");
    let near = candidates.into_iter().filter_map(|candidate| {
        let distance = strsim::damerau_levenshtein(&lower, &candidate.to_ascii_lowercase().replace('_', "-"));
        let bound = (lower.chars().count().max(candidate.chars().count()) / 3).max(1);
        // With all letters wrong, two short words are near without being alike.
        let alike = distance <= bound && distance < candidate.chars().count();
        alike.then_some((distance, candidate))
    });
    near.min_by_key(|(distance, _)| *distance).map(|(_, candidate)| candidate)
}

/// `a, b, c`, cut if it is long.
pub(crate) fn list<S: AsRef<str>>(words: &[S]) -> String {
    const SHOWN: usize = 20;
    let shown: Vec<&str> = words.iter().take(SHOWN).map(AsRef::as_ref).collect();
    match words.len().saturating_sub(SHOWN) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

/// `text`, cut if it is long.
pub(crate) fn shown(text: &str) -> String {
    const SHOWN: usize = 80;
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}...", text.get(..end).unwrap_or("")),
        None => text.to_owned(),
    }
}
