// SPDX-License-Identifier: MIT OR Apache-2.0
//! The link as the controller sees it: coming, going, and lost by plan.

use crate::Genet;
use crate::fault::Fault;
use crate::intrl2::a;
use crate::outside::Line;

/// A planned loss of link: what the cable does next, and for how long it then stays so.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Flap {
    pub(crate) at_ns: u64,
    plug: bool,
    span_ns: u64,
}

impl Genet {
    /// Does the next step of a planned loss of link.
    pub(crate) fn run_flap(&mut self, now_ns: u64) {
        let Some(flap) = self.flap.filter(|flap| now_ns >= flap.at_ns) else {
            return;
        };
        self.phy.set_cable(flap.plug, now_ns);
        // Once it is plugged in again, the link that comes up is the next flap's chance.
        self.flap = (!flap.plug).then_some(Flap {
            at_ns: now_ns + flap.span_ns,
            plug: true,
            ..flap
        });
    }

    /// Signals a link that came or went.
    pub(crate) fn see_link(&mut self, now_ns: u64) {
        let link = self.phy.link();
        match (self.link, link) {
            (None, Some(_)) => {
                self.raise(Line::A, a::LINK_UP);
                let struck = self.faults.strike(Fault::LinkFlap);
                self.flap = struck.map(|span_ns| Flap {
                    at_ns: now_ns + span_ns,
                    plug: false,
                    span_ns,
                });
            }
            (Some(_), None) => self.raise(Line::A, a::LINK_DOWN),
            _ => {}
        }
        self.link = link;
    }
}
