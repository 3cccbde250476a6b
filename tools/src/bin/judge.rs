// SPDX-License-Identifier: MIT OR Apache-2.0
//! Has Debian's Linux judge the device pack.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Result, bail, ensure};
use clap::{Parser, ValueEnum};
use tools::judge::flood::Flood;
use tools::judge::guest::{Guest, Setup};
use tools::judge::peer::Peer;
use tools::judge::server::Server;
use tools::judge::throughput::Measured;
use tools::judge::{Verdict, card, card_faults, chaos, cpus, faults, network, server, soc, uboot};

const CARD_MIB: u64 = 64;
const WRITTEN_MIB: u64 = 16;

/// Run Linux's own drivers on the emulated GENET and EMMC2, and check what they see
#[derive(Parser)]
#[command(version, name = "judge")]
struct Args {
    /// Fewer pings, smaller files, fewer times off and on
    #[arg(long)]
    short: bool,
    /// Only this part of it
    #[arg(long, value_enum)]
    only: Option<Part>,
    /// Another order of random accesses
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Where its files go; each judge that runs needs a folder of its own
    #[arg(long, default_value_os_t = tools::out_dir().join("judge"))]
    scratch: PathBuf,
    /// Leave other programs their turn
    #[arg(long)]
    nice: bool,
}

type Judge = fn(&Args, &mut Verdict) -> Result<()>;

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// What a user's network and card would see
    Network,
    /// Frames of all lengths
    Frames,
    /// Linux's rates beside an empty driver's
    Throughput,
    /// Every planned fault
    Faults,
    /// Cores off and on by PSCI
    Cpus,
    /// Watchdog, random numbers, temperature
    Soc,
    /// Cards of all kinds
    Card,
    /// U-Boot's drivers
    Uboot,
    /// Random accesses
    Chaos,
}

fn main() -> ExitCode {
    tools::exit("judge", run(&Args::parse()))
}

fn run(args: &Args) -> Result<()> {
    let mut verdict = Verdict::default();
    let parts: [(Part, Judge); 9] = [
        (Part::Network, user_network),
        (Part::Frames, second_station),
        (Part::Throughput, rates),
        (Part::Faults, planned_faults),
        (Part::Cpus, cores),
        (Part::Soc, small_blocks),
        (Part::Card, cards),
        (Part::Uboot, u_boot),
        (Part::Chaos, random_accesses),
    ];
    for (part, judge) in parts {
        if args.only.is_none_or(|only| only == part) {
            judge(args, &mut verdict)?;
        }
    }
    ensure!(verdict.end(), "the drivers did not agree with the models");
    Ok(())
}

/// An empty card.
fn card_in(scratch: &Path) -> Result<PathBuf> {
    let image = scratch.join("card.img");
    card_of(&image, CARD_MIB)?;
    Ok(image)
}

fn card_of(image: &Path, mib: u64) -> Result<()> {
    tools::write(image, &[])?;
    let file = std::fs::File::options().write(true).open(image)?;
    Ok(file.set_len(mib << 20)?)
}

/// Everything that a user's own network and card would see.
fn user_network(args: &Args, verdict: &mut Verdict) -> Result<()> {
    let scratch = &args.scratch;
    let image = card_in(scratch)?;
    let (bytes, pings, flaps) = if args.short {
        (8 << 20, 100, 5)
    } else {
        (64 << 20, 1000, 50)
    };
    let server = Server::start(scratch, bytes)?;
    let port = server::free_port()?;
    let mut guest = Guest::boot(&Setup {
        scratch,
        card: &image,
        net: vec![format!("user,id=net,hostfwd=tcp:127.0.0.1:{port}-:8080")],
        genet: "netdev=net".into(),
        emmc2: "medium=sd",
        nice: args.nice,
    })?;
    let g = &mut guest;
    verdict.check("bcmgenet probes", || network::probe(g));
    verdict.check("PHY and link", || network::link(g));
    verdict.check("DHCP", || network::dhcp(g));
    verdict.check("pings", || network::pings(g, pings));
    verdict.check("TCP to the guest", || network::download(g, &server));
    verdict.check("TCP from the guest", || network::upload(g, &server));
    verdict.check("forwarded port", || network::forwarding(g, port));
    verdict.check("counters", || network::counters(g));
    verdict.check("off and on", || network::flap(g, flaps));
    verdict.check("card on EMMC2", || card::found(g));
    let mut written = String::new();
    verdict.check("card keeps what is written", || {
        written = card::write_and_read(g, WRITTEN_MIB)?;
        Ok(written.clone())
    });
    verdict.check("silence", || network::silence(g));
    verdict.check("the guest switches off", || {
        let log = guest.power_off()?;
        tools::write(&scratch.join("linux.log"), log.as_bytes())?;
        Ok("QEMU ended".into())
    });
    verdict.check("the image holds what was written", || {
        let sum = card::image_sum(&image, WRITTEN_MIB, scratch)?;
        if sum != written {
            bail!("{sum}");
        }
        Ok(sum)
    });
    Ok(())
}

