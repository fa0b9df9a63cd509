//! What a writer leaves where a file could not be finished.

use std::{error, fmt, io};

use crate::error::Error;

/// Why a file could not be finished, with its writer if another try is possible.
///
/// A seal can fail for reasons that pass: the disk is full, no descriptor is free, the name is taken. The
/// appended bytes are not lost then. [`into_parts`](Self::into_parts) gives the writer back, to seal again or
/// to drop; `?` keeps the error alone, and drops the writer.
///
/// ```
/// # extern crate pagestore as storage;
/// use storage::{Error, PageWriter};
///
/// # let folder = tempfile::tempdir().unwrap();
/// # let path = folder.path().join("batch");
/// let mut writer = PageWriter::create(&path)?;
/// writer.append(b"hard to come by")?;
/// # std::fs::write(&path, "somebody was faster").unwrap();
/// let sealed = match writer.seal() {
///     Ok(sealed) => sealed,
///     Err(unsealed) => {
///         let (error, writer) = unsealed.into_parts();
///         assert!(matches!(error, Error::AlreadyExists { .. }));
///         std::fs::remove_file(&path).unwrap();
///         writer.expect("nothing is lost").seal()?
///     }
/// };
/// assert_eq!(sealed.payload_len(), 15);
/// # Ok::<(), pagestore::Error>(())
/// ```
pub struct Unsealed<W, E = Error> {
    parts: Box<(E, Option<W>)>,
}

impl<W, E> Unsealed<W, E> {
    /// Puts the two together. `writer` is `None` where the file is finished, or lost.
    pub fn new(error: E, writer: Option<W>) -> Self {
        Self { parts: Box::new((error, writer)) }
    }

    /// Why.
    #[must_use]
    pub fn error(&self) -> &E {
        &self.parts.0
    }

    /// Why, and the writer. There is none where nothing is left to do: the error says where the file is,
    /// or that it is lost.
    #[must_use]
    pub fn into_parts(self) -> (E, Option<W>) {
        *self.parts
    }

    /// Why; drops the writer, and with it a file that is not durable yet.
    #[must_use]
    pub fn into_error(self) -> E {
        self.parts.0
    }
}

impl<W, E: fmt::Display> fmt::Display for Unsealed<W, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error().fmt(f)
    }
}

impl<W, E: fmt::Debug> fmt::Debug for Unsealed<W, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Unsealed")
            .field("error", self.error())
            .field("has_writer", &self.parts.1.is_some())
            .finish()
    }
}

impl<W, E: error::Error> error::Error for Unsealed<W, E> {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        self.error().source()
    }
}

impl<W> From<Unsealed<W>> for Error {
    fn from(unsealed: Unsealed<W>) -> Self {
        unsealed.into_error()
    }
}

impl<W> From<Unsealed<W>> for io::Error {
    fn from(unsealed: Unsealed<W>) -> Self {
        unsealed.into_error().into()
    }
}
