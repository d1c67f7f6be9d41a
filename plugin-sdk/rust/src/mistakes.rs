//! What is wrong with a configuration, each mistake at its place.

use std::fmt::{self, Display, Write as _};

/// Mistakes that are kept: with more, the settings are probably meant for another policy.
const KEPT_MAX: usize = 100;

/// Mistakes in a policy's settings, for `configure` to return. The gateway shows each of them at its line of the
/// operator's file.
///
/// ```
/// use portcullis_sdk::{Mistakes, prelude::*, testing::MockGateway};
///
/// #[derive(Config)]
/// struct Settings {
///     ports: Vec<u16>,
/// }
///
/// struct Ports(Vec<u16>);
///
/// #[policy(name = "ports", description = "Knows ports.")]
/// impl Ports {
///     fn configure(settings: Settings) -> Result<Self, Mistakes> {
///         let mut mistakes = Mistakes::new();
///         for (at, port) in settings.ports.iter().enumerate().filter(|(_, port)| **port == 0) {
///             mistakes.add(format!("/ports/{at}"), format!("{port} is no port; write 1 to 65535"));
///         }
///         mistakes.or(Self(settings.ports))
///     }
/// }
///
/// let refused = MockGateway::new().configure::<Ports>(r#"{"ports": [0, 80, 0]}"#).err();
/// let expected = "/ports/0: 0 is no port; write 1 to 65535\n/ports/2: 0 is no port; write 1 to 65535";
/// assert_eq!(refused.as_deref(), Some(expected));
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Mistakes(Vec<(String, String)>);

impl Mistakes {
    /// None so far.
    ///
    /// ```
    /// assert!(portcullis_sdk::Mistakes::new().is_empty());
    /// ```
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds one. `pointer` is the JSON pointer (RFC 6901) of the value in the settings, such as `/keys/0/name`, or
    /// empty for the settings as a whole. The text after the first `; ` is shown as help.
    ///
    /// ```
    /// let mut mistakes = portcullis_sdk::Mistakes::new();
    /// mistakes.add("/rate", "it is 0; write at least 1");
    /// assert_eq!(mistakes.to_string(), "/rate: it is 0; write at least 1");
    /// ```
    pub fn add(&mut self, pointer: impl Into<String>, text: impl Display) {
        if self.0.len() < KEPT_MAX {
            // One line each.
            let text = text.to_string().replace(['\r', '\n'], " ");
            self.0.push((pointer.into(), text));
        }
    }

    /// Takes the value of `result`, or adds its error.
    ///
    /// ```
    /// let mut mistakes = portcullis_sdk::Mistakes::new();
    /// assert_eq!(mistakes.take("/port", "x".parse::<u16>()), None);
    /// assert!(!mistakes.is_empty());
    /// ```
    pub fn take<T>(&mut self, pointer: impl Into<String>, result: Result<T, impl Display>) -> Option<T> {
        result.map_err(|error| self.add(pointer, error)).ok()
    }

    /// Whether there are none.
    ///
    /// ```
    /// assert!(portcullis_sdk::Mistakes::new().is_empty());
    /// ```
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// `value`, if there are none.
    ///
    /// # Errors
    /// The mistakes.
    ///
    /// ```
    /// assert_eq!(portcullis_sdk::Mistakes::new().or(1), Ok(1));
    /// ```
    pub fn or<T>(self, value: T) -> Result<T, Self> {
        if self.is_empty() { Ok(value) } else { Err(self) }
    }
}

/// One mistake on each line: the pointer, `: `, and the text.
impl Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, (pointer, text)) in self.0.iter().enumerate() {
            if at > 0 {
                f.write_char('\n')?;
            }
            // The settings as a whole are the root, whose pointer is empty.
            let pointer = if pointer.is_empty() { "/" } else { pointer };
            write!(f, "{pointer}: {text}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Mistakes {}

/// A single mistake of the settings as a whole.
impl From<String> for Mistakes {
    fn from(text: String) -> Self {
        let mut mistakes = Self::new();
        mistakes.add("", text);
        mistakes
    }
}
