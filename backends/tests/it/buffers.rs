//! Buffers: aligned, as long as asked for, used again, and never more than the limit together.
//!
//! The limit is held against every moment: threads take and drop buffers of random lengths while
//! another one looks at the pool all the time.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use backends::BufferPool;

#[test]
fn a_buffer_is_as_long_as_asked_for_and_aligned() {
    let pool = BufferPool::new(64 << 20);
    for len in [0, 1, 4095, 4096, 4097, 65_536, 65_537, 9 << 20] {
        let mut buffer = pool.take(len).unwrap();
        assert_eq!(buffer.len(), len);
        assert_eq!(buffer.as_ptr().addr() % 4096, 0, "{len} bytes");
        buffer.fill(7);
        let bytes = buffer.freeze();
        assert!(bytes.len() == len && bytes.iter().all(|&byte| byte == 7));
    }
    assert_eq!(pool.used_bytes(), 0);
}

#[test]
fn what_is_used_and_what_is_kept_stay_within_the_limit() {
    let limit = 1 << 20;
    let pool = BufferPool::new(limit);
    let all: Vec<_> = (0..256).map(|_| pool.take(4096).unwrap()).collect();
    assert_eq!((pool.used_bytes(), pool.held_bytes()), (limit, limit));
    assert!(pool.take(1).is_none(), "the limit is passed");
    drop(all);
    assert_eq!(pool.used_bytes(), 0);
    // What was kept makes room for a buffer of another size.
    let large = pool.take(1 << 20).unwrap();
    assert_eq!((pool.used_bytes(), pool.held_bytes()), (limit, limit));
    drop(large);
}

#[test]
fn a_length_that_no_memory_has_is_refused() {
    let pool = BufferPool::new(u64::MAX);
    assert!(pool.take(usize::MAX).is_none());
    assert!(pool.take(usize::MAX / 2).is_none());
    assert!(pool.take(1 << 62).is_none());
    assert_eq!(pool.held_bytes(), 0, "a buffer that could not be had counts");
}

#[test]
fn memory_goes_back_when_the_last_view_of_it_goes() {
    let pool = BufferPool::new(8192);
    let bytes = pool.take_zeroed(5000).unwrap().freeze();
    let part = bytes.slice(10..20);
    drop(bytes);
    assert!(pool.take(1).is_none(), "a view still shows that memory");
    drop(part);
    assert!(pool.take(1).is_some());
}

#[test]
fn a_zeroed_buffer_shows_nothing_of_the_last_one() {
    let pool = BufferPool::new(4096);
    pool.take(4096).unwrap().fill(0xff);
    assert!(pool.take_zeroed(4096).unwrap().iter().all(|&byte| byte == 0));
}

#[test]
fn threads_never_pass_the_limit() {
    let limit = 256 << 10;
    let pool = BufferPool::new(limit);
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let watcher = scope.spawn(|| {
            let mut looks = 0_u64;
            while !done.load(Ordering::Relaxed) {
                assert!(pool.held_bytes() <= limit);
                looks += 1;
            }
            looks
        });
        let workers: Vec<_> = (0..4)
            .map(|seed| {
                let pool = &pool;
                scope.spawn(move || {
                    let mut random = xorshift(seed);
                    let mut mine = Vec::new();
                    for _ in 0..20_000 {
                        match random() % 3 {
                            0 => drop(mine.pop()),
                            _ if mine.len() > 8 => mine.clear(),
                            _ => {
                                let len = usize::try_from(random() % 40_000).unwrap();
                                mine.extend(pool.take(len));
                            }
                        }
                    }
                })
            })
            .collect();
        workers.into_iter().for_each(|worker| worker.join().unwrap());
        done.store(true, Ordering::Relaxed);
        assert!(watcher.join().unwrap() > 0);
    });
    assert_eq!(pool.used_bytes(), 0);
}

/// Numbers that look random: xorshift64 (Marsaglia, 2003).
fn xorshift(seed: u64) -> impl FnMut() -> u64 {
    let mut state = seed + 0x9E37_79B9_7F4A_7C15;
    move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state >> 11
    }
}
