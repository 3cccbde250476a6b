// SPDX-License-Identifier: MIT OR Apache-2.0
//! What Linux's `bcm2835_wdt`, `iproc-rng200` and `bcm2711_thermal` must find on the pack's small blocks.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::guest::Guest;

/// The watchdog's time while it is judged, and how often it is fed.
const TIMEOUT_S: u64 = 5;
const FED_EACH_S: u64 = 1;
const TIME: Duration = Duration::from_secs(60);

/// Linux reads what the monitor sets, to the sensor's step of 0.487 degrees.
pub fn temperature(guest: &mut Guest) -> Result<String> {
    let mut seen = Vec::new();
    for set in [61_000_i32, 20_000, 84_900] {
        guest.monitor(&format!(
            "qom-set /machine/peripheral/avs millidegrees {set}"
        ))?;
        let read = guest.ask("cat /sys/class/thermal/thermal_zone0/temp")?;
        let read: i32 = read.trim().parse().with_context(|| read.clone())?;
        ensure!((read - set).abs() <= 487, "set to {set}, read {read}");
        seen.push(read.to_string());
    }
    Ok(seen.join(", "))
}

/// Linux takes its random words here, and resets a generator that fails.
pub fn random(guest: &mut Guest) -> Result<String> {
    let current = guest.ask("cat /sys/class/misc/hw_random/rng_current")?;
    ensure!(current.contains("rng200"), "{current}");
    let mut lines = Vec::new();
    for failure in ["none", "nist", "lockout"] {
        if failure != "none" {
            guest.monitor(&format!(
                "qom-set /machine/peripheral/rng failure {failure}"
            ))?;
        }
        let line = guest.ask("dd if=/dev/hwrng bs=512 count=4 2>/dev/null | gzip | wc -c")?;
        let bytes: u32 = line.trim().parse().with_context(|| line.clone())?;
        ensure!(bytes >= 2048, "2048 bytes shrink to {bytes}");
        lines.push(line.trim().to_owned());
    }
    let counters = guest.property("rng", "counters")?;
    let recoveries = counters.rsplit("recoveries=").next().map(str::parse::<u32>);
    ensure!(recoveries == Some(Ok(2)), "{counters}");
    Ok(counters)
}

/// A watchdog that is fed lets the machine be.
pub fn fed(guest: &mut Guest) -> Result<String> {
    guest.ask(&format!(
        "watchdog -T {TIMEOUT_S} -t {FED_EACH_S} /dev/watchdog"
    ))?;
    let long = 3 * TIMEOUT_S;
    guest.ask(&format!("sleep {long}"))?;
    let left = guest.property("pm", "watchdog")?;
    let left_ms: u64 = left.parse().with_context(|| left.clone())?;
    ensure!(left_ms <= TIMEOUT_S * 1000, "{left_ms} ms left");
    Ok(format!("{long} s of {TIMEOUT_S} survived"))
}

/// No complaint from the models.
pub fn silence(guest: &mut Guest) -> Result<String> {
    for device in ["pm", "rng", "avs"] {
        let strays = guest.property(device, "strays")?;
        ensure!(strays.is_empty(), "{device}: {strays}");
    }
    Ok("no register that nobody knows".into())
}

/// One that is not fed any more resets it (which ends QEMU), in its time. Consumes the guest.
pub fn starved(mut guest: Guest) -> Result<String> {
    let began = Instant::now();
    guest.type_line("killall -9 watchdog")?;
    guest.ended(TIME)?;
    let took = began.elapsed();
    ensure!(
        took + Duration::from_secs(FED_EACH_S + 1) >= Duration::from_secs(TIMEOUT_S),
        "reset after {took:?}"
    );
    Ok(format!("reset after {:.1} s", took.as_secs_f64()))
}
