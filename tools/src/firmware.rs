// SPDX-License-Identifier: MIT OR Apache-2.0
//! The Pi's boot firmware: whether its two files are what a Pi 4 needs.
//!
//! # Theory
//!
//! start4.elf is a program for the VideoCore that says in strings of the form `VC_BUILD_ID_NAME: value`
//! what it is. fixup4.dat, which moves that program to where `gpu_mem` wants it, is a list of
//! distances without a magic, a version or a sum of the program that it is for. So a start4.elf of
//! another board or another variant is found, and a fixup4.dat that is none or was cut down to
//! nothing; that the two are of the same day only their common folder vouches for.

use anyhow::{Result, ensure};

/// ELF's number for the VideoCore III and IV.
const EM_VIDEOCORE3: [u8; 2] = [0x89, 0];

/// Checks the pair, and says when start4.elf was built.
///
/// # Errors
/// What is wrong with which.
pub fn check(start: &[u8], fixup: &[u8]) -> Result<String> {
    ensure!(
        start.starts_with(b"\x7fELF") && start.get(18..20) == Some(&EM_VIDEOCORE3),
        "start4.elf is no program for the VideoCore"
    );
    let platform = build_id(start, "BRANCH").join(" ");
    ensure!(
        platform.contains("2711"),
        "start4.elf is for another board: it was built on branch {platform:?}, not for the BCM2711"
    );
    let variant = build_id(start, "VARIANT").join(" ");
    ensure!(
        variant == "start",
        "start4.elf is the variant {variant:?}, and fixup4.dat goes with the one called \"start\""
    );
    // Each has an entry of a byte or more for each of thousands of places.
    ensure!(
        (1000..1 << 20).contains(&fixup.len()) && !fixup.starts_with(b"\x7fELF"),
        "fixup4.dat is none: {} bytes",
        fixup.len()
    );
    let mut time = build_id(start, "TIME");
    time.reverse(); // the date comes after the time of day
    Ok(time.join(" "))
}

/// The values of `VC_BUILD_ID_<name>`, in their order.
fn build_id(start: &[u8], name: &str) -> Vec<String> {
    let key = format!("VC_BUILD_ID_{name}: ").into_bytes();
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(next) = start[at..].windows(key.len()).position(|w| w == key) {
        at += next + key.len();
        let value: Vec<u8> = start[at..]
            .iter()
            .copied()
            .take_while(|b| (0x20..0x7f).contains(b))
            .collect();
        found.push(String::from_utf8_lossy(&value).into_owned());
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn start(branch: &str, variant: &str) -> Vec<u8> {
        let mut elf = b"\x7fELF\x01\x01\x01".to_vec();
        elf.resize(18, 0);
        elf.extend([0x89, 0]);
        elf.resize(100, 0);
        for (name, value) in [
            ("TIME", "17:27:09"),
            ("VARIANT", variant),
            ("TIME", "Apr 17 2024"),
            ("BRANCH", branch),
        ] {
            elf.extend(format!("VC_BUILD_ID_{name}: {value}\0").into_bytes());
        }
        elf
    }

    #[test]
    fn a_pair_for_the_pi_4_passes() {
        let said = check(&start("bcm2711_2", "start"), &[3; 5436]).unwrap();
        assert_eq!(said, "Apr 17 2024 17:27:09");
    }

    #[test]
    fn others_do_not() {
        let good = start("bcm2711_2", "start");
        let arm = {
            let mut elf = good.clone();
            elf[18] = 0xb7;
            elf
        };
        for (start, fixup, why) in [
            (&arm, &vec![3; 5436], "no program for the VideoCore"),
            (&vec![0; 200], &vec![3; 5436], "no program"),
            (&start("master", "start"), &vec![3; 5436], "another board"),
            (&start("bcm2711_2", "start_cd"), &vec![3; 5436], "variant"),
            (&good, &vec![], "fixup4.dat is none"),
            (&good, &good.repeat(10), "fixup4.dat is none"),
        ] {
            let error = check(start, fixup).unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
        }
    }
}
