//! The compression of SHA-256 (FIPS 180-4 section 6.2.2), as far as an HMAC is checked by it: over memory of the caller's,
//! because the stack of the kernel side has no room for it, and without an index that varies, which its verifier would follow.
//! The daemon signs with a library.

use bytemuck::{Pod, Zeroable};

/// Bytes of a block.
pub const BLOCK_LEN: usize = 64;

/// The state before the first block (FIPS 180-4 section 5.3.3).
pub const INITIAL: [u32; 8] = [
    0x6a09_e667, 0xbb67_ae85, 0x3c6e_f372, 0xa54f_f53a, 0x510e_527f, 0x9b05_688c, 0x1f83_d9ab,
    0x5be0_cd19,
];

/// FIPS 180-4 section 4.2.2.
const K: [u32; 64] = [
    0x428a_2f98, 0x7137_4491, 0xb5c0_fbcf, 0xe9b5_dba5, 0x3956_c25b, 0x59f1_11f1, 0x923f_82a4,
    0xab1c_5ed5, 0xd807_aa98, 0x1283_5b01, 0x2431_85be, 0x550c_7dc3, 0x72be_5d74, 0x80de_b1fe,
    0x9bdc_06a7, 0xc19b_f174, 0xe49b_69c1, 0xefbe_4786, 0x0fc1_9dc6, 0x240c_a1cc, 0x2de9_2c6f,
    0x4a74_84aa, 0x5cb0_a9dc, 0x76f9_88da, 0x983e_5152, 0xa831_c66d, 0xb003_27c8, 0xbf59_7fc7,
    0xc6e0_0bf3, 0xd5a7_9147, 0x06ca_6351, 0x1429_2967, 0x27b7_0a85, 0x2e1b_2138, 0x4d2c_6dfc,
    0x5338_0d13, 0x650a_7354, 0x766a_0abb, 0x81c2_c92e, 0x9272_2c85, 0xa2bf_e8a1, 0xa81a_664b,
    0xc24b_8b70, 0xc76c_51a3, 0xd192_e819, 0xd699_0624, 0xf40e_3585, 0x106a_a070, 0x19a4_c116,
    0x1e37_6c08, 0x2748_774c, 0x34b0_bcb5, 0x391c_0cb3, 0x4ed8_aa4a, 0x5b9c_ca4f, 0x682e_6ff3,
    0x748f_82ee, 0x78a5_636f, 0x84c8_7814, 0x8cc7_0208, 0x90be_fffa, 0xa450_6ceb, 0xbef9_a3f7,
    0xc671_78f2,
];

/// What a compression works on.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct Block {
    /// The block, as its bytes stand in memory; anything after a compression.
    pub words: [u32; 16],
    /// The state.
    pub state: [u32; 8],
    /// What the rounds change.
    pub work: [u32; 8],
}

impl Block {
    /// Nothing in the block, for this state.
    pub const fn new(state: [u32; 8]) -> Self {
        Self { words: [0; 16], state, work: [0; 8] }
    }

    /// Puts `len` bytes at `offset` of a frame in ordinary memory into the block, `AT` bytes behind its beginning. False where
    /// there are not so many, there or here.
    pub fn copy_words<const AT: usize>(&mut self, frame: &[u8], offset: usize, len: usize) -> bool {
        let from = frame.get(offset..).and_then(|rest| rest.get(..len));
        let block: &mut [u8] = bytemuck::cast_slice_mut(&mut self.words);
        let to = block.get_mut(AT..).and_then(|rest| rest.get_mut(..len));
        match (from, to) {
            (Some(from), Some(to)) => {
                to.copy_from_slice(from);
                true
            }
            (None, _) | (_, None) => false,
        }
    }
}

