//! `storage pack`: any bytes into a sealed page file.

use std::{path::PathBuf, time::Instant};

use indicatif::{HumanBytes, HumanCount};
use parse_size::Config;
use storage::{PageSize, PageWriter};

use crate::{
    error::{Error, Result},
    input::{self, Input, read_buffer},
    interrupt::Interrupt,
    output::Output,
    progress,
    report::{Rate, Took},
    streams::print,
};

/// Bytes read at once.
const READ_LEN: usize = 1 << 20;

/// Pack bytes into a page file, checksum its pages, and seal it.
///
/// The bytes lie in the file as they are, one after another, so that a program can borrow them in
/// place; the last page is filled up with zeros. The file is durable when the command ends.
#[derive(Debug, clap::Args)]
#[command(after_help = crate::exit::EXIT_CODES)]
pub(crate) struct Args {
    /// The file or pipe to read, or `-` for standard input
    input: PathBuf,
    #[command(flatten)]
    output: Output,
    /// The size of a page: a power of two from 4KiB to 2MiB, written like 65536, 64KiB or 64k
    #[arg(long, value_name = "SIZE", default_value = "4KiB", value_parser = parse_page_size)]
    page_size: PageSize,
}

impl Args {
    /// Packs.
    pub(crate) fn run(&self) -> Result<()> {
        if self.output.is_stdout() {
            return Err(Error::InPlace { what: "a page file" });
        }
        let interrupt = Interrupt::listen()?;
        let mut input = Input::open(&self.input)?;
        self.output.check()?;
        let started = Instant::now();
        let mut writer = PageWriter::options()
            .page_size(self.page_size)
            .existing(self.output.existing())
            .create(&self.output.path)?;
        let bar = progress::bytes("packing", input.len_bytes());
        let mut buffer = read_buffer(READ_LEN)?;
        loop {
            let len = input.read(&mut buffer, &interrupt)?;
            if len == 0 {
                break;
            }
            writer.append(&buffer[..len])?;
            bar.inc(len as u64);
        }
        bar.set_message("making durable");
        let bytes = writer.payload_len();
        let page_count = self.page_size.pages_for(bytes);
        // Nobody reads it here, so nothing that only a reader needs can fail.
        writer.seal_and_close()?;
        bar.finish_and_clear();
        let elapsed = started.elapsed();
        print(format_args!(
            "packed {} ({} bytes) of {} into {}: {} pages of {}, sealed and durable, in {} ({})\n",
            HumanBytes(bytes),
            HumanCount(bytes),
            input::name(&self.input),
            self.output.path.display(),
            HumanCount(page_count.get()),
            self.page_size,
            Took::new(elapsed),
            Rate { bytes, elapsed },
        ))
        .map_err(Error::untold(&self.output.path))
    }
}

/// A page size as a user writes it. `k` and `KB` count in 1024s like `KiB`: no page size is a
/// multiple of 1000.
fn parse_page_size(text: &str) -> Result<PageSize, String> {
    let bytes = Config::new().with_binary().parse_size(text).map_err(|_| {
        "that is not a size: write it like 4096, 4KiB, 64k or 2MiB (a power of two from 4KiB to \
         2MiB)"
            .to_owned()
    })?;
    PageSize::new(bytes).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn page_sizes_as_people_write_them() {
        for (text, bytes) in [
            ("4096", 4096),
            ("4KiB", 4096),
            ("4k", 4096),
            ("4 KB", 4096),
            ("64K", 65_536),
            ("2MiB", 2 << 20),
            ("2m", 2 << 20),
        ] {
            assert_eq!(parse_page_size(text).unwrap().get(), bytes, "{text}");
        }
        for text in ["", "x", "4KiBi", "-4096", "4096 pages", "99999999999999999999"] {
            assert!(parse_page_size(text).unwrap_err().contains("write it like 4096"), "{text}");
        }
        for text in ["0", "3", "4097", "2k", "4MiB", "8EiB", "9223372036854775808"] {
            let message = parse_page_size(text).unwrap_err();
            assert!(message.contains("pass a power of two from 4096"), "{text}: {message}");
        }
    }
}
