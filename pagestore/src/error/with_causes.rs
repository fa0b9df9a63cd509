//! An error told together with what caused it.

use std::{error::Error as StdError, fmt};

/// Shows an error and all its causes in one line.
///
/// By itself an error says what failed and what to do, and leaves its cause to
/// [`source`](StdError::source). Programs that report whole chains print each part once then; this is
/// for those that print one line.
///
/// ```
/// # extern crate pagestore as storage;
/// use storage::{PageFile, WithCauses};
///
/// let error = PageFile::open("/nowhere/file").unwrap_err();
/// assert_eq!(error.to_string(), "cannot open /nowhere/file (check the path)");
/// assert_eq!(
///     WithCauses(&error).to_string(),
///     "cannot open /nowhere/file (check the path): No such file or directory (os error 2)"
/// );
/// ```
#[derive(Clone, Copy, Debug)]
pub struct WithCauses<'a>(pub &'a (dyn StdError + 'a));

impl fmt::Display for WithCauses<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut source = self.0.source();
        while let Some(error) = source {
            write!(f, ": {error}")?;
            source = error.source();
        }
        Ok(())
    }
}
