//! The readers of a growing body, and how far each is.

use std::task::Waker;

/// The readers of a growing body.
#[derive(Debug, Default)]
pub(crate) struct Readers {
    places: Vec<Option<Place>>,
    free: Vec<usize>,
}

#[derive(Debug, Default)]
struct Place {
    at: u64,
    waker: Option<Waker>,
}

impl Readers {
    pub(crate) fn add(&mut self, at: u64) -> usize {
        let place = Some(Place { at, waker: None });
        match self.free.pop() {
            Some(free) => {
                self.places[free] = place;
                free
            }
            None => {
                self.places.push(place);
                self.places.len() - 1
            }
        }
    }

    pub(crate) fn remove(&mut self, place: usize) {
        if self.places[place].take().is_some() {
            self.free.push(place);
        }
    }

    pub(crate) fn wait(&mut self, place: usize, waker: &Waker) {
        if let Some(place) = &mut self.places[place] {
            match &mut place.waker {
                Some(before) => before.clone_from(waker),
                none => *none = Some(waker.clone()),
            }
        }
    }

    pub(crate) fn moved(&mut self, place: usize, at: u64) {
        if let Some(place) = &mut self.places[place] {
            place.at = at;
        }
    }

    pub(crate) fn slowest(&self) -> Option<u64> {
        self.places.iter().flatten().map(|place| place.at).min()
    }

    pub(crate) fn fastest(&self) -> Option<u64> {
        self.places.iter().flatten().map(|place| place.at).max()
    }

    pub(crate) fn waiting(&mut self) -> Vec<Waker> {
        self.places.iter_mut().flatten().filter_map(|place| place.waker.take()).collect()
    }
}
