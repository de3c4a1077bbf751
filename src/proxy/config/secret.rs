use std::fmt;

/// What stands in the place of a secret that must not be printed. No URL may
/// hold its brackets, and it is too short for a secret: it is refused if what
/// was printed is read as it is.
pub(super) const HIDDEN: &str = "<hidden>";

/// A value that no log, error or `Debug` shows.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret<T> {
    value: T,
    shown: Option<String>,
}

impl<T> Secret<T> {
    /// Shown nowhere.
    pub fn new(value: T) -> Self {
        Self { value, shown: None }
    }

    /// With what a printed configuration may have in its place.
    pub(super) fn shown_as(value: T, shown: Option<String>) -> Self {
        Self { value, shown }
    }

    /// The value itself. Whoever asks sees to it that it goes nowhere else.
    pub fn expose(&self) -> &T {
        &self.value
    }

    /// What a printed configuration has in its place.
    pub(super) fn shown(&self) -> &str {
        self.shown.as_deref().unwrap_or(HIDDEN)
    }
}

impl<T> fmt::Debug for Secret<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.shown())
    }
}
