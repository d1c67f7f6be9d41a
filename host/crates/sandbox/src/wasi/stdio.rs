//! Logs what a guest writes, line by line.

use serde_json::{Value, json};
use wasmtime::Result;

use crate::component::bindings::portcullis::policy::log::Level;
use crate::instance::output::Output;
use crate::instance::state::State;

impl State {
    /// Takes what a guest wrote and logs the lines that are whole. Looks at the time after each: there may be as many
    /// as bytes.
    pub(crate) fn print(&mut self, output: Output, mut bytes: &[u8]) -> Result<()> {
        while !bytes.is_empty() {
            self.budget.check()?;
            let Some(line) = self.stdio.take_line(output, &mut bytes) else { return Ok(()) };
            let text = String::from_utf8_lossy(&line);
            if let Some(recorder) = self.recorder() {
                let function = match output {
                    Output::Stdout => "wasi.stdout",
                    Output::Stderr => "wasi.stderr",
                };
                recorder.note(function, json!({ "line": text }), Value::Null, false);
            }
            match output {
                Output::Stdout => self.write_log(Level::Info, &text, ""),
                Output::Stderr => {
                    self.stdio.remember(&text);
                    self.write_log(Level::Warn, &text, "");
                }
            }
        }
        Ok(())
    }
}
