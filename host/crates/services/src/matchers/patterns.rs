//! Sets of patterns, matched by a lazy automaton.
//!
//! Text comes from clients, so matching must not take long whatever it is. An automaton takes one step for each byte,
//! but makes its states as it meets them, and each costs as much as the patterns are large; and if many patterns match
//! at one place, each of them is looked at. So the time is checked after states were made and after many patterns were
//! looked at. The crate `regex` cannot be stopped there, and falls back to a slower way instead.

use std::time::{Duration, Instant};

use portcullis_model::Lock;

use regex_automata::hybrid::LazyStateID;
use regex_automata::hybrid::dfa::{Cache, DFA};
use regex_automata::nfa::thompson::{self, WhichCaptures};
use regex_automata::util::start;
use regex_automata::util::syntax;
use regex_automata::{Anchored, MatchKind};

use super::error::{Error, MakeError};
use crate::cpu_time::{Stretches, thread_cpu_time, thread_cpu_time_at};

/// Bytes of a set that is compiled.
const COMPILED_BYTES_MAX: usize = 1 << 20;
/// Bytes of the states that one thread keeps of a set.
const STATES_BYTES_MAX: usize = 2 << 20;
/// CPU time of one call, beside the longest stretch between two looks: see [`Stretches`].
const TIME_MAX: Duration = Duration::from_millis(5);
/// Bytes between two looks at whether states were made; fewer if making one takes long.
const STEPS: usize = 16;
/// What to make a state costs grows with the states of all patterns as they were compiled. Those of one look together
/// cost as much as this many.
const STATES_BETWEEN_LOOKS: usize = 16 << 10;
/// Patterns of a set: what each takes beside its text is bounded by this.
const PATTERNS_MAX: usize = 64 << 10;
/// Patterns that have matched somewhere, between two looks at the time.
const LOOKS: usize = 4096;

/// A set of patterns.
pub(super) struct Patterns {
    dfa: DFA,
    /// States that were made, for as many threads as have matched at once.
    caches: Lock<Vec<Cache>>,
    count: usize,
    /// Bytes between two looks at whether states were made.
    steps: usize,
}

impl Patterns {
    pub(super) fn compile(patterns: &[String]) -> Result<Self, MakeError> {
        let bytes = patterns.iter().map(String::len).sum::<usize>();
        if bytes > COMPILED_BYTES_MAX || patterns.len() > PATTERNS_MAX {
            return Err(MakeError::TooLarge);
        }
        let bytes = syntax::Config::new().unicode(false).utf8(false);
        let mut parsed = Vec::with_capacity(patterns.len());
        for (at, pattern) in patterns.iter().enumerate() {
            let hir = syntax::parse_with(pattern, &bytes);
            parsed.push(
                hir.map_err(|error| MakeError::Malformed(format!("pattern {at}: {}", summary(&error))))?,
            );
        }
        let config = thompson::Config::new()
            .utf8(false)
            .which_captures(WhichCaptures::None)
            .nfa_size_limit(Some(COMPILED_BYTES_MAX));
        let nfa = thompson::Compiler::new().configure(config).build_many_from_hir(&parsed);
        let nfa = nfa.map_err(|error| match error.size_limit() {
            Some(_) => MakeError::TooLarge,
            None => MakeError::Malformed(error.to_string()),
        })?;
        if nfa.look_set_any().contains_word_unicode() {
            return Err(MakeError::Malformed("word boundaries of Unicode are not to be had here".to_owned()));
        }
        let config = DFA::config()
            .match_kind(MatchKind::All)
            .cache_capacity(STATES_BYTES_MAX)
            // It never gives up by itself.
            .minimum_cache_clear_count(None);
        let dfa = DFA::builder().configure(config).build_from_nfa(nfa);
        // Nothing else is left but that its states do not fit.
        let dfa = dfa.map_err(|_| MakeError::TooLarge)?;
        let steps = (STATES_BETWEEN_LOOKS / dfa.get_nfa().states().len().max(1)).clamp(1, STEPS);
        Ok(Self { dfa, caches: Lock::default(), count: patterns.len(), steps })
    }

