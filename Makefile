# SPDX-License-Identifier: MIT OR Apache-2.0
# Every step that a person or the CI takes is a target here; `make` alone lists them.

TARGET   := aarch64-unknown-none-softfloat
GUEST    := aarch64-unknown-linux-musl
ELF      := target/$(TARGET)/release/kernel
FIRMWARE := $(addprefix .cache/firmware/,bl31.bin start4.elf fixup4.dat LICENCE.broadcom LICENCE.tf-a)
# What QEMU's raspi4b lacks, preloaded into it.
PACK     := target/debug/libpi4_devices.so
# The card's size in MiB, a power of two; and further arguments, see `make run ARGS=--help`.
SIZE     ?= 256
ARGS     ?=
# Of make release: its image, the day of the sources.
RELEASE  := orthogon-$(shell sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml)-rpi4.img
DATE      = $(shell git log -1 --format=%cs 2>/dev/null || date +%F)
# Of `make run`: SPL=eager|lazy|domain CPUS=1..4 NET=user|tap|none IP=ADDRESS/BITS DISK=IMAGE|DEVICE|SIZE GDB=1 SERVICES=...
NET      ?= user
# Power cuts of each kind: while sectors are written, while files come and go; by each of two kernels.
CUTS     ?= 100
# With the disk busy.
PANICS   ?= 50
# Of make torture-net.
FRAMES   ?= 1000000
SEED     ?= 1
TORTURE   = ORTHOGON_FRAMES=$(FRAMES) ORTHOGON_SEED=$(SEED) ORTHOGON_BAD_PATH_MIB=16
# The model checkers' builds of the locks.
LOOM     := RUSTFLAGS="--cfg loom" CARGO_TARGET_DIR=target/loom cargo
SHUTTLE  := RUSTFLAGS="--cfg shuttle" CARGO_TARGET_DIR=target/shuttle cargo
MODEL    := -p sync --profile model --test model

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help setup kernel tools image release flash run debug test coverage powercut panics soak-disk judge check model mutants miri bench-locks bench-intr bench-disk bench-net bench-domains bench torture-net soak-net doc picture \
	clean FORCE

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## install what is missing: Rust target, QEMU, firmware (asks for nothing)
	@tools/setup.sh

kernel: setup ## build out/kernel8.img
	@$(MAKE) --no-print-directory out/kernel8.img

image: setup ## build out/card.img, the SD card for QEMU and for the Pi (SIZE=MiB)
	@$(MAKE) --no-print-directory out/card.img

release: setup ## build out/release: image for a card of any size, .img.xz, sums, list for Raspberry Pi Imager (FIRMWARE_DIR= URL=)
	@$(MAKE) --no-print-directory out/kernel8.img out/orthogon-rpi4.dtb out/disable-bt.dtbo target/debug/release
	@target/debug/release out/release --date $(DATE) $(if $(FIRMWARE_DIR),--firmware "$(FIRMWARE_DIR)") $(if $(URL),--url "$(URL)")

flash: $(if $(DEV),release) target/debug/orthogon-flash ## write it to an SD card: shows the device, asks, reads back (DEV=/dev/sdX ARGS=--help)
	@target/debug/orthogon-flash --image out/release/$(RELEASE).xz $(ARGS) "$(DEV)"

run: $(if $(GDB),out/kernel8-gdb.img) image $(PACK) ## run it in QEMU, console here (SPL= CPUS= NET= IP= DISK= SERVICES= GDB=1, ARGS=--help)
	@target/debug/orthogon-run --net "$(NET)" $(if $(DISK),--disk "$(DISK)",--card out/card.img) \
		$(if $(SPL),--spl "$(SPL)") $(if $(CPUS),--cpus "$(CPUS)") \
		$(if $(GDB),$(if $(filter 1,$(GDB)),--gdb --kernel out/kernel8-gdb.img,$(error GDB=$(GDB): GDB=1 waits for `make debug`))) \
		--cmdline "$$(cat tools/card/cmdline.txt)$(if $(IP), ip=$(IP))$(if $(SERVICES), services=$(SERVICES))" $(ARGS); status=$$?; \
		[ $$status != 0 ] || echo "run     ended; the console is kept in out/runs/$$(readlink out/runs/last.log)"; exit $$status

debug: out/kernel8-gdb.img ## gdb on what `make run GDB=1` runs, with symbols and helpers (tools/gdb/orthogon.py)
	@gdb=$$(command -v gdb-multiarch || command -v aarch64-linux-gnu-gdb) || \
		{ echo "debug: there is no gdb for arm64; on Debian: apt install gdb-multiarch" >&2; exit 1; }; \
		exec "$$gdb" -q -x tools/gdb/orthogon.py -ex "target remote 127.0.0.1:1234" $(ARGS) target/$(TARGET)/gdb/kernel

