// SPDX-License-Identifier: MIT OR Apache-2.0
//! The console's reference in the guide, from what the running kernel says of its commands.

use crate::Console;

/// Names of all commands, as `help` lists them.
pub fn names(list: &str) -> Vec<String> {
    // A line that is indented further goes on with the summary of the one before.
    let lines = list.lines().filter(|line| !line.starts_with("   "));
    let names = lines.filter_map(|line| line.split_whitespace().next());
    names.map(str::to_owned).collect()
}

/// The page.
pub fn page(console: &mut Console) -> String {
    let list = console.command("help");
    let explain: Vec<_> = names(&list)
        .into_iter()
        .map(|name| {
            let help = console.command(&format!("help {name}"));
            (name, help)
        })
        .collect();
    tools::guide::reference(&list, &explain)
}
