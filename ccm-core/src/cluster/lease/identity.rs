//! Who takes part in an election.

use std::hash::{BuildHasher, RandomState};

/// `<hostname>_<UUID>`, as upstream: new in each life of a process, so that a restarted one never takes
/// its predecessor's lease for its own.
pub fn identity() -> String {
    format!("{}_{}", host(), uuid(random(), random()))
}

/// The name of this machine or pod, as events carry it.
pub fn host() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// A random number from 0 to 1.
pub(super) fn fraction() -> f64 {
    f64::from(u32::try_from(random() >> 32).unwrap_or(u32::MAX)) / f64::from(u32::MAX)
}

/// The standard library's hash keys come from the operating system and differ at each call.
fn random() -> u64 {
    RandomState::new().hash_one(())
}

/// Version 4, RFC 9562.
fn uuid(high: u64, low: u64) -> String {
    let high = high & !0xf000 | 0x4000;
    let low = low & !(0b11 << 62) | 0b10 << 62;
    format!(
        "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
        high >> 32,
        high >> 16 & 0xffff,
        high & 0xffff,
        low >> 48,
        low & 0xffff_ffff_ffff
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uuids_are_of_version_four() {
        assert_eq!(uuid(0, 0), "00000000-0000-4000-8000-000000000000");
        assert_eq!(uuid(u64::MAX, u64::MAX), "ffffffff-ffff-4fff-bfff-ffffffffffff");
        assert_eq!(
            uuid(0x0123_4567_89ab_cdef, 0x0123_4567_89ab_cdef),
            "01234567-89ab-4def-8123-456789abcdef"
        );
    }

    #[test]
    fn no_two_are_alike() {
        let one = identity();
        assert_ne!(one, identity());
        assert!(one.starts_with(&format!("{}_", host())), "{one}");
    }

    #[test]
    fn fractions_are_fractions() {
        assert!((0..1000).map(|_| fraction()).all(|fraction| (0.0..=1.0).contains(&fraction)));
    }
}
