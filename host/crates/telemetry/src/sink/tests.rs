use std::io::{self, Write};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::{Loss, OtherOutput, Output, Sink};

const LONG: Duration = Duration::from_secs(10);

/// Takes a piece only when it is let to, and says when it is asked.
#[derive(Debug)]
struct Gate {
    asked: SyncSender<()>,
    go: Receiver<io::Result<()>>,
    written: Arc<Mutex<Vec<u8>>>,
}

impl Write for Gate {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.asked.send(()).unwrap();
        self.go.recv().unwrap()?;
        self.written.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl OtherOutput for Gate {}

fn tell(loss: Loss) -> Option<Vec<u8>> {
    Some(
        format!("lost {} {}\n", loss.lines, loss.error.map_or_else(String::new, |e| e.to_string()))
            .into_bytes(),
    )
}

#[test]
fn a_reader_that_stands_still_costs_lines_and_never_time() {
    let ((asked, asks), (goes, go)) = (sync_channel(100), sync_channel(100));
    let written = Arc::new(Mutex::new(Vec::new()));
    let gate = Gate { asked, go, written: Arc::clone(&written) };
    let sink = Sink::start("test", Output::Other(Box::new(gate)), 2, tell).unwrap();
    sink.send(b"1\n".to_vec(), 1);
    asks.recv_timeout(LONG).unwrap();
    // The thread writes the first; two wait; there is no room for more.
    for (line, lines) in [(b"2\n", 1), (b"3\n", 1), (b"4\n", 3), (b"5\n", 4)] {
        sink.send(line.to_vec(), lines);
    }
    assert!(!sink.sync(Duration::from_millis(5)));
    for _ in 0..10 {
        goes.send(Ok(())).unwrap();
    }
    assert!(sink.sync(LONG));
    assert_eq!(String::from_utf8_lossy(&written.lock().unwrap()), "1\nlost 7 \n2\n3\n");
}

#[test]
fn a_failed_write_is_told_of_and_the_next_one_is_made() {
    let ((asked, _asks), (goes, go)) = (sync_channel(100), sync_channel(100));
    let written = Arc::new(Mutex::new(Vec::new()));
    let gate = Gate { asked, go, written: Arc::clone(&written) };
    let sink = Sink::start("test", Output::Other(Box::new(gate)), 100, tell).unwrap();
    goes.send(Err(io::Error::other("full"))).unwrap();
    for _ in 0..10 {
        goes.send(Ok(())).unwrap();
    }
    sink.send(b"1\n".to_vec(), 1);
    sink.send(b"2\n".to_vec(), 1);
    assert!(sink.sync(LONG));
    assert_eq!(String::from_utf8_lossy(&written.lock().unwrap()), "lost 1 full\n2\n");
}