    /// Bytes that it takes, with the states of one thread.
    pub(super) fn bytes(&self) -> usize {
        self.dfa.memory_usage() + self.dfa.get_nfa().memory_usage() + STATES_BYTES_MAX
    }

    pub(super) fn is_match(&self, text: &[u8]) -> Result<bool, Error> {
        let mut found = false;
        self.walk(text, |_, _| {
            found = true;
            None
        })?;
        Ok(found)
    }

    pub(super) fn matches(&self, text: &[u8]) -> Result<Vec<u32>, Error> {
        let mut found = vec![false; self.count];
        let mut left = self.count;
        let mut last = None;
        self.walk(text, |cache, state| {
            // The same state again says nothing new. After it was cleared, the cache gives numbers anew.
            if last.replace((cache.clear_count(), state)) == Some((cache.clear_count(), state)) {
                return Some(0);
            }
            let matched = self.dfa.match_len(cache, state);
            for at in 0..matched {
                let pattern = self.dfa.match_pattern(cache, state, at).as_usize();
                if let Some(found) = found.get_mut(pattern)
                    && !std::mem::replace(found, true)
                {
                    left -= 1;
                }
            }
            (left > 0).then_some(matched)
        })?;
        Ok((0..).zip(found).filter_map(|(pattern, found)| found.then_some(pattern)).collect())
    }

    /// Goes through the text and shows each state in which a pattern has matched, until there is no need for more.
    /// `on_match` says how many patterns it has looked at, or that it has seen enough.
    fn walk(
        &self,
        text: &[u8],
        on_match: impl FnMut(&Cache, LazyStateID) -> Option<usize>,
    ) -> Result<(), Error> {
        let kept = self.lock().pop();
        let mut cache = kept.unwrap_or_else(|| self.dfa.create_cache());
        let result = self.walk_with(&mut cache, text, on_match);
        self.lock().push(cache);
        result
    }

    fn walk_with(
        &self,
        cache: &mut Cache,
        text: &[u8],
        mut on_match: impl FnMut(&Cache, LazyStateID) -> Option<usize>,
    ) -> Result<(), Error> {
        let costly = |_| Error::TooCostly;
        // What the first states cost counts as well.
        let mut time = Stretches::begin(thread_cpu_time_at(Instant::now()));
        // Nothing stands before the text.
        let from = start::Config::new().anchored(Anchored::No);
        let mut state = self.dfa.start_state(cache, &from).map_err(|_| Error::TooCostly)?;
        let mut made = (cache.clear_count(), cache.memory_usage());
        let mut looked = 0;
        for steps in text.chunks(self.steps) {
            for byte in steps {
                state = self.dfa.next_state(cache, state, *byte).map_err(costly)?;
                if !state.is_tagged() {
                    continue;
                }
                if state.is_match() {
                    let Some(more) = on_match(cache, state) else { return Ok(()) };
                    looked += more;
                }
                if state.is_dead() {
                    return Ok(());
                }
            }
            let now_made = (cache.clear_count(), cache.memory_usage());
            if now_made != made || looked >= LOOKS {
                (made, looked) = (now_made, 0);
                if time.look(thread_cpu_time()) > TIME_MAX {
                    return Err(Error::TooCostly);
                }
            }
        }
        state = self.dfa.next_eoi_state(cache, state).map_err(costly)?;
        if state.is_match() {
            on_match(cache, state);
        }
        Ok(())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Cache>> {
        self.caches.lock()
    }
}

/// The parser draws a picture of several lines, of which the last one says what is wrong.
fn summary(error: &impl ToString) -> String {
    let text = error.to_string();
    let last = text.lines().last().unwrap_or_default();
    last.strip_prefix("error: ").unwrap_or(last).to_owned()
}
