# SPDX-License-Identifier: MIT OR Apache-2.0
"""gdb's view of the kernel: ps, cpus, locks, dmesg, thread-bt. `make debug` loads it.

What is shown is read from memory while the machine stands still, without running any of its code:
so it works wherever the kernel was stopped, also in a lock or in a panic. In the first instructions,
with the MMU off, there is nothing to read yet.
"""
import re

import gdb

STATES = "Free Runnable Running Blocked Standby".split()
CPUS = 4
FREE = 0  # of a thread's number: the slot is free


def static(name):
    symbol = gdb.lookup_static_symbol(name) or gdb.lookup_global_symbol(name)
    if symbol is None:
        raise gdb.GdbError(f"there is no {name}: not this kernel, or one without its symbols")
    return symbol.value()


def inner(value):
    """What lies in cells, atomics and other wrappers, down to a number or a pointer."""
    while value.type.strip_typedefs().code == gdb.TYPE_CODE_STRUCT:
        fields = [f for f in value.type.fields() if f.type.sizeof]
        if len(fields) != 1:
            break
        value = value[fields[0]]
    return value


def number(value):
    return int(inner(value))


def text(value):
    """A &str."""
    return bytes(gdb.selected_inferior().read_memory(int(value["data_ptr"]), int(value["length"]))).decode()


def name_of(thread):
    words = inner(thread["name"])
    size = words.type.sizeof
    data = bytes(gdb.selected_inferior().read_memory(int(words.address), size))
    return data.split(b"\0")[0].decode(errors="replace")


def threads():
    table = static("kernel::thread::table::THREADS")
    first, last = table.type.range()
    for index in range(first, last + 1):
        thread = table[index]
        if number(thread["id"]) != FREE:
            yield thread


def function_at(address):
    block = gdb.execute(f"info symbol {address:#x}", to_string=True).strip()
    if block.startswith("No symbol"):
        return f"{address:#x}"
    return re.sub(r"::h[0-9a-f]{16}\b", "", block.split(" in section")[0])


def lock_words():
    """The address of each lock's word, and what it is of."""
    table = static("sync::lockstat::TABLE")
    first, last = table.type.range()
    for index in range(first, last + 1):
        kind = inner(table[index]["kind"])
        if int(kind):
            yield number(table[index]["word"]), kind.dereference()


class Ps(gdb.Command):
    """ps: the kernel's threads: number, name, state, priority, CPU, and where a waiting one stands."""

    def __init__(self):
        super().__init__("ps", gdb.COMMAND_STATUS)

    def invoke(self, argument, from_tty):
        print("  id  name             state     pri  cpu  stands in")
        for thread in threads():
            state = STATES[int(inner(inner(thread["sched"])["state"]))]
            where = ""
            if state not in ("Running", "Standby"):
                where = function_at(int(inner(thread["context"])["pc"]))
            priority = number(thread["sync"]["priority"])
            print(
                f"{number(thread['id']):>4}  {name_of(thread):<15}  {state.lower():<8}"
                f"  {priority:>3}  {number(thread['cpu']):>3}  {where}"
            )


class Cpus(gdb.Command):
    """cpus: the thread that each CPU runs, and where it is."""

    def __init__(self):
        super().__init__("cpus", gdb.COMMAND_STATUS)

    def invoke(self, argument, from_tty):
        selected = gdb.selected_thread()
        by_address = {int(thread.address): thread for thread in threads()}
        print("cpu  thread                 stands in")
        for cpu in sorted(gdb.selected_inferior().threads(), key=lambda t: t.num):
            cpu.switch()
            frame = gdb.newest_frame()
            thread = by_address.get(int(frame.read_register("TPIDR_EL1")))
            who = f"{number(thread['id'])} {name_of(thread)}" if thread else "-"
            print(f"{cpu.num - 1:>3}  {who:<21}  {function_at(frame.pc())}")
        selected.switch()


class Locks(gdb.Command):
    """locks: the mutexes that are held, by whom, and who waits for them."""

    def __init__(self):
        super().__init__("locks", gdb.COMMAND_STATUS)

    def invoke(self, argument, from_tty):
        known = {int(thread["sync"].address): thread for thread in threads()}
        waiting = {}
        for thread in known.values():
            on = int(inner(thread["sync"]["blocked"])["on"])
            if on:
                waiting.setdefault(on, []).append(thread)
        print("class          kind      held by                waited for by")
        core = gdb.lookup_type("sync::kmutex::slow::Core")
        offset = {field.name: field.bitpos // 8 for field in core.fields()}
        for address, kind in lock_words():
            if text(kind["lock"]) == "rwlock":
                continue
            word = int.from_bytes(gdb.selected_inferior().read_memory(address, 8), "little")
            owner = known.get(word & ~7)
            if owner is None:
                continue
            waiters = waiting.get(address - offset["word"] + offset["turnstile"], [])
            title = lambda t: f"{number(t['id'])} {name_of(t)}"
            print(
                f"{text(kind['class']):<13}  {text(kind['lock']):<8}  {title(owner):<21}"
                f"  {', '.join(map(title, waiters))}"
            )


class Dmesg(gdb.Command):
    """dmesg: the kernel's log, with what was not printed."""

    def __init__(self):
        super().__init__("dmesg", gdb.COMMAND_STATUS)

    def invoke(self, argument, from_tty):
        ring = inner(static("kernel::klog::MEMORY")["value"])["ring"]
        written, size = int(ring["written"]), ring["bytes"].type.sizeof
        data = bytes(gdb.selected_inferior().read_memory(int(ring["bytes"].address), size))
        if written > size:
            at = written % size
            data = (data[at:] + data[:at]).split(b"\n", 1)[-1]
        else:
            data = data[:written]
        for line in data.decode(errors="replace").splitlines():
            print(line[1:])


class ThreadBt(gdb.Command):
    """thread-bt NUMBER: where a thread that waits stands, and who called that."""

    def __init__(self):
        super().__init__("thread-bt", gdb.COMMAND_STACK)

    def invoke(self, argument, from_tty):
        wanted = int(argument) if argument.isdigit() else None
        thread = next((t for t in threads() if number(t["id"]) == wanted), None)
        if thread is None:
            raise gdb.GdbError("thread-bt NUMBER: one of those that ps lists")
        context = inner(thread["context"])
        pc, frame = int(context["pc"]), int(context["x29"])
        memory = gdb.selected_inferior()
        for depth in range(40):
            print(f"#{depth:<3} {pc:#010x}  {function_at(pc)}")
            if not frame or frame & 7:
                break
            record = bytes(memory.read_memory(frame, 16))
            frame, pc = (int.from_bytes(part, "little") for part in (record[:8], record[8:]))
            if not pc:
                break


gdb.execute("set architecture aarch64")
gdb.execute("set pagination off")
gdb.execute("set confirm off")
for command in (Ps, Cpus, Locks, Dmesg, ThreadBt):
    command()
