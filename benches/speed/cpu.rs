//! Processor time of a process and all it started, from `/proc`: the figure that moves least when the machine is shared.

use std::collections::BTreeMap;
use std::path::Path;

/// Ticks in a second, as Linux shows them to programs on every architecture in use.
const TICKS: f64 = 100.0;

/// Seconds of processor time so far: of the process, of its descendants, and of those that ended.
pub fn seconds_of(root: u32) -> f64 {
    let all = processes();
    let mut wanted = vec![root];
    let mut ticks = 0;
    while let Some(pid) = wanted.pop() {
        let Some(process) = all.get(&pid) else { continue };
        ticks += process.ticks;
        wanted.extend(all.iter().filter(|(_, it)| it.parent == pid).map(|(pid, _)| *pid));
    }
    f64::from(u32::try_from(ticks).unwrap_or(u32::MAX)) / TICKS
}

/// Seconds of processor time of this process's children that have ended and were waited for.
pub fn seconds_of_ended_children() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit_once(')').map_or("", |it| it.1).split_whitespace().collect();
    let ticks = fields.get(13..=14).into_iter().flatten().filter_map(|it| it.parse::<u32>().ok());
    ticks.map(f64::from).sum::<f64>() / TICKS
}

/// The most memory it ever had resident, in bytes.
pub fn peak_bytes(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or_default() * 1024
}

struct Process {
    parent: u32,
    ticks: u64,
}

fn processes() -> BTreeMap<u32, Process> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let read = |path: &Path| -> Option<Process> {
        let stat = std::fs::read_to_string(path.join("stat")).ok()?;
        // The name stands in brackets and may hold anything.
        let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
        let number = |place: usize| fields.get(place)?.parse::<u64>().ok();
        // User and system time, its own and that of children it has waited for.
        let ticks = (11..=14).map(number).sum::<Option<u64>>()?;
        Some(Process { parent: u32::try_from(number(1)?).ok()?, ticks })
    };
    let numbered = entries.filter_map(|entry| Some((entry.file_name().to_str()?.parse().ok()?, entry.path())));
    numbered.filter_map(|(pid, path)| Some((pid, read(&path)?))).collect()
}
