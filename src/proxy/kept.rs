//! What outlives a configuration, where the next one has it too.

use std::collections::BTreeMap;
use std::fmt;

/// Things by what makes them the same in the next configuration. They are
/// handed out as clones, so they have to be handles.
pub(crate) struct Kept<T> {
    /// Of the configuration before; none once this one is in force.
    before: BTreeMap<String, T>,
    current: BTreeMap<String, T>,
}

impl<T: Clone> Kept<T> {
    /// For the next configuration: empty, but for what it may take over.
    pub(crate) fn next(&self) -> Self {
        Self {
            before: self.current.clone(),
            current: BTreeMap::new(),
        }
    }

    /// The one there is, or was before, or else a new one.
    pub(crate) fn get<E>(
        &mut self,
        key: String,
        new: impl FnOnce() -> Result<T, E>,
    ) -> Result<T, E> {
        let known = self.current.get(&key).or_else(|| self.before.get(&key));
        let value = match known {
            Some(value) => value.clone(),
            None => new()?,
        };
        self.current.insert(key, value.clone());
        Ok(value)
    }

    /// Forgets what was not taken over.
    pub(crate) fn settle(&mut self) {
        self.before.clear();
    }
}

impl<T> Default for Kept<T> {
    fn default() -> Self {
        Self {
            before: BTreeMap::new(),
            current: BTreeMap::new(),
        }
    }
}

impl<T> fmt::Debug for Kept<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The keys may hold addresses with credentials.
        f.debug_struct("Kept")
            .field("current", &self.current.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    #[test]
    fn what_the_next_one_has_too_is_the_same_and_the_rest_is_forgotten() {
        let mut made = 0;
        let mut get = |kept: &mut Kept<u32>, key: &str| {
            let new = || {
                made += 1;
                Ok::<_, Infallible>(made)
            };
            kept.get(key.to_owned(), new).unwrap()
        };
        let mut first = Kept::default();
        assert_eq!([get(&mut first, "a"), get(&mut first, "b")], [1, 2]);
        assert_eq!(get(&mut first, "a"), 1, "shared");
        let mut second = first.next();
        assert_eq!([get(&mut second, "b"), get(&mut second, "c")], [2, 3]);
        second.settle();
        assert_eq!(get(&mut second, "a"), 4, "forgotten");
        assert_eq!(get(&mut first, "a"), 1, "a plan changes nothing");
    }
}
