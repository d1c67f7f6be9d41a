//! The encoders of one thread: at most so many at a time, and a few that are kept for the next body.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use portcullis_model::{Coding, Effort};

use crate::{EncodeError, Encoder};

/// Encoders that are kept without a body. They save what it costs to make one, which bodies of some KiB feel.
const IDLE_MAX: usize = 8;

/// The encoders of one thread. Clones are the same pool.
#[derive(Debug, Clone, Default)]
pub struct Pool(Rc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    in_use: Cell<usize>,
    idle: RefCell<Vec<Encoder>>,
}

/// An encoder of a pool, which gets it back.
#[derive(Debug)]
pub struct Pooled {
    /// `None` only while this is dropped.
    encoder: Option<Encoder>,
    pool: Pool,
}

impl Pool {
    /// Returns an encoder for a body of `length` bytes, if that is known; `None` if `max` of them are in use.
    ///
    /// # Errors
    /// If there is no memory for it.
    pub fn encoder(
        &self,
        coding: Coding,
        effort: Effort,
        length: Option<u64>,
        max: usize,
    ) -> Result<Option<Pooled>, EncodeError> {
        if self.0.in_use.get() >= max {
            return Ok(None);
        }
        let mut idle = self.0.idle.borrow_mut();
        let is_alike = |encoder: &Encoder| encoder.coding() == coding && encoder.effort() == effort;
        let kept = idle.iter().position(is_alike).map(|at| idle.swap_remove(at));
        let encoder = match kept.and_then(|encoder| encoder.again(length)) {
            Some(encoder) => encoder,
            None => Encoder::new(coding, effort, length)?,
        };
        self.0.in_use.set(self.0.in_use.get() + 1);
        Ok(Some(Pooled { encoder: Some(encoder), pool: self.clone() }))
    }

    /// Returns how many encoders are in use.
    #[must_use]
    pub fn in_use(&self) -> usize {
        self.0.in_use.get()
    }
}

impl std::ops::Deref for Pooled {
    type Target = Encoder;

    fn deref(&self) -> &Encoder {
        self.encoder.as_ref().expect("it is taken only when this is dropped")
    }
}

impl std::ops::DerefMut for Pooled {
    fn deref_mut(&mut self) -> &mut Encoder {
        self.encoder.as_mut().expect("it is taken only when this is dropped")
    }
}

impl Drop for Pooled {
    fn drop(&mut self) {
        let Shared { in_use, idle } = &*self.pool.0;
        in_use.set(in_use.get().saturating_sub(1));
        let mut idle = idle.borrow_mut();
        if let Some(encoder) = self.encoder.take()
            && encoder.coding() != Coding::Brotli
            && idle.len() < IDLE_MAX
        {
            idle.push(encoder);
        }
    }
}

#[cfg(test)]
mod tests {
    use portcullis_model::{Coding, Effort};

    use super::{IDLE_MAX, Pool};

    #[test]
    fn no_more_than_the_bound_are_in_use_and_few_are_kept() {
        let pool = Pool::default();
        let take = || pool.encoder(Coding::Gzip, Effort::Low, None, 20).unwrap();
        let taken: Vec<_> = std::iter::from_fn(take).collect();
        assert_eq!((taken.len(), pool.in_use()), (20, 20));
        drop(taken);
        assert_eq!((pool.in_use(), pool.0.idle.borrow().len()), (0, IDLE_MAX));
        assert!(take().is_some());
    }

    #[test]
    fn an_encoder_that_was_dropped_in_the_middle_begins_anew() {
        let pool = Pool::default();
        for coding in Coding::ALL {
            let mut whole = Vec::new();
            for cut in [true, false] {
                let mut encoder = pool.encoder(coding, Effort::Normal, Some(5), 1).unwrap().unwrap();
                let mut out = Vec::new();
                encoder.write(b"hello", &mut out).unwrap();
                if !cut {
                    encoder.finish(&mut out).unwrap();
                    whole = out;
                }
            }
            assert_eq!(crate::decode::tests::decoded(coding, &whole).unwrap(), b"hello", "{coding:?}");
        }
    }
}
