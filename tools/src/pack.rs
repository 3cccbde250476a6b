// SPDX-License-Identifier: MIT OR Apache-2.0
//! The device pack, as QEMU's command line sees it.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail, ensure};

/// The object that is preloaded into QEMU.
pub fn object() -> Result<PathBuf> {
    // The loader wants a path with a slash in it; an absolute one suits every folder.
    let object = crate::root().join("target/debug/libpi4_devices.so");
    ensure!(
        object.exists(),
        "there is no device pack {}; `cargo build -p pi4-devices` builds it",
        object.display()
    );
    Ok(object)
}

/// The argument of `-drive` for the card in the board's slot.
pub fn drive(card: &Path) -> OsString {
    let mut drive = OsString::from("if=sd,format=raw,file=");
    // QEMU's option lists end at a comma; two stand for one.
    drive.push(card.to_string_lossy().replace(',', ",,"));
    drive
}

/// The faults of a command line, by device.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Faults {
    /// GENET's
    pub genet: Vec<String>,
    /// The card's and its controller's
    pub emmc2: Vec<String>,
}

impl Faults {
    /// Sorts them by their names. A name that both devices have needs its device: `emmc2.irq-lost`.
    pub fn of(plans: &[String]) -> Result<Self> {
        let mut faults = Self::default();
        for plan in plans {
            if plan == "help" {
                bail!("the faults are\n{}", list());
            }
            let genets = |plan: &str| plan.parse::<genet_model::Plan>().is_ok();
            let emmc2s = |plan: &str| plan.parse::<sdhci_model::Plan>().is_ok();
            if let Some(plan) = plan.strip_prefix("genet.").filter(|p| genets(p)) {
                faults.genet.push(plan.to_owned());
            } else if let Some(plan) = plan.strip_prefix("emmc2.").filter(|p| emmc2s(p)) {
                faults.emmc2.push(plan.to_owned());
            } else {
                match (genets(plan), emmc2s(plan)) {
                    (true, false) => faults.genet.push(plan.clone()),
                    (false, true) => faults.emmc2.push(plan.clone()),
                    (true, true) => bail!("write genet.{plan} or emmc2.{plan}: both have it"),
                    (false, false) => bail!(
                        "`{plan}` is no fault; write NAME[/EVERY][xTIMES][:MS], NAME one of\n{}",
                        list()
                    ),
                }
            }
        }
        Ok(faults)
    }
}

fn list() -> String {
    let genet = genet_model::Fault::ALL.iter();
    let genet = genet.map(|fault| ("genet", fault.name(), fault.what()));
    let emmc2 = sdhci_model::Fault::ALL.iter();
    let emmc2 = emmc2.map(|fault| ("emmc2", fault.name(), fault.what()));
    let lines = genet.chain(emmc2);
    let lines: Vec<_> = lines
        .map(|(device, name, what)| format!("  {:<22} {what}", format!("{device}.{name}")))
        .collect();
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(plans: &[&str]) -> Result<Faults> {
        let plans: Vec<_> = plans.iter().map(|plan| (*plan).to_owned()).collect();
        Faults::of(&plans)
    }

    #[test]
    fn faults_find_their_device() {
        let faults = of(&["rx-crc/2", "read-crc", "emmc2.irq-lost", "genet.irq-lost/3"]).unwrap();
        assert_eq!(faults.genet, ["rx-crc/2", "irq-lost/3"]);
        assert_eq!(faults.emmc2, ["read-crc", "irq-lost"]);
    }

    #[test]
    fn a_name_of_both_or_of_none_is_refused() {
        let both = of(&["irq-lost"]).unwrap_err().to_string();
        assert!(both.contains("emmc2.irq-lost"), "{both}");
        let none = of(&["genet.read-crc"]).unwrap_err().to_string();
        assert!(none.contains("emmc2.read-crc"), "{none}");
        assert!(
            of(&["help"])
                .unwrap_err()
                .to_string()
                .contains("genet.rx-crc")
        );
    }
}
