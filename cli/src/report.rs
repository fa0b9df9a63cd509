//! The words for measures.

use std::{fmt, time::Duration};

/// Bytes over time, in GB/s (10^9 bytes) or MB/s.
pub(crate) struct Rate {
    /// How much was done.
    pub(crate) bytes: u64,
    /// In what time.
    pub(crate) elapsed: Duration,
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.elapsed.as_secs_f64();
        if seconds == 0.0 {
            return f.write_str("no time at all");
        }
        match self.bytes as f64 / seconds {
            rate if rate >= 1e11 => write!(f, "{:.0} GB/s", rate / 1e9),
            rate if rate >= 1e10 => write!(f, "{:.1} GB/s", rate / 1e9),
            rate if rate >= 1e8 => write!(f, "{:.2} GB/s", rate / 1e9),
            rate => write!(f, "{:.2} MB/s", rate / 1e6),
        }
    }
}

/// A time with about three digits, in the unit that fits it.
pub(crate) struct Took {
    seconds: f64,
}

impl Took {
    /// This time.
    pub(crate) fn new(elapsed: Duration) -> Self {
        Self { seconds: elapsed.as_secs_f64() }
    }

    /// The time of each of many equal steps, in fractions of a nanosecond where it is that short.
    pub(crate) fn each(elapsed: Duration, steps: u32) -> Self {
        Self { seconds: elapsed.as_secs_f64() / f64::from(steps) }
    }
}

impl fmt::Display for Took {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.seconds;
        let (number, unit) = match seconds {
            0.9995.. => (seconds, "s"),
            0.9995e-3.. => (seconds * 1e3, "ms"),
            0.9995e-6.. => (seconds * 1e6, "us"),
            _ => (seconds * 1e9, "ns"),
        };
        let digits = match number {
            99.95.. => 0,
            9.995.. => 1,
            _ => 2,
        };
        write!(f, "{number:.digits$} {unit}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_three_digits() {
        let took = |nanos| Took::new(Duration::from_nanos(nanos)).to_string();
        assert_eq!(took(0), "0.00 ns");
        assert_eq!(took(30), "30.0 ns");
        assert_eq!(took(1_203), "1.20 us");
        assert_eq!(took(999_999), "1.00 ms");
        assert_eq!(took(123_456_789), "123 ms");
        assert_eq!(took(61_000_000_000), "61.0 s");
        assert_eq!(Took::each(Duration::from_nanos(5), 2).to_string(), "2.50 ns");
    }

    #[test]
    fn rates_are_per_second() {
        let rate = |bytes| Rate { bytes, elapsed: Duration::from_millis(500) }.to_string();
        assert_eq!(rate(500_000_000), "1.00 GB/s");
        assert_eq!(rate(1_000_000), "2.00 MB/s");
        assert_eq!(Rate { bytes: 1, elapsed: Duration::ZERO }.to_string(), "no time at all");
    }
}
