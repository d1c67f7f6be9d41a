//! Bytes from the operating system's generator.

/// What one call of a policy may ask for.
const BYTES_MAX: u32 = 4096;

/// The operating system gives no random bytes, and why.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the operating system gives no random bytes: {0}")]
pub struct NoRandom(pub String);

/// Why a policy gets no random bytes.
#[derive(Debug, Clone)]
pub enum DrawError {
    /// It asked for more than 4,096.
    TooMany,
    /// The operating system gives none, and why.
    Unavailable(String),
}

/// Returns `count` random bytes.
///
/// # Errors
/// [`NoRandom`].
pub fn bytes(count: usize) -> Result<Vec<u8>, NoRandom> {
    let mut bytes = vec![0; count];
    fill(&mut bytes)?;
    Ok(bytes)
}

/// Fills `bytes` with random ones.
///
/// # Errors
/// [`NoRandom`].
pub fn fill(bytes: &mut [u8]) -> Result<(), NoRandom> {
    getrandom::fill(bytes).map_err(|error| NoRandom(error.to_string()))
}

/// Returns as many random bytes as a policy asks for in one call.
///
/// # Errors
/// When it asks for too many, and when there are none.
pub fn draw(count: u32) -> Result<Vec<u8>, DrawError> {
    if count > BYTES_MAX {
        return Err(DrawError::TooMany);
    }
    bytes(count as usize).map_err(|NoRandom(why)| DrawError::Unavailable(why))
}
