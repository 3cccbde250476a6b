// SPDX-License-Identifier: MIT OR Apache-2.0
//! Runs the kernel in QEMU with its console on the terminal, and keeps what the console said.

use std::ffi::OsString;
use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail, ensure};
use clap::{Parser, ValueEnum};
use tools::runs;

/// Run the kernel on QEMU's raspi4b, its console on this terminal
#[derive(Parser)]
#[command(version, name = "orthogon-run")]
struct Args {
    #[command(flatten)]
    qemu: tools::qemu::Qemu,
    /// How the kernel holds interrupts off
    #[arg(long, value_enum)]
    spl: Option<Spl>,
    /// How many CPUs start with the kernel; its command `cpu on` starts the others
    #[arg(long, value_parser = clap::value_parser!(u8).range(1..=4))]
    cpus: Option<u8>,
    /// The card: an image, or the size of one that is made once and kept, such as 512M or 2G
    #[arg(long, conflicts_with = "card", value_name = "IMAGE|SIZE")]
    disk: Option<String>,
    /// Stand still until a debugger attaches on port 1234; `make debug` does
    #[arg(long)]
    gdb: bool,
    /// TCP and UDP ports of this host's loopback, HOST:GUEST, that lead to the kernel's (--net user); `none`: no port
    #[arg(long, value_delimiter = ',', default_value = FORWARD)]
    forward: Vec<String>,
    /// Only print the QEMU command
    #[arg(long)]
    dry_run: bool,
}

/// The kernel's word `spl=`.
#[derive(Clone, Copy, ValueEnum)]
enum Spl {
    /// Every raise writes the priority mask
    Eager,
    /// The mask is written when a masked interrupt comes
    Lazy,
    /// The masked interrupt is deferred, the other domains stay open
    Domain,
}

/// Echo, discard, chargen, iperf3.
const FORWARD: &str = "20007:7,20009:9,20019:19,25201:5201";
/// Where a debugger attaches, on the loopback.
const GDB_PORT: u16 = 1234;
/// The host's end of `--net tap`.
const TAP: &str = "orthogon0";
/// Other ends of the cable that QEMU knows.
const NETDEVS: [&str; 9] = [
    "user", "tap", "bridge", "socket", "stream", "dgram", "vde", "l2tpv3", "hubport",
];

fn main() -> ExitCode {
    tools::exit("orthogon-run", run(&Args::parse()))
}

fn run(args: &Args) -> Result<()> {
    let scratch = tools::out_dir().join("run");
    let mut qemu = args.qemu.clone();
    qemu.cmdline = cmdline(args);
    qemu.net = net(&args.qemu.net)?;
    if let Some(disk) = &args.disk {
        qemu.card = Some(card(disk)?);
    }
    if qemu.net == "user" && !qemu.no_pack && args.forward != ["none"] {
        for pair in &args.forward {
            forward(&mut qemu.net, pair)?;
        }
    }
    if args.gdb {
        let stub = format!("tcp:127.0.0.1:{GDB_PORT}");
        qemu.extra.extend(["-S", "-gdb", &stub].map(OsString::from));
    }
    if args.dry_run {
        println!("{:?}", qemu.command(&scratch, "mon:stdio")?);
        return Ok(());
    }
    let mut command = qemu.command(&scratch, "chardev:console")?;
    if args.gdb {
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, GDB_PORT));
        free.with_context(|| format!("port {GDB_PORT}, the debugger's, is taken"))?;
    }
    let console = runs::next(&tools::out_dir().join("runs"))?;
    command.args(["-chardev", &chardev(&console)]);
    command.args(["-mon", "chardev=console,mode=readline"]);
    let warnings = &args.qemu.log;
    let warnings = warnings.strip_prefix(tools::root()).unwrap_or(warnings);
    eprintln!("run     Ctrl-A x ends QEMU, Ctrl-A c is its monitor, Ctrl-A h lists the keys");
    eprintln!(
        "run     the console is kept in {}, QEMU's warnings in {}",
        console.display(),
        warnings.display()
    );
    if args.gdb {
        eprintln!(
            "run     nothing runs until a debugger lets it: `make debug` in another terminal"
        );
    }
    // The monitor's keys must work: QEMU takes this process's place and its terminal.
    Err(command.exec()).context("cannot start qemu-system-aarch64; `make setup` installs it")
}

/// The console on the terminal, beside the monitor, and in a file.
fn chardev(log: &Path) -> String {
    let log = log.to_string_lossy().replace(',', ",,");
    format!("stdio,id=console,mux=on,signal=off,logfile={log}")
}

