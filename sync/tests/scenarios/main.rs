// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the locks promise, played through step by step on a machine with one CPU and a clock of its own.
mod fairness;
mod inheritance;
mod release;
mod sim;
