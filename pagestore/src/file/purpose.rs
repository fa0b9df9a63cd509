//! What a file is claimed for, and on whose word.

/// What the claimant is going to do with the file, hence which lock it takes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Purpose {
    /// Write it: nobody else may have it open through us.
    Write,
    /// Read it: others may read it as well.
    Read,
}

/// Who vouches that nobody else writes to the file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Trust {
    /// What can be found out about it ([`Evidence`](crate::Evidence)).
    Evidence,
    /// The caller of an `unsafe` function, whatever else there is.
    Caller,
}
