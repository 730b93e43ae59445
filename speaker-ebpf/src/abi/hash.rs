//! Which slot of a Maglev table a flow falls into: XXH3 (64 bits, no seed) over a key of forty bytes.
//!
//! The kernel's program and everybody who says where a client goes use this one function. It knows no table. The algorithm is
//! xxHash's `XXH3_64bits` as its specification (doc/xxhash_spec.md, XXH3 for inputs of 17 to 128 bytes) has it for this one length;
//! the machine that it is for has no product of 128 bits, so that is put together from four of 64.

use super::l2::Addr;
use super::steer::MAGLEV_SLOTS;
use core::hint::black_box;

/// The slot of the flow between a client and a VIP.
///
/// `ports` is the client's port and the VIP's as they lie in the packet; zero for a protocol without ports, and with a `protocol` of zero
/// for clients that stay with one node whatever their ports.
#[inline(always)]
pub fn slot(client: Addr, vip: Addr, ports: u32, protocol: u32) -> u32 {
    let [client_high, client_low]: [u64; 2] = bytemuck::cast(client.bytes());
    let [vip_high, vip_low]: [u64; 2] = bytemuck::cast(vip.bytes());
    let last = u64::from(u32::from_le(ports)) | u64::from(protocol) << 32;
    let words = [client_high, client_low, vip_high, vip_low].map(u64::from_le);
    let [a, b, c, d] = words;
    (xxh3([a, b, c, d, last]) % MAGLEV_SLOTS as u64) as u32
}

/// The hash of forty bytes, given as words in little-endian order.
#[inline(always)]
const fn xxh3([a, b, c, d, e]: [u64; 5]) -> u64 {
    let sum = (KEY_BYTES.wrapping_mul(PRIME))
        .wrapping_add(folded(c ^ SECRET[4], d ^ SECRET[5]))
        .wrapping_add(folded(b ^ SECRET[6], c ^ SECRET[7]))
        .wrapping_add(folded(a ^ SECRET[0], b ^ SECRET[1]))
        .wrapping_add(folded(d ^ SECRET[2], e ^ SECRET[3]));
    let mixed = (sum ^ (sum >> 37)).wrapping_mul(PRIME_MX1);
    mixed ^ (mixed >> 32)
}

/// The two halves of the product, put over each other.
#[inline(always)]
const fn folded(a: u64, b: u64) -> u64 {
    let (a_high, a_low) = (a >> 32, a & LOW);
    let (b_high, b_low) = (b >> 32, b & LOW);
    // Seen through, the four products would become one of 128 bits again, for which there is neither an instruction nor a function.
    let low = black_box(a_low * b_low);
    let middle = a_high * b_low;
    // Three summands of 64, 32 and 32 bits at most: (2^32-1)^2 + 2 (2^32-1) is the largest number of 64 bits.
    let cross = a_low * b_high + (low >> 32) + (middle & LOW);
    let high = a_high * b_high + (middle >> 32) + (cross >> 32);
    high ^ (cross << 32 | low & LOW)
}

const LOW: u64 = 0xffff_ffff;
const KEY_BYTES: u64 = 40;
const PRIME: u64 = 0x9e37_79b1_85eb_ca87;
const PRIME_MX1: u64 = 0x1656_6791_9e37_79f9;
/// The first 64 bytes of the default secret.
const SECRET: [u64; 8] = [
    0xbe4b_a423_396c_feb8,
    0x1cad_21f7_2c81_017c,
    0xdb97_9083_e96d_d4de,
    0x1f67_b3b7_a4a4_4072,
    0x78e5_c0cc_4ee6_79cb,
    0x2172_ffcc_7dd0_5a82,
    0x8e24_43f7_7446_08b8,
    0x4c26_3a81_e690_35e0,
];

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::vec::Vec;
    use xxhash_rust::xxh3::xxh3_64;

    proptest! {
        #[test]
        fn the_hash_is_xxh3(words in any::<[u64; 5]>()) {
            let key: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
            prop_assert_eq!(xxh3(words), xxh3_64(&key));
        }

        #[test]
        fn a_slot_is_the_hash_of_the_key_as_it_lies_in_packets(
            client in any::<[u8; 16]>(), vip in any::<[u8; 16]>(), ports in any::<[u8; 4]>(), protocol in any::<u8>(),
        ) {
            let key = [&client[..], &vip, &ports, &[protocol, 0, 0, 0]].concat();
            let expected = xxh3_64(&key) % u64::from(MAGLEV_SLOTS);
            let ports = u32::from_ne_bytes(ports);
            let found = slot(Addr::v6(client), Addr::v6(vip), ports, protocol.into());
            prop_assert_eq!(u64::from(found), expected);
        }
    }

    #[test]
    fn the_largest_factors_overflow_nothing() {
        assert_eq!(folded(u64::MAX, u64::MAX), 1 ^ (u64::MAX - 1));
    }
}
