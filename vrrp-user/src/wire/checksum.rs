//! The Internet checksum (RFC 1071).

/// The checksum over several pieces as if they were one. All pieces but the last have an even length.
///
/// Over data that contains its own correct checksum the result is 0.
pub fn internet(pieces: &[&[u8]]) -> u16 {
    let mut sum: u64 = pieces.iter().map(|piece| sum(piece)).sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    // At most 16 bits are left.
    #[allow(clippy::cast_possible_truncation)]
    let folded = sum as u16;
    u16::from_be(!folded)
}

/// The ones' complement sum of some bytes in native byte order, not folded (RFC 1071 section 2 B).
pub fn sum(bytes: &[u8]) -> u64 {
    let (pairs, rest) = bytes.as_chunks::<2>();
    let last = rest.first().map_or(0, |last| u16::from_ne_bytes([*last, 0]));
    pairs.iter().map(|&pair| u64::from(u16::from_ne_bytes(pair))).sum::<u64>() + u64::from(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc_1071_example() {
        // RFC 1071 section 3: the sum of these is ddf2.
        let data = [0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7];
        assert_eq!(internet(&[&data]), !0xddf2);
        assert_eq!(internet(&[&data[..4], &data[4..]]), !0xddf2);
        assert_eq!(internet(&[&data, &(!0xddf2u16).to_be_bytes()]), 0);
    }

    #[test]
    fn an_odd_byte_counts_as_if_zero_followed() {
        assert_eq!(internet(&[&[0x12, 0x34, 0x56]]), internet(&[&[0x12, 0x34, 0x56, 0]]));
        assert_eq!(internet(&[]), 0xffff);
    }
}
