//! The Internet checksum (RFC 1071).

/// The checksum over several pieces as if they were one. All pieces but the last have an even length.
///
/// Over data that contains its own correct checksum the result is 0.
pub fn internet(pieces: &[&[u8]]) -> u16 {
    let mut sum: u64 = 0;
    for piece in pieces {
        let (pairs, rest) = piece.as_chunks::<2>();
        sum += pairs.iter().map(|&pair| u64::from(u16::from_be_bytes(pair))).sum::<u64>();
        if let [last] = rest {
            sum += u64::from(*last) << 8;
        }
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    // At most 16 bits are left.
    #[allow(clippy::cast_possible_truncation)]
    let folded = sum as u16;
    !folded
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
    fn an_odd_octet_counts_as_if_zero_followed() {
        assert_eq!(internet(&[&[0x12, 0x34, 0x56]]), internet(&[&[0x12, 0x34, 0x56, 0]]));
        assert_eq!(internet(&[]), 0xffff);
    }
}