/// Frames of all lengths, from a station that looks at each byte.
fn second_station(args: &Args, verdict: &mut Verdict) -> Result<()> {
    let scratch = &args.scratch;
    let peer = Peer::open(scratch)?;
    let mut guest = Guest::boot(&Setup {
        scratch,
        card: &card_in(scratch)?,
        net: peer.netdevs(scratch),
        genet: "netdev=card".into(),
        emmc2: "medium=sd",
        nice: args.nice,
    })?;
    let g = &mut guest;
    verdict.check("link with a second station", || network::link(g));
    verdict.check("frames of all lengths", || network::frames(g, &peer, 1000));
    verdict.check("frame rate", || {
        let short = peer.rate(tools::judge::linux::MAC, 5000, 32, 18)?;
        let long = peer.rate(tools::judge::linux::MAC, 5000, 32, 1472)?;
        Ok(format!(
            "{short:.0} frames/s of 64 bytes, {long:.0} of 1518, in and out"
        ))
    });
    verdict.check("counters after that", || network::counters(g));
    verdict.check("silence after that", || network::silence(g));
    Ok(())
}

/// Linux's rates, and those of a driver that does nothing else.
fn rates(args: &Args, verdict: &mut Verdict) -> Result<()> {
    let scratch = &args.scratch;
    let image = card_in(scratch)?;
    let setup = |net: String| Setup {
        scratch,
        card: &image,
        net: vec![net],
        genet: "netdev=net".into(),
        emmc2: "medium=sd",
        nice: args.nice,
    };
    let mut measured = Measured::default();
    let server = Server::start(scratch, 16 << 20)?;
    let mut guest = Guest::boot(&setup("user,id=net".into()))?;
    verdict.check("Linux: TCP", || measured.tcp(&mut guest, &server));
    drop(guest);
    let station = Flood::open(scratch)?;
    let mut guest = Guest::boot(&setup(station.netdev()))?;
    verdict.check("Linux: frames", || measured.linux(&mut guest, &station));
    drop(guest);
    let station = Flood::open(scratch)?;
    verdict.check("empty driver: frames", || {
        measured.empty(&setup(station.netdev()), &station)
    });
    measured.compare(verdict);
    Ok(())
}

/// Every fault that can be planned.
fn planned_faults(args: &Args, verdict: &mut Verdict) -> Result<()> {
    let scratch = &args.scratch;
    let mut guest = Guest::boot(&Setup {
        scratch,
        card: &card_in(scratch)?,
        net: vec!["user,id=net".into()],
        genet: "netdev=net".into(),
        emmc2: "medium=sd",
        nice: args.nice,
    })?;
    let g = &mut guest;
    verdict.check("link before the faults", || network::link(g));
    verdict.check("lease before the faults", || network::dhcp(g));
    verdict.check("card before the faults", || card::found(g));
    for fault in faults::names() {
        verdict.check(&format!("fault {fault}"), || faults::try_one(g, fault));
    }
    for fault in card_faults::names() {
        verdict.check(&format!("card fault {fault}"), || {
            card_faults::try_one(g, fault)
        });
    }
    Ok(())
}

/// Cores that go and come back.
fn cores(args: &Args, verdict: &mut Verdict) -> Result<()> {
    let scratch = &args.scratch;
    let mut guest = cpus::boot(&Setup {
        scratch,
        card: &card_in(scratch)?,
        net: vec!["user,id=net".into()],
        genet: "netdev=net".into(),
        emmc2: "medium=sd",
        nice: args.nice,
    })?;
    let g = &mut guest;
    let times = if args.short { 3 } else { 20 };
    verdict.check("PSCI", || cpus::firmware(g));
    verdict.check("cores off and on", || cpus::off_and_on(g, times));
    verdict.check("network after that", || {
        network::link(g)?;
        network::dhcp(g)
    });
    Ok(())
}

