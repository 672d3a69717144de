//! What the kernel's books say of a process.

use crate::Error;

/// The kernel's clock ticks in a second, as it shows them to user space on every Linux we run on.
const TICKS: f64 = 100.0;

/// CPU seconds that a process has used, user and system.
pub(super) fn cpu_seconds(pid: u32) -> Result<f64, Error> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // Behind the name in parentheses, which may hold anything; utime and stime are the 12th and
    // 13th field from there (proc(5)).
    let fields = stat.rsplit_once(')').ok_or("no name in /proc stat")?.1;
    let ticks: Vec<f64> =
        fields.split_whitespace().skip(11).take(2).map_while(|n| n.parse().ok()).collect();
    Ok(ticks.iter().sum::<f64>() / TICKS)
}

/// Resident memory now and at its peak, in MiB.
pub(super) fn memory_mib(pid: u32) -> Result<(f64, f64), Error> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let field = |name: &str| -> Result<f64, Error> {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        let kib = line.and_then(|rest| rest.split_whitespace().next()).ok_or("no such field")?;
        Ok(kib.parse::<f64>()? / 1024.0)
    };
    Ok((field("VmRSS:")?, field("VmHWM:")?))
}

/// Lets the peak count from now on.
pub(super) fn reset_peak(pid: u32) -> Result<(), Error> {
    // 5 resets the peak (proc(5)).
    Ok(std::fs::write(format!("/proc/{pid}/clear_refs"), "5")?)
}

/// The machine's load average over the last minute.
pub(super) fn load() -> Result<f64, Error> {
    let text = std::fs::read_to_string("/proc/loadavg")?;
    Ok(text.split_whitespace().next().ok_or("empty /proc/loadavg")?.parse()?)
}
