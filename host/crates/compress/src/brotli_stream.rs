//! Brotli, which its crate offers in the manner of C.

use brotli::enc::StandardAlloc;
use brotli::enc::encode::{BrotliEncoderOperation, BrotliEncoderParameter, BrotliEncoderStateStruct};
use brotli::{BrotliDecompressStream, BrotliResult, BrotliState};

/// Encodes.
pub(crate) struct BrotliEncoder(BrotliEncoderStateStruct<StandardAlloc>);

impl BrotliEncoder {
    pub(crate) fn new(quality: u32, window_bits: u32, length: Option<u64>) -> Self {
        let mut state = BrotliEncoderStateStruct::new(StandardAlloc::default());
        state.set_parameter(BrotliEncoderParameter::BROTLI_PARAM_QUALITY, quality);
        state.set_parameter(BrotliEncoderParameter::BROTLI_PARAM_LGWIN, window_bits);
        if let Some(length) = length {
            let hint = u32::try_from(length).unwrap_or(u32::MAX >> 2);
            state.set_parameter(BrotliEncoderParameter::BROTLI_PARAM_SIZE_HINT, hint);
        }
        Self(state)
    }

    /// Takes in some of `input`, and returns how much, and how many bytes of `output` were written. `None` if it
    /// failed.
    pub(crate) fn process(&mut self, input: &[u8], output: &mut [u8]) -> Option<(usize, usize)> {
        self.run(BrotliEncoderOperation::BROTLI_OPERATION_PROCESS, input, output)
    }

    /// Writes what is held back, and the end if the body `ends`. Returns how many bytes of `output` were written, and
    /// whether that is all. `None` if it failed.
    pub(crate) fn drain(&mut self, output: &mut [u8], ends: bool) -> Option<(usize, bool)> {
        let operation = match ends {
            true => BrotliEncoderOperation::BROTLI_OPERATION_FINISH,
            false => BrotliEncoderOperation::BROTLI_OPERATION_FLUSH,
        };
        let (_, written) = self.run(operation, &[], output)?;
        let is_done = if ends { self.0.is_finished() } else { !self.0.has_more_output() };
        (is_done || written > 0).then_some((written, is_done))
    }

    fn run(
        &mut self,
        operation: BrotliEncoderOperation,
        input: &[u8],
        output: &mut [u8],
    ) -> Option<(usize, usize)> {
        let (mut input_left, mut output_left) = (input.len(), output.len());
        let (mut read, mut written) = (0, 0);
        let done = self.0.compress_stream(
            operation,
            &mut input_left,
            input,
            &mut read,
            &mut output_left,
            output,
            &mut written,
            &mut None,
            &mut |_, _, _, _| (),
        );
        done.then_some((read, written))
    }
}

/// Decodes.
pub(crate) struct BrotliDecoder(BrotliState<StandardAlloc, StandardAlloc, StandardAlloc>);

/// What a call of the decoder did.
pub(crate) struct Decoded {
    pub(crate) read: usize,
    pub(crate) written: usize,
    /// The body is complete.
    pub(crate) ended: bool,
}

impl BrotliDecoder {
    pub(crate) fn new() -> Self {
        let alloc = StandardAlloc::default;
        // Strict: without windows of more than 16 MiB.
        Self(BrotliState::new_strict(alloc(), alloc(), alloc()))
    }

    /// Decodes some of `input`. `None` if it is not valid.
    pub(crate) fn decode(&mut self, input: &[u8], output: &mut [u8]) -> Option<Decoded> {
        let (mut input_left, mut output_left) = (input.len(), output.len());
        let (mut read, mut written, mut total) = (0, 0, 0);
        let result = BrotliDecompressStream(
            &mut input_left,
            &mut read,
            input,
            &mut output_left,
            &mut written,
            output,
            &mut total,
            &mut self.0,
        );
        match result {
            BrotliResult::ResultFailure => None,
            BrotliResult::ResultSuccess => Some(Decoded { read, written, ended: true }),
            BrotliResult::NeedsMoreInput | BrotliResult::NeedsMoreOutput => {
                Some(Decoded { read, written, ended: false })
            }
        }
    }
}
