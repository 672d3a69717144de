//! What the kernel's books say of a process and of the machine.

use std::ops::Sub;

use crate::Error;

/// The kernel's clock ticks in a second, as it shows them to user space on every Linux we run on.
const TICKS: f64 = 100.0;

/// CPU seconds used so far, by whom.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Cpu {
    /// The program that is measured.
    pub(super) process: f64,
    pub(super) apiserver: f64,
    pub(super) etcd: f64,
    /// Everything on this machine, those three and us included.
    pub(super) machine: f64,
}

impl Sub for Cpu {
    type Output = Self;

    fn sub(self, earlier: Self) -> Self {
        Self {
            process: self.process - earlier.process,
            apiserver: self.apiserver - earlier.apiserver,
            etcd: self.etcd - earlier.etcd,
            machine: self.machine - earlier.machine,
        }
    }
}

/// CPU seconds that a process has used, user and system.
pub(super) fn cpu_seconds(pid: u32) -> Result<f64, Error> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // Behind the name in parentheses, which may hold anything; utime and stime are the 12th and
    // 13th field from there (proc(5)).
    let fields = stat.rsplit_once(')').ok_or("no name in /proc stat")?.1;
    Ok(ticks(fields.split_whitespace().skip(11).take(2)).iter().sum::<f64>() / TICKS)
}

/// CPU seconds that the whole machine has used since it started.
pub(super) fn machine_cpu_seconds() -> Result<f64, Error> {
    busy_seconds(&std::fs::read_to_string("/proc/stat")?)
}

/// user, nice, system, idle, iowait, irq, softirq, steal (proc(5)); guests are in user already.
fn busy_seconds(stat: &str) -> Result<f64, Error> {
    let line = stat.lines().find_map(|line| line.strip_prefix("cpu "));
    let ticks = ticks(line.ok_or("no cpu in /proc/stat")?.split_whitespace().take(8));
    let [user, nice, system, _idle, _iowait, irq, softirq, steal] = ticks[..] else {
        return Err("too few fields in /proc/stat".into());
    };
    Ok((user + nice + system + irq + softirq + steal) / TICKS)
}

fn ticks<'a>(fields: impl Iterator<Item = &'a str>) -> Vec<f64> {
    fields.map_while(|field| field.parse().ok()).collect()
}

/// How many cores there are to share.
pub(super) fn cores() -> u32 {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    u32::try_from(cores).unwrap_or(u32::MAX)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waiting_for_the_disk_is_not_work() {
        let stat = "cpu  100 10 50 9000 700 5 3 2 40 0\ncpu0 1 1 1 1 1 1 1 1 1 1\n";
        assert!((busy_seconds(stat).unwrap() - 1.7).abs() < 1e-9);
        assert!(busy_seconds("cpu  1 2 3\n").is_err());
        assert!(machine_cpu_seconds().unwrap() > 0.0);
    }

    #[test]
    fn we_use_cpu_and_memory() {
        let pid = std::process::id();
        assert!(cpu_seconds(pid).unwrap() >= 0.0);
        let (now, peak) = memory_mib(pid).unwrap();
        assert!(0.0 < now && now <= peak);
    }
}