test: image out/kernel8-dma.img out/kernel8-gdb.img target/debug/judge $(PACK) ## host tests, then QEMU tests; ends with "N passed, N failed"
	@tools/test.sh

coverage: setup ## lines of the drivers that their host tests reach; fails below 90 % (ARGS=--missing)
	@cargo run -q -p tools --bin coverage -- --package drivers --at-least 90 $(ARGS) \
		drivers/src/sd drivers/src/sdhci drivers/src/genet

powercut: image out/kernel8-dma.img $(PACK) ## kill QEMU 400 times while it writes: what was acknowledged is on the card (CUTS=100)
	ORTHOGON_CUTS=$(CUTS) cargo test -q -p qemu-tests --test qemu -- bio::power --nocapture
	ORTHOGON_CUTS=$(CUTS) ORTHOGON_DMA_TRUTH=1 cargo test -q -p qemu-tests --test qemu -- bio::power --nocapture

panics: image out/kernel8-dma.img $(PACK) ## 50 panics while the disk is busy: each leaves its dump and harms nothing (PANICS=50)
	ORTHOGON_PANICS=$(PANICS) cargo test -q -p qemu-tests --test qemu -- crashdump --nocapture
	ORTHOGON_DMA_TRUTH=1 cargo test -q -p qemu-tests --test qemu -- crashdump --nocapture

soak-disk: image $(PACK) ## 1,000,000 requests on a card of 64 GiB: memory returns to its level
	ORTHOGON_REQUESTS=1000000 cargo test -q -p qemu-tests --test qemu -- bio::memory --nocapture

judge: image target/debug/judge $(PACK) out/bare-ethernet.img ## Linux's and U-Boot's own drivers on the device pack, 10 min (ARGS=--short)
	@tools/setup.sh judge
	@target/debug/judge $(ARGS)

check: setup ## rustfmt, clippy with warnings denied, import rules of the workspace
	cargo fmt --all -- --check
	cargo clippy -q --all-targets -- -D warnings
	$(LOOM) clippy -q $(MODEL) -- -D warnings
	$(SHUTTLE) clippy -q $(MODEL) -- -D warnings
	cargo clippy -q --release -p bsp -p kernel --features kernel/probes --target $(TARGET) -- -D warnings
	cargo run -q -p tools --bin layering

model: ## model checks of the locks: each prints its bound and how much it explored
	$(LOOM) test $(MODEL) -- --nocapture
	$(SHUTTLE) test $(MODEL) -- --nocapture

miri: ## the locks' host tests under Miri: undefined behaviour, data races, leaks
	@cargo +nightly miri --version >/dev/null 2>&1 || \
		rustup toolchain install nightly --profile minimal --component miri,rust-src
	MIRIFLAGS=-Zmiri-permissive-provenance cargo +nightly miri test -p sync --features host

mutants: ## weaken the locks, one place at a time: a check must fail for each
	@cargo run -q -p tools --bin mutants

bench-locks: image $(PACK) ## count the instructions of locks' paths and waits (ARGS=--verbose lists them)
	@cargo build -q --release -p kernel --bin probes --features probes --target $(TARGET)
	@cargo build -q -p tools -p qemu-tests
	@target/debug/session --icount "bench cv" >out/bench-cv.txt
	@target/debug/bench_locks --console out/bench-cv.txt $(ARGS) target/$(TARGET)/release/probes

bench-intr: image $(PACK) ## instructions from interrupt to handler or thread, and which functions they are in
	@cargo build -q -p qemu-tests
	@target/debug/irqtrace

bench-disk: image $(PACK) out/bare-disk.img ## the card's speed beside Linux's and the emulator's own (ARGS=--help)
	@tools/setup.sh judge
	@cargo build -q --release -p linux-disk --target $(GUEST)
	@cargo build -q -p qemu-tests
	@target/debug/bench_disk $(ARGS)

torture-net: image out/kernel8-dma.img $(PACK) ## a million wrong frames, floods, faults, 16 MiB through bad paths, by both kernels (FRAMES=N SEED=N)
	$(TORTURE) cargo test -q -p qemu-tests --test qemu -- net::robust net::impaired --nocapture
	$(TORTURE) ORTHOGON_DMA_TRUTH=1 cargo test -q -p qemu-tests --test qemu -- net::robust net::impaired --nocapture

bench-net: image $(PACK) out/bare-ethernet.img ## TCP, UDP and echoes beside Linux's, and instructions a packet (ARGS=--help)
	@tools/setup.sh judge
	@cargo build -q --release -p linux-net --target $(GUEST)
	@cargo build -q -p qemu-tests
	@target/debug/bench_net $(ARGS)

