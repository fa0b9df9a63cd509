//! Compressed files: what comes back, what is found when stored bytes change, and what concurrent
//! calls see.
//!
//! Method: everything goes through the public [`Compressed`](storage::Compressed), over a backend of
//! this test that keeps files in vectors, lets the test look at and change the stored bytes, and
//! fails or holds writes on demand; the model also runs over the media that there are.

mod concurrency;
mod damage;
mod failures;
mod format_doc;
mod model;
mod round_trip;
mod shelf;
