// SPDX-License-Identifier: MIT OR Apache-2.0
//! Has Debian's Linux judge the device pack.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Result, bail, ensure};
use clap::{Parser, ValueEnum};
use tools::judge::guest::{Guest, Setup};
use tools::judge::peer::Peer;
use tools::judge::server::Server;
use tools::judge::{Verdict, card, chaos, faults, network, server, uboot};

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
    /// Every planned fault
    Faults,
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
    let parts: [(Part, Judge); 5] = [
        (Part::Network, user_network),
        (Part::Frames, second_station),
        (Part::Faults, planned_faults),
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
    tools::write(&image, &[])?;
    let file = std::fs::File::options().write(true).open(&image)?;
    file.set_len(CARD_MIB << 20)?;
    Ok(image)
}

/// Everything that a user's own network and card would see.
fn user_network(args: &Args, verdict: &mut Verdict) -> Result<()> {
    let scratch = &args.scratch;
    let image = scratch.join("card.img");
    tools::write(&image, &[])?;
    std::fs::File::options()
        .write(true)
        .open(&image)?
        .set_len(CARD_MIB << 20)?;
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

/// Every fault that can be planned.
fn planned_faults(args: &Args, verdict: &mut Verdict) -> Result<()> {
    let scratch = &args.scratch;
    let mut guest = Guest::boot(&Setup {
        scratch,
        card: &card_in(scratch)?,
        net: vec!["user,id=net".into()],
        genet: "netdev=net".into(),
        nice: args.nice,
    })?;
    let g = &mut guest;
    verdict.check("link before the faults", || network::link(g));
    verdict.check("lease before the faults", || network::dhcp(g));
    for fault in faults::names() {
        verdict.check(&format!("fault {fault}"), || faults::try_one(g, fault));
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
    let image = card_in(scratch)?;
    let accesses = if args.short { 50_000 } else { 1_000_000 };
    verdict.check("random accesses", || {
        let setup = Setup {
            scratch,
            card: &image,
            net: vec!["user,id=net".into()],
            genet: "netdev=net".into(),
            nice: args.nice,
        };
        let done = chaos::run(&setup, accesses, args.seed)?;
        Ok(format!(
            "{} in {:.0} s, QEMU lives",
            done.accesses,
            done.took.as_secs_f64()
        ))
    });
    Ok(())
}