/// The chip's small blocks.
fn small_blocks(args: &Args, verdict: &mut Verdict) -> Result<()> {
    let scratch = &args.scratch;
    let mut guest = cpus::boot(&Setup {
        scratch,
        card: &card_in(scratch)?,
        net: Vec::new(),
        genet: "backpressure=on".into(),
        emmc2: "medium=sd",
        nice: args.nice,
    })?;
    let g = &mut guest;
    verdict.check("bcm2711_thermal: the temperature", || soc::temperature(g));
    verdict.check("iproc-rng200: random numbers", || soc::random(g));
    verdict.check("bcm2835_wdt: fed", || soc::fed(g));
    verdict.check("small blocks: silence", || soc::silence(g));
    verdict.check("bcm2835_wdt: not fed", || soc::starved(guest));
    Ok(())
}

/// A card of each kind, by ADMA, with the speed that its kind and the board allow.
fn cards(args: &Args, verdict: &mut Verdict) -> Result<()> {
    let scratch = &args.scratch;
    let image = scratch.join("card.img");
    for kind in &card::KINDS {
        card_of(&image, kind.mib)?;
        let mut guest = Guest::boot(&Setup {
            scratch,
            card: &image,
            net: Vec::new(),
            genet: "backpressure=on".into(),
            emmc2: kind.device,
            nice: args.nice,
        })?;
        let g = &mut guest;
        let name = |what: &str| format!("{}: {what}", kind.name);
        verdict.check(&name("on EMMC2"), || card::found(g));
        verdict.check(&name("its kind"), || card::is(g, kind));
        let mut written = String::new();
        verdict.check(&name("keeps what is written"), || {
            written = card::write_and_read(g, WRITTEN_MIB)?;
            Ok(written.clone())
        });
        verdict.check(&name("discards"), || card::discard(g));
        verdict.check(&name("flushes"), || card::flush(g, kind));
        verdict.check(&name("silence"), || card::silence(g));
        verdict.check(&name("the image"), || {
            guest.power_off()?;
            let sum = card::image_sum(&image, WRITTEN_MIB, scratch)?;
            ensure!(sum == written, "{sum}");
            Ok(sum)
        });
    }
    Ok(())
}

/// The second driver that nobody here wrote.
fn u_boot(args: &Args, verdict: &mut Verdict) -> Result<()> {
    const BYTES: usize = 8 << 20;
    let scratch = &args.scratch;
    let file = server::noise(BYTES);
    let crc32 = uboot::crc32(&file);
    tools::write(&scratch.join("tftp/file"), &file)?;
    let mut guest = uboot::boot(&Setup {
        scratch,
        card: &card_in(scratch)?,
        net: vec![format!(
            "user,id=net,tftp={}",
            scratch.join("tftp").display()
        )],
        genet: "netdev=net".into(),
        emmc2: "medium=sd",
        nice: args.nice,
    })?;
    let g = &mut guest;
    verdict.check("U-Boot: DHCP", || uboot::dhcp(g));
    verdict.check("U-Boot: ping", || uboot::ping(g));
    verdict.check("U-Boot: TFTP", || {
        uboot::tftp(g, "file", BYTES as u64, crc32)
    });
    verdict.check("U-Boot: card by SDMA", || uboot::card(g, crc32));
    Ok(())
}

/// A driver gone mad.
fn random_accesses(args: &Args, verdict: &mut Verdict) -> Result<()> {
    let scratch = &args.scratch;
    let accesses = if args.short { 50_000 } else { 1_000_000 };
    for target in [chaos::GENET, chaos::EMMC2] {
        let image = card_in(scratch)?;
        verdict.check(&format!("random accesses to {}", target.name), || {
            let setup = Setup {
                scratch,
                card: &image,
                net: vec!["user,id=net".into()],
                genet: "netdev=net".into(),
                emmc2: "medium=sd",
                nice: args.nice,
            };
            let done = chaos::run(&setup, &target, accesses, args.seed)?;
            Ok(format!(
                "{} in {:.0} s, QEMU lives",
                done.accesses,
                done.took.as_secs_f64()
            ))
        });
    }
    Ok(())
}
