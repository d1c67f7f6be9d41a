//! How the disk is: what is counted, and what an operator hears of it.
//!
//! A failure is reported when it begins and when it is over, and not for each response that meets it.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use portcullis_model::Lock;

/// What does not work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failing {
    /// Reading files.
    Reads,
    /// Writing files.
    Writes,
    /// Answering in time.
    Answers,
}

/// Hears how the disk is. Called by the threads of the store and by those that ask it.
pub trait Watcher: fmt::Debug + Send + Sync {
    /// Something does not work any more.
    fn fails(&self, what: Failing, error: &io::Error);

    /// It works again.
    fn works(&self, what: Failing);
}

/// A disk that fails now and then is reported no more often than this.
const REPORT_EVERY: Duration = Duration::from_secs(60);

#[derive(Debug)]
pub(crate) struct Health {
    pub(crate) evictions: AtomicU64,
    pub(crate) damaged: AtomicU64,
    pub(crate) read_errors: AtomicU64,
    pub(crate) write_errors: AtomicU64,
    /// Reads and writes that did not happen because too much was waiting, and lookups that took too long.
    pub(crate) busy: AtomicU64,
    reads: Condition,
    writes: Condition,
    answers: Condition,
    last_error: Lock<Option<String>>,
    /// Whether the folder was given up: what fails from then on is no fault.
    over: AtomicBool,
    watcher: Arc<dyn Watcher>,
}

/// Whether something works.
#[derive(Debug, Default)]
struct Condition {
    /// 1 if it does not.
    fails: AtomicU64,
    reported: Lock<Reported>,
}

#[derive(Debug, Default)]
struct Reported {
    /// When the last failure was reported.
    at: Option<Instant>,
    /// Whether its end has to be.
    open: bool,
}

impl Health {
    pub(crate) fn new(watcher: Arc<dyn Watcher>) -> Self {
        Self {
            evictions: AtomicU64::new(0),
            damaged: AtomicU64::new(0),
            read_errors: AtomicU64::new(0),
            write_errors: AtomicU64::new(0),
            busy: AtomicU64::new(0),
            reads: Condition::default(),
            writes: Condition::default(),
            answers: Condition::default(),
            last_error: Lock::default(),
            over: AtomicBool::new(false),
            watcher,
        }
    }

    /// Reports nothing any more: the folder was given up.
    pub(crate) fn end(&self) {
        self.over.store(true, Relaxed);
    }

    /// Returns whether all is well.
    pub(crate) fn is_good(&self) -> bool {
        [&self.reads, &self.writes, &self.answers].iter().all(|condition| condition.fails.load(Relaxed) == 0)
    }

    pub(crate) fn last_error(&self) -> Option<String> {
        self.last_error.lock().clone()
    }

    pub(crate) fn read_error(&self, error: &io::Error) {
        self.read_errors.fetch_add(1, Relaxed);
        *self.last_error.lock() = Some(format!("cannot read: {error}"));
        self.fails(Failing::Reads, error);
    }

    pub(crate) fn write_error(&self, error: &io::Error) {
        self.write_errors.fetch_add(1, Relaxed);
        *self.last_error.lock() = Some(format!("cannot write: {error}"));
        self.fails(Failing::Writes, error);
    }

    /// A lookup took too long.
    pub(crate) fn too_slow(&self, waited: Duration) {
        self.busy.fetch_add(1, Relaxed);
        let error = io::Error::new(io::ErrorKind::TimedOut, format!("no answer for {waited:?}"));
        self.fails(Failing::Answers, &error);
    }

    /// Too much was waiting.
    pub(crate) fn refused(&self) {
        self.busy.fetch_add(1, Relaxed);
    }

    fn condition(&self, what: Failing) -> &Condition {
        match what {
            Failing::Reads => &self.reads,
            Failing::Writes => &self.writes,
            Failing::Answers => &self.answers,
        }
    }

    fn fails(&self, what: Failing, error: &io::Error) {
        let condition = self.condition(what);
        if self.over.load(Relaxed) || condition.fails.swap(1, Relaxed) == 1 {
            return;
        }
        let report = {
            let mut reported = condition.reported.lock();
            let due = reported.at.is_none_or(|at| at.elapsed() >= REPORT_EVERY);
            if due {
                *reported = Reported { at: Some(Instant::now()), open: true };
            }
            due
        };
        if report {
            self.watcher.fails(what, error);
        }
    }

    /// Something has worked.
    pub(crate) fn works(&self, what: Failing) {
        let condition = self.condition(what);
        if condition.fails.load(Relaxed) == 0 || condition.fails.swap(0, Relaxed) == 0 {
            return;
        }
        let report = std::mem::take(&mut condition.reported.lock().open);
        if report {
            self.watcher.works(what);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Default)]
    struct Heard(Lock<Vec<&'static str>>);

    impl Watcher for Heard {
        fn fails(&self, what: Failing, _: &io::Error) {
            self.0.lock().push(if what == Failing::Writes { "writes fail" } else { "others fail" });
        }

        fn works(&self, _: Failing) {
            self.0.lock().push("works");
        }
    }

    #[test]
    fn a_failure_is_reported_once_and_so_is_its_end() {
        let heard = Arc::new(Heard::default());
        let health = Health::new(heard.clone());
        let full = io::Error::from(io::ErrorKind::StorageFull);
        health.works(Failing::Writes);
        for _ in 0..3 {
            health.write_error(&full);
        }
        assert!(!health.is_good());
        health.works(Failing::Writes);
        health.works(Failing::Writes);
        assert_eq!(*heard.0.lock(), ["writes fail", "works"]);
        // Soon after that nothing is said of the next one, nor of its end.
        health.write_error(&full);
        health.works(Failing::Writes);
        assert_eq!(heard.0.lock().len(), 2);
        assert!(health.is_good());
        health.too_slow(Duration::from_secs(1));
        assert_eq!(heard.0.lock().len(), 3);
        assert_eq!(health.write_errors.load(Relaxed), 4);
    }
}
