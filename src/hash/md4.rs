//! MD4 (RFC 1320), for peers that speak protocol 27 to 29 and for those who choose it.

const START: [u32; 4] = [0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476];

/// A running MD4.
#[derive(Clone)]
pub(super) struct Md4 {
    state: [u32; 4],
    /// What did not fill a block yet.
    pending: [u8; 64],
    pending_len: usize,
    /// Bytes seen, modulo 2^64.
    total: u64,
}

impl Md4 {
    pub fn new() -> Self {
        Self { state: START, pending: [0; 64], pending_len: 0, total: 0 }
    }

    pub fn update(&mut self, mut data: &[u8]) {
        self.total = self.total.wrapping_add(data.len() as u64);
        if self.pending_len > 0 {
            let (head, rest) = data.split_at(data.len().min(64 - self.pending_len));
            self.pending[self.pending_len..][..head.len()].copy_from_slice(head);
            self.pending_len += head.len();
            data = rest;
            if self.pending_len < 64 {
                return;
            }
            compress(&mut self.state, &self.pending);
            self.pending_len = 0;
        }
        let (blocks, rest) = data.as_chunks::<64>();
        for block in blocks {
            compress(&mut self.state, block);
        }
        self.pending[..rest.len()].copy_from_slice(rest);
        self.pending_len = rest.len();
    }

    pub fn finish(mut self) -> [u8; 16] {
        let bits = self.total.wrapping_mul(8).to_le_bytes();
        let zeros = (64 + 55 - self.pending_len) % 64; // so that one bit byte and eight length bytes end a block
        let mut padding = [0; 72];
        padding[0] = 0x80;
        padding[1 + zeros..][..8].copy_from_slice(&bits);
        self.update(&padding[..1 + zeros + 8]);
        let mut out = [0; 16];
        for (bytes, word) in out.chunks_exact_mut(4).zip(self.state) {
            bytes.copy_from_slice(&word.to_le_bytes());
        }
        out
    }
}

/// Takes one block into the state: three rounds of sixteen steps.
fn compress(state: &mut [u32; 4], block: &[u8; 64]) {
    let mut words = [0u32; 16];
    for (word, bytes) in words.iter_mut().zip(block.as_chunks::<4>().0) {
        *word = u32::from_le_bytes(*bytes);
    }
    let [mut a, mut b, mut c, mut d] = *state;
    let step = |mix: u32, word: u32, constant: u32, turn: u32, [a, b, c, d]: [u32; 4]| {
        let turned = a.wrapping_add(mix).wrapping_add(word).wrapping_add(constant).rotate_left(turn);
        [d, turned, b, c]
    };
    for (at, turn) in [3, 7, 11, 19].into_iter().cycle().take(16).enumerate() {
        [a, b, c, d] = step((b & c) | (!b & d), words[at], 0, turn, [a, b, c, d]);
    }
    for (at, turn) in [3, 5, 9, 13].into_iter().cycle().take(16).enumerate() {
        let word = words[at % 4 * 4 + at / 4];
        [a, b, c, d] = step((b & c) | (b & d) | (c & d), word, 0x5a82_7999, turn, [a, b, c, d]);
    }
    for (at, turn) in [3, 9, 11, 15].into_iter().cycle().take(16).enumerate() {
        let order = [0, 8, 4, 12, 2, 10, 6, 14, 1, 9, 5, 13, 3, 11, 7, 15];
        [a, b, c, d] = step(b ^ c ^ d, words[order[at]], 0x6ed9_eba1, turn, [a, b, c, d]);
    }
    for (word, change) in state.iter_mut().zip([a, b, c, d]) {
        *word = word.wrapping_add(change);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(text: &[u8]) -> String {
        let mut md4 = Md4::new();
        md4.update(text);
        md4.finish().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn vectors_of_the_rfc() {
        let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
        let digits = b"12345678901234567890123456789012345678901234567890123456789012345678901234567890";
        for (text, sum) in [
            (&b""[..], "31d6cfe0d16ae931b73c59d7e0c089c0"),
            (b"a", "bde52cb31de33e46245e05fbdbd6fb24"),
            (b"abc", "a448017aaf21d8525fc10ae87aa6729d"),
            (b"message digest", "d9130a8164549fe818874806e1c7014b"),
            (b"abcdefghijklmnopqrstuvwxyz", "d79e1c308aa5bbcdeea8ed63df412da9"),
            (alphabet, "043f8582f241db351ce627e153e7f0e4"),
            (digits, "e33b4ddc9c38f2199c3e7b164fcc0536"),
        ] {
            assert_eq!(hex(text), sum);
        }
    }

    #[test]
    fn pieces_give_the_same_sum() {
        let data: Vec<u8> = (0..1000u32).map(|n| (n * 7) as u8).collect();
        for cut in [0, 1, 55, 56, 63, 64, 65, 127, 128, 500, 1000] {
            let mut md4 = Md4::new();
            md4.update(&data[..cut]);
            for byte in &data[cut..] {
                md4.update(&[*byte]);
            }
            let sum: String = md4.finish().iter().map(|byte| format!("{byte:02x}")).collect();
            assert_eq!(sum, hex(&data), "cut at {cut}");
        }
    }
}