soak-net: image $(PACK) ## an hour of disk and network at once: nothing grows; docs/guide/soak-net.svg (ARGS="--minutes 20")
	@cargo build -q -p qemu-tests
	@nice -n 5 target/debug/soak_net --plot docs/guide/soak-net.svg $(ARGS)

bench-domains: image $(PACK) ## disk and network beside each other, the CPU's share taken out (ARGS=--help)
	@cargo build -q -p qemu-tests
	@target/debug/bench_domains $(ARGS)

bench: image $(PACK) out/bare-disk.img out/bare-ethernet.img ## all of bench-* on one page, out/bench/index.md, beside the baseline (SHORT=1 BENCH="locks disk" UPDATE=1)
	@cargo build -q -p tools -p qemu-tests
	@tools/bench.sh $(if $(SHORT),--short) $(BENCH)
	@target/debug/bench $(if $(UPDATE),--update)

doc: image $(PACK) ## the guide in out/doc/index.html: reference from the kernel, links and examples checked
	@tools/setup.sh doc
	@cargo build -q -p tools -p qemu-tests
	@target/debug/reference
	@cargo test -q -p sync --test manual
	@target/debug/guide

picture: image $(PACK) ## draw the pictures of consoles in docs/ from sessions in QEMU
	@cargo build -q -p tools -p qemu-tests
	@target/debug/session cpus "ls /boot" threads >out/session.txt
	@target/debug/screen --title "make run: Orthogon on QEMU's raspi4b" <out/session.txt >docs/console.svg
	@target/debug/session "lockdebug on" "provoke deadlock" 3 lockdebug threads "provoke stop" >out/deadlock.txt
	@target/debug/screen --title "A deadlock: provoke deadlock" <out/deadlock.txt >docs/guide/deadlock.svg
	@target/debug/session "lockstat on" "provoke hog" 3 lockstat threads "provoke stop" >out/hog.txt
	@target/debug/screen --title "A lock that one thread hogs: provoke hog" <out/hog.txt >docs/guide/hog.svg
	@target/debug/session --icount "demo domains 5" >out/demo-domains.txt
	@target/debug/domains --machine "QEMU's raspi4b, an instruction a nanosecond (--icount)" \
		<out/demo-domains.txt >docs/guide/domains.svg

clean: ## remove what was built (what was fetched stays in .cache/)
	rm -rf out target

# ---------------------------------------------------------------- files
# cargo knows when the ELF file is up to date, and leaves its date alone if it is.
$(ELF): FORCE
	@cargo build -q --release -p kernel --target $(TARGET)

target/debug/kimage target/debug/card target/debug/release target/debug/orthogon-flash target/debug/orthogon-run \
		target/debug/judge $(PACK) &: FORCE
	@cargo build -q -p tools -p pi4-devices

out/kernel8.img: $(ELF) target/debug/kimage
	@target/debug/kimage $< $@

# The emptiest program for a device: what the emulator itself can do.
out/bare-%.img: target/debug/kimage FORCE
	@cargo build -q --release -p bare --bin $* --target $(TARGET)
	@target/debug/kimage target/$(TARGET)/release/$* $@

# For tests: each DMA buffer twice, and only cache maintenance joins the two (kernel/src/dma.rs).
out/kernel8-dma.img: FORCE target/debug/kimage
	@cargo build -q --release -p kernel --features dma-truth --target $(TARGET) --target-dir target/dma
	@target/debug/kimage target/dma/$(TARGET)/release/kernel $@

# For gdb: the same code with the types and variables of its sources.
out/kernel8-gdb.img: FORCE target/debug/kimage
	@cargo build -q --profile gdb -p kernel --target $(TARGET)
	@target/debug/kimage target/$(TARGET)/gdb/kernel $@

# -p: room for BL31's edits; -@: labels for the overlay; soc, scb, emmc2bus bear these names
# in every tree of this board.
out/%.dtb: bsp/dts/%.dts
	@mkdir -p out
	@dtc -q -@ -p 0x2000 -W no-unit_address_vs_reg -O dtb -o $@ $<

out/%.dtbo: bsp/dts/%.dts
	@mkdir -p out
	@dtc -q -@ -O dtb -o $@ $<

out/card.img: out/kernel8.img out/orthogon-rpi4.dtb out/disable-bt.dtbo target/debug/card \
		tools/card/config.txt tools/card/cmdline.txt $(FIRMWARE) out/.size-$(SIZE)
	@target/debug/card --size $(SIZE) $@

out/.size-%:
	@mkdir -p out
	@rm -f out/.size-*
	@touch $@
