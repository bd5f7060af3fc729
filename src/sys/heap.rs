//! What the C library's allocator says of itself.

/// The allocator's counters in the order in which rsync shows them. C: struct mallinfo2
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Heap {
    pub arena: usize,
    pub free_chunks: usize,
    pub free_fast_chunks: usize,
    pub maps: usize,
    pub mapped: usize,
    pub fast_free: usize,
    pub used: usize,
    pub free: usize,
    pub releasable: usize,
}

/// The counters of this process, all threads' arenas included as far as the C library counts them.
pub fn heap() -> Heap {
    // SAFETY: takes nothing, returns a plain structure.
    let info = unsafe { libc::mallinfo2() };
    Heap {
        arena: info.arena,
        free_chunks: info.ordblks,
        free_fast_chunks: info.smblks,
        maps: info.hblks,
        mapped: info.hblkhd,
        fast_free: info.fsmblks,
        used: info.uordblks,
        free: info.fordblks,
        releasable: info.keepcost,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_allocated_is_counted() {
        let before = heap();
        let block = vec![1_u8; 64 << 20];
        let after = heap();
        assert!(after.mapped + after.used >= before.mapped + before.used + block.len() / 2, "{before:?} {after:?}");
    }
}