/// Takes the block into the state.
///
/// In parts that are not inlined: of all rounds in one, the compiler keeps more at hand than the stack of the kernel side has
/// room for.
#[inline(always)]
pub fn compress(block: &mut Block) {
    block.work = block.state;
    rounds::<0>(block);
    rounds::<8>(block);
    schedule::<0>(block);
    schedule::<4>(block);
    schedule::<8>(block);
    schedule::<12>(block);
    rounds::<16>(block);
    rounds::<24>(block);
    schedule::<0>(block);
    schedule::<4>(block);
    schedule::<8>(block);
    schedule::<12>(block);
    rounds::<32>(block);
    rounds::<40>(block);
    schedule::<0>(block);
    schedule::<4>(block);
    schedule::<8>(block);
    schedule::<12>(block);
    rounds::<48>(block);
    rounds::<56>(block);
    let [a, b, c, d, e, f, g, h] = block.work;
    let state = &mut block.state;
    state[0] = state[0].wrapping_add(a);
    state[1] = state[1].wrapping_add(b);
    state[2] = state[2].wrapping_add(c);
    state[3] = state[3].wrapping_add(d);
    state[4] = state[4].wrapping_add(e);
    state[5] = state[5].wrapping_add(f);
    state[6] = state[6].wrapping_add(g);
    state[7] = state[7].wrapping_add(h);
}

/// Eight rounds, from the one of this number on.
#[inline(never)]
fn rounds<const FIRST: usize>(block: &mut Block) {
    let [mut a, mut b, mut c, mut d, mut e, mut f, mut g, mut h] = block.work;
    macro_rules! round {
        ($($n:literal)*) => {
            $({
                let word = u32::from_be(block.words[const { (FIRST + $n) % 16 }]);
                let s1 = e.rotate_right(6) ^ e.rotate_right(11) ^ e.rotate_right(25);
                let choice = (e & f) ^ (!e & g);
                let t1 = h.wrapping_add(s1).wrapping_add(choice);
                let t1 = t1.wrapping_add(K[FIRST + $n]).wrapping_add(word);
                let s0 = a.rotate_right(2) ^ a.rotate_right(13) ^ a.rotate_right(22);
                let majority = (a & b) ^ (a & c) ^ (b & c);
                (h, g, f, e) = (g, f, e, d.wrapping_add(t1));
                (d, c, b, a) = (c, b, a, t1.wrapping_add(s0).wrapping_add(majority));
            })*
        };
    }
    round!(0 1 2 3 4 5 6 7);
    block.work = [a, b, c, d, e, f, g, h];
}

/// The next four words of the schedule, in the place of the last ones and as those stand in memory.
#[inline(never)]
fn schedule<const FIRST: usize>(block: &mut Block) {
    let words = &mut block.words;
    macro_rules! word {
        ($($n:literal)*) => {
            $({
                let x = u32::from_be(words[const { (FIRST + $n + 1) % 16 }]);
                let s0 = x.rotate_right(7) ^ x.rotate_right(18) ^ x >> 3;
                let y = u32::from_be(words[const { (FIRST + $n + 14) % 16 }]);
                let s1 = y.rotate_right(17) ^ y.rotate_right(19) ^ y >> 10;
                let z = u32::from_be(words[const { (FIRST + $n + 9) % 16 }]);
                let word = u32::from_be(words[FIRST + $n]).wrapping_add(s0).wrapping_add(z).wrapping_add(s1);
                words[FIRST + $n] = word.to_be();
            })*
        };
    }
    word!(0 1 2 3);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_of_fips_180() {
        // "abc", padded (FIPS 180-4, the example of NIST).
        let mut bytes = [0; BLOCK_LEN];
        bytes[..4].copy_from_slice(&[b'a', b'b', b'c', 0x80]);
        bytes[63] = 24;
        let mut block = Block { words: bytemuck::cast(bytes), ..Block::new(INITIAL) };
        compress(&mut block);
        let digest = [
            0xba78_16bf, 0x8f01_cfea, 0x4141_40de, 0x5dae_2223, 0xb003_61a3, 0x9617_7a9c,
            0xb410_ff61, 0xf200_15ad,
        ];
        assert_eq!(block.state, digest);
    }

    #[test]
    fn two_blocks_of_fips_180() {
        let text = b"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq";
        let mut bytes = [0; 2 * BLOCK_LEN];
        bytes[..text.len()].copy_from_slice(text);
        bytes[text.len()] = 0x80;
        bytes[126..].copy_from_slice(&448u16.to_be_bytes());
        let mut block = Block::new(INITIAL);
        for half in bytes.chunks_exact(BLOCK_LEN) {
            block.words = bytemuck::pod_read_unaligned(half);
            compress(&mut block);
        }
        let digest = [
            0x248d_6a61, 0xd206_38b8, 0xe5c0_2693, 0x0c3e_6039, 0xa33c_e459, 0x64ff_2167,
            0xf6ec_edd4, 0x19db_06c1,
        ];
        assert_eq!(block.state, digest);
    }
}
