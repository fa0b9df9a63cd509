//! Progress bars. They are drawn on standard error where that is a terminal, and clear themselves
//! away when they are dropped.

use indicatif::{ProgressBar, ProgressStyle};

/// A bar for work on `len_bytes` bytes, or a counter where nobody knows how many will come.
pub(crate) fn bytes(action: &'static str, len_bytes: Option<u64>) -> ProgressBar {
    let (bar, template) = match len_bytes {
        Some(len) => (
            ProgressBar::new(len),
            "{msg} [{bar:32}] {bytes} of {total_bytes}, {bytes_per_sec}, {eta} left",
        ),
        None => (ProgressBar::no_length(), "{msg} {spinner} {bytes}, {bytes_per_sec}"),
    };
    let style = ProgressStyle::with_template(template).expect("the templates above are right");
    bar.with_style(style.progress_chars("=> ")).with_message(action)
}

/// A spinner for work that has no measure.
pub(crate) fn spinner() -> ProgressBar {
    let style = ProgressStyle::with_template("{spinner} {msg}").expect("the template is right");
    ProgressBar::no_length().with_style(style)
}
