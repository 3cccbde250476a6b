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
# Half of them while sectors are written, half while files come and go.
CUTS     ?= 100
# The model checkers' builds of the locks.
LOOM     := RUSTFLAGS="--cfg loom" CARGO_TARGET_DIR=target/loom cargo
SHUTTLE  := RUSTFLAGS="--cfg shuttle" CARGO_TARGET_DIR=target/shuttle cargo
MODEL    := -p sync --profile model --test model

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help setup kernel tools image run test coverage powercut soak-disk judge check model mutants miri bench-locks bench-intr bench-disk picture \
	clean FORCE

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## install what is missing: Rust target, QEMU, firmware (asks for nothing)
	@tools/setup.sh

kernel: setup ## build out/kernel8.img
	@$(MAKE) --no-print-directory out/kernel8.img

image: setup ## build out/card.img, the SD card for QEMU and for the Pi (SIZE=MiB)
	@$(MAKE) --no-print-directory out/card.img

run: image $(PACK) ## run it in QEMU, console here (ARGS="--gic plain -- -s", ARGS=--help)
	@target/debug/orthogon-run --card out/card.img --cmdline "$$(cat tools/card/cmdline.txt)" $(ARGS)

test: image out/kernel8-dma.img target/debug/judge $(PACK) ## host tests, then QEMU tests; ends with "N passed, N failed"
	@tools/test.sh

coverage: setup ## lines of the drivers that their host tests reach; fails below 90 % (ARGS=--missing)
	@cargo run -q -p tools --bin coverage -- --package drivers --at-least 90 $(ARGS) \
		drivers/src/sd drivers/src/sdhci

powercut: image $(PACK) ## kill QEMU 200 times while it writes: what was acknowledged is on the card
	ORTHOGON_CUTS=100 cargo test -q -p qemu-tests --test qemu -- bio::power --nocapture

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

picture: image $(PACK) ## draw docs/console.svg and docs/guide/domains.svg from sessions in QEMU
	@cargo build -q -p tools -p qemu-tests
	@target/debug/session cpus "ls /boot" threads >out/session.txt
	@target/debug/screen --title "make run: Orthogon on QEMU's raspi4b" <out/session.txt >docs/console.svg
	@target/debug/session --icount "demo domains 5" >out/demo-domains.txt
	@target/debug/domains --machine "QEMU's raspi4b, an instruction a nanosecond (--icount)" \
		<out/demo-domains.txt >docs/guide/domains.svg

clean: ## remove what was built (what was fetched stays in .cache/)
	rm -rf out target

# ---------------------------------------------------------------- files
# cargo knows when the ELF file is up to date, and leaves its date alone if it is.
$(ELF): FORCE
	@cargo build -q --release -p kernel --target $(TARGET)

target/debug/kimage target/debug/card target/debug/orthogon-run target/debug/judge $(PACK) &: FORCE
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
