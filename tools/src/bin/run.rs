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
#[command(version, name = "orthogon-run", after_help = NETWORKS)]
struct Args {
    #[command(flatten)]
    qemu: tools::qemu::Qemu,
    /// How the kernel holds interrupts off
    #[arg(long, value_enum)]
    spl: Option<Spl>,
    /// How many CPUs start with the kernel; its command `cpu on` starts the others
    #[arg(long, value_parser = clap::value_parser!(u8).range(1..=4))]
    cpus: Option<u8>,
    /// The card: an image, a device, or the size of an image that is made once and kept, such as 512M or 2G
    #[arg(long, conflicts_with = "card", value_name = "IMAGE|DEVICE|SIZE")]
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
/// What the help says of `--net`.
const NETWORKS: &str = "\
--net user: a network inside QEMU, with DHCP, DNS and this host behind it; nothing to set up
--net tap:  this host's own interface orthogon0; where it is not there, how to make it is said
--net none: no cable";
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
    qemu.net = net(&args.qemu.net, Path::new("/"))?;
    if args.qemu.net == "tap" && !has_address(qemu.cmdline.as_deref()) {
        eprintln!(
            "run     the kernel asks on {TAP} for an address by DHCP, unless told one: ip=10.0.3.2/24"
        );
    }
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

/// Whether the command line says how the kernel gets its address.
fn has_address(cmdline: Option<&str>) -> bool {
    let mut words = cmdline.unwrap_or_default().split_whitespace();
    words.any(|word| word.starts_with("ip="))
}

/// What `--net` says, for QEMU; what would not work is refused here, where it can be said why. `root` is above `proc`, whose
/// interfaces are those of this process's network, and `sys`, which may be another network's and then lacks the tap.
fn net(word: &str, root: &Path) -> Result<String> {
    let kind = word.split(',').next().unwrap_or_default();
    ensure!(
        word == "none" || word.starts_with("cable=") || NETDEVS.contains(&kind),
        "--net {word}: user, tap, none, or another netdev of QEMU's with its options"
    );
    if word != "tap" {
        return Ok(word.to_owned());
    }
    let interfaces = std::fs::read_to_string(root.join("proc/self/net/dev"))?;
    let start = format!("{TAP}:");
    ensure!(
        interfaces
            .lines()
            .any(|line| line.trim_start().starts_with(&start)),
        "--net tap: there is no interface {TAP}; as root:\n  \
         ip tuntap add {TAP} mode tap user {}\n  ip addr add 10.0.3.1/24 dev {TAP}\n  ip link set {TAP} up\n\
         and have the kernel take an address there: make run NET=tap IP=10.0.3.2/24",
        std::env::var("USER").unwrap_or_else(|_| "YOU".into())
    );
    let tap = root.join("sys/class/net").join(TAP);
    if let Ok(flags) = std::fs::read_to_string(tap.join("flags")) {
        ensure!(
            tap.join("tun_flags").exists(),
            "--net tap: the interface {TAP} is no tap: `ip tuntap add {TAP} mode tap` makes one"
        );
        let flags = u32::from_str_radix(flags.trim().trim_start_matches("0x"), 16).context(TAP)?;
        ensure!(
            flags & IFF_UP != 0,
            "--net tap: the interface {TAP} is down; as root:\n  ip link set {TAP} up"
        );
    }
    Ok(format!("tap,ifname={TAP},script=no,downscript=no"))
}

/// In an interface's `flags`: somebody has set it up. It may still be without a carrier.
const IFF_UP: u32 = 1;

/// The card that `--disk` names: an image or a device that is there, or an image of that size, made at its first use.
fn card(word: &str) -> Result<PathBuf> {
    let path = PathBuf::from(word);
    if path.exists() && !path.is_dir() {
        return Ok(path);
    }
    let Some(mib) = mebibytes(word) else {
        bail!("--disk {word}: no such image or device, and no size such as 512M or 2G");
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
        let none = Path::new("/no/such/root");
        let said = net("wlan", none).unwrap_err().to_string();
        assert!(said.contains("wlan"), "{said}");
        assert!(net("", none).is_err());
        for word in ["none", "user,restrict=on"] {
            assert_eq!(net(word, none).unwrap(), word);
        }
        assert_eq!(card("/dev/null").unwrap(), Path::new("/dev/null"));
        for disk in ["/no/such.img", "/dev", "12", "x", "1T", "", "M"] {
            assert!(card(disk).unwrap_err().to_string().contains("--disk"));
        }
        assert_eq!(mebibytes("2G"), Some(2048));
    }

    #[test]
    fn a_tap_that_is_not_there_or_down_is_told() {
        let root = tempfile::tempdir().unwrap();
        let said = || net("tap", root.path()).map_err(|error| error.to_string());
        let write = |file: &str, text: &str| {
            tools::write(&root.path().join(file), text.as_bytes()).unwrap();
        };
        write("proc/self/net/dev", "Inter-| Receive\n    lo: 0 0\n");
        assert!(said().unwrap_err().contains("ip tuntap add orthogon0"));
        write(
            "proc/self/net/dev",
            "Inter-| Receive\n    lo: 0 0\northogon0: 0 0\n",
        );
        // Another network's sysfs.
        assert!(said().unwrap().starts_with("tap,ifname=orthogon0"));
        write("sys/class/net/orthogon0/flags", "0x1002\n");
        assert!(said().unwrap_err().contains("no tap"));
        write("sys/class/net/orthogon0/tun_flags", "0x1002\n");
        assert!(said().unwrap_err().contains("ip link set orthogon0 up"));
        write("sys/class/net/orthogon0/flags", "0x1003\n");
        assert!(said().unwrap().starts_with("tap,ifname=orthogon0"));
    }

    #[test]
    fn an_address_is_a_word_of_the_command_line() {
        assert!(has_address(Some("panic=exit ip=10.0.3.2/24")));
        assert!(!has_address(Some("panic=exit chip=10.0.3.2/24")) && !has_address(None));
    }
}
