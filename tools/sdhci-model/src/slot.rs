// SPDX-License-Identifier: MIT OR Apache-2.0
//! The slot: whether a card is in it, has power, and is held busy or away by a fault.

use crate::card::{Answer, Card};

/// Something lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Until {
    Time(u64),
    Forever,
}

impl Until {
    /// So long from now on; `None` is for ever.
    pub(crate) fn after(now_ns: u64, ns: Option<u64>) -> Self {
        ns.map_or(Self::Forever, |ns| Self::Time(now_ns.saturating_add(ns)))
    }

    pub(crate) fn is_over(self, now_ns: u64) -> bool {
        matches!(self, Self::Time(at_ns) if at_ns <= now_ns)
    }

    pub(crate) fn time(self) -> Option<u64> {
        match self {
            Self::Time(at_ns) => Some(at_ns),
            Self::Forever => None,
        }
    }
}

/// The slot and what is in it.
#[derive(Default)]
pub(crate) struct Slot {
    card: Option<Card>,
    /// The card is out, and comes back.
    away: Option<Until>,
    /// The card is busy beyond its work.
    held: Option<Until>,
}

impl Slot {
    pub(crate) fn put(&mut self, card: Option<Card>) -> Option<Card> {
        self.away = None;
        self.held = None;
        let before = std::mem::replace(&mut self.card, card);
        self.power_cycle();
        before
    }

    /// The card, while it is in.
    pub(crate) fn card(&mut self) -> Option<&mut Card> {
        self.card.as_mut().filter(|_| self.away.is_none())
    }

    pub(crate) fn seen(&self) -> Option<&Card> {
        self.card.as_ref().filter(|_| self.away.is_none())
    }

    /// Flushes of the card that is in, or comes back.
    pub(crate) fn flushes(&self) -> u64 {
        self.card.as_ref().map_or(0, Card::flushes)
    }

    /// Pulls the card out.
    pub(crate) fn eject(&mut self, until: Until) {
        self.away = Some(until);
        self.held = None;
    }

    pub(crate) fn power_cycle(&mut self) {
        self.held = None;
        if let Some(card) = &mut self.card {
            card.power_cycle();
        }
    }

    pub(crate) fn command(&mut self, index: u8, argument: u32) -> Option<Answer> {
        let card = self.card().filter(|card| !card.switches_voltage())?;
        card.command(index, argument)
    }

    pub(crate) fn hold(&mut self, until: Until) {
        self.held = Some(until);
    }

    /// Whether DAT0 is low.
    pub(crate) fn is_busy(&self) -> bool {
        self.seen().is_some_and(Card::is_busy)
    }

    /// What is due: a card comes back, a busy one works.
    pub(crate) fn run(&mut self, now_ns: u64) {
        if self.away.is_some_and(|until| until.is_over(now_ns)) {
            self.away = None;
            self.power_cycle();
        }
        if self.held.is_some_and(|until| until.is_over(now_ns)) {
            self.held = None;
        }
        if self.held.is_none()
            && let Some(card) = self.card()
        {
            card.work();
        }
    }

    pub(crate) fn deadline_ns(&self) -> Option<u64> {
        if let Some(away) = self.away {
            return away.time();
        }
        match (self.is_busy(), self.held) {
            (false, _) => None,
            (true, Some(until)) => until.time(),
            (true, None) => Some(0), // it has more to do
        }
    }
}
