//! A body that is written and read by many threads at once.

use std::thread;

use bytes::Bytes;

use super::tools::{key, new_entry, read_all, store};

#[test]
fn all_readers_get_all_bytes_from_whenever_they_begin() {
    let body: Vec<u8> = (0..900_000_u32).map(|number| (number / 7) as u8).collect();
    for length in [None, Some(body.len() as u64)] {
        let store = store();
        let mut fill = store.begin(store.ticket(), new_entry(&key("/a"), b"", 1, &[], length)).unwrap();
        let entry = std::sync::Arc::clone(fill.entry());
        thread::scope(|scope| {
            let readers: Vec<_> = (0..6)
                .map(|number| {
                    let (entry, body) = (&entry, &body);
                    scope.spawn(move || {
                        while number > 3 && entry.body().len().is_none() {
                            thread::yield_now();
                        }
                        assert!(read_all(entry.body().read().unwrap()).unwrap() == *body);
                    })
                })
                .collect();
            let mut rest = &body[..];
            let mut size = 1;
            while !rest.is_empty() {
                let (piece, after) = rest.split_at(rest.len().min(size));
                fill.append(&Bytes::copy_from_slice(piece));
                (rest, size) = (after, size * 3 % 40_009 + 1);
            }
            fill.commit().unwrap();
            readers.into_iter().for_each(|reader| reader.join().unwrap());
        });
    }
}