/// The kernel's command line, with the words of the options behind it.
fn cmdline(args: &Args) -> Option<String> {
    let spl = args.spl.and_then(|spl| spl.to_possible_value());
    let words = [
        args.qemu.cmdline.clone(),
        spl.map(|spl| format!("spl={}", spl.get_name())),
        args.cpus.map(|cpus| format!("cpus={cpus}")),
    ];
    let words: Vec<String> = words.into_iter().flatten().collect();
    (!words.is_empty()).then(|| words.join(" "))
}

/// What `--net` says, for QEMU; what would not work is refused here, where it can be said why.
fn net(word: &str) -> Result<String> {
    let kind = word.split(',').next().unwrap_or_default();
    ensure!(
        word == "none" || word.starts_with("cable=") || NETDEVS.contains(&kind),
        "--net {word}: user, tap, none, or another netdev of QEMU's with its options"
    );
    if word != "tap" {
        return Ok(word.to_owned());
    }
    ensure!(
        Path::new("/sys/class/net").join(TAP).exists(),
        "--net tap: there is no interface {TAP}; as root:\n  \
         ip tuntap add {TAP} mode tap user {}\n  ip addr add 10.0.3.1/24 dev {TAP}\n  ip link set {TAP} up\n\
         and have the kernel take an address there: --cmdline \"ip=10.0.3.2/24\"",
        std::env::var("USER").unwrap_or_else(|_| "YOU".into())
    );
    Ok(format!("tap,ifname={TAP},script=no,downscript=no"))
}

/// The card that `--disk` names: an image that is there, or one of that size, made at its first use.
fn card(word: &str) -> Result<PathBuf> {
    let path = PathBuf::from(word);
    if path.is_file() {
        return Ok(path);
    }
    let Some(mib) = mebibytes(word) else {
        bail!("--disk {word}: no such image, and no size such as 512M or 2G");
    };
    let image = tools::out_dir().join(format!("disk-{mib}M.img"));
    if !image.exists() {
        let maker = std::env::current_exe()?.with_file_name("card");
        let size = mib.to_string();
        let status = Command::new(&maker)
            .args(["--size", &size])
            .arg(&image)
            .status()
            .with_context(|| format!("cannot start {}", maker.display()))?;
        ensure!(status.success(), "--disk {word}: no card was made");
    }
    eprintln!("run     the card is {}, which is kept", image.display());
    Ok(image)
}

/// A size in M or G.
fn mebibytes(word: &str) -> Option<u64> {
    let (number, unit) = word.split_at_checked(word.len().checked_sub(1)?)?;
    let number: u64 = number.parse().ok()?;
    match unit {
        "M" => Some(number),
        "G" => number.checked_mul(1024),
        _ => None,
    }
}

/// Has QEMU's user network forward a port, unless somebody else has it: then the run goes on without.
fn forward(net: &mut String, pair: &str) -> Result<()> {
    let ports = pair.split_once(':').context("--forward takes HOST:GUEST")?;
    let host: u16 = ports.0.parse().with_context(|| pair.to_owned())?;
    let guest: u16 = ports.1.parse().with_context(|| pair.to_owned())?;
    let at = (Ipv4Addr::LOCALHOST, host);
    if TcpListener::bind(at).is_err() || UdpSocket::bind(at).is_err() {
        eprintln!(
            "run     port {host} of this host is taken: the kernel's {guest} is not reached by it"
        );
        return Ok(());
    }
    for protocol in ["tcp", "udp"] {
        *net += &format!(",hostfwd={protocol}:127.0.0.1:{host}-:{guest}");
    }
    eprintln!("run     127.0.0.1:{host} is the kernel's port {guest}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(words: &[&str]) -> Result<Args, clap::Error> {
        Args::try_parse_from(["orthogon-run"].iter().chain(words))
    }

    #[test]
    fn the_options_become_words_of_the_kernel() {
        let words = ["--spl", "lazy", "--cpus", "2", "--cmdline", "panic=exit"];
        let args = parsed(&words).unwrap();
        assert_eq!(cmdline(&args).unwrap(), "panic=exit spl=lazy cpus=2");
        assert_eq!(cmdline(&parsed(&[]).unwrap()), None);
    }

    #[test]
    fn wrong_words_are_refused() {
        for words in [
            ["--spl", "loud"],
            ["--cpus", "0"],
            ["--cpus", "5"],
            ["--cpus", "many"],
        ] {
            let said = parsed(&words).err().expect("refused").to_string();
            assert!(said.contains(words[1]), "{said}");
        }
        assert!(net("wlan").unwrap_err().to_string().contains("wlan"));
        assert!(net("").is_err());
        assert_eq!(net("none").unwrap(), "none");
        assert_eq!(net("user,restrict=on").unwrap(), "user,restrict=on");
        for disk in ["/no/such.img", "12", "x", "1T", "", "M"] {
            assert!(card(disk).unwrap_err().to_string().contains("--disk"));
        }
        assert_eq!(mebibytes("2G"), Some(2048));
    }
}
