//! This process as Prometheus' own libraries show theirs: the names that common dashboards and alerts look for.

use std::fmt;
use std::fs;

use nix::sys::resource::{Resource, getrlimit};
use nix::time::{ClockId, clock_gettime};
use nix::unistd::{SysconfVar, sysconf};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Unit;

/// What is known of this process.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Process {
    /// Time on CPUs of all threads, seconds.
    cpu: f64,
    /// Start, in seconds since 1970.
    start: f64,
    /// Address space, bytes.
    virtual_memory: u64,
    /// Memory that it has, bytes.
    resident: u64,
    open_fds: u64,
    max_fds: u64,
}

impl Process {
    /// As it is now; `None` where `/proc` does not say.
    pub fn read() -> Option<Self> {
        let of =
            |variable| sysconf(variable).ok().flatten().and_then(|value| value.try_into().ok());
        let (ticks, page) = (of(SysconfVar::CLK_TCK)?, of(SysconfVar::PAGE_SIZE)?);
        let since_1970 = seconds(ClockId::CLOCK_REALTIME)?;
        let boot = since_1970 - seconds(ClockId::CLOCK_BOOTTIME)?;
        let stat = fs::read_to_string("/proc/self/stat").ok()?;
        let (max_fds, _) = getrlimit(Resource::RLIMIT_NOFILE).ok()?;
        let open_fds = fs::read_dir("/proc/self/fd").ok()?.count();
        // One of them is the directory.
        let open_fds = u64::try_from(open_fds).ok()?.saturating_sub(1);
        Self::parse(&stat, boot, ticks, page, open_fds, max_fds)
    }

    /// From `/proc/PID/stat` (proc_pid_stat(5)). The name of the program, in parentheses, may have spaces.
    fn parse(
        stat: &str,
        boot: f64,
        ticks: u64,
        page: u64,
        open_fds: u64,
        max_fds: u64,
    ) -> Option<Self> {
        let (_, fields) = stat.rsplit_once(')')?;
        let fields: Vec<&str> = fields.split_whitespace().collect();
        // The first one is number 3, the state.
        let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
        #[allow(clippy::cast_precision_loss, reason = "exact for 2^53 ticks")]
        let time = |count: u64| count as f64 / ticks as f64;
        Some(Self {
            cpu: time(field(14)? + field(15)?),
            start: boot + time(field(22)?),
            virtual_memory: field(23)?,
            resident: field(24)? * page,
            open_fds,
            max_fds,
        })
    }

    #[cfg(test)]
    pub fn sample() -> Self {
        let stat = "7 (a b) c) S 1 7 7 0 -1 4194560 9 0 0 0 100 50 0 0 20 0 9 0 1000 40960 2 18446744073709551615";
        Self::parse(stat, 1_000.0, 100, 4096, 40, 65_536).unwrap()
    }
}

fn seconds(clock: ClockId) -> Option<f64> {
    let time = clock_gettime(clock).ok()?;
    Some(std::time::Duration::from(time).as_secs_f64())
}

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let cpu = ConstCounter::new(self.cpu);
        let kind = cpu.metric_type();
        let help = "User and system CPU time of all threads";
        cpu.encode(encoder.encode_descriptor("process_cpu", help, Some(&Unit::Seconds), kind)?)?;
        let start = ConstGauge::new(self.start);
        let kind = start.metric_type();
        let help = "Start of the process, since 1970; an upgrade keeps the process";
        start.encode(encoder.encode_descriptor(
            "process_start_time",
            help,
            Some(&Unit::Seconds),
            kind,
        )?)?;
        let counts = [
            ("process_virtual_memory", "Address space", Some(&Unit::Bytes), self.virtual_memory),
            ("process_resident_memory", "Resident memory", Some(&Unit::Bytes), self.resident),
            ("process_open_fds", "Open file descriptors", None, self.open_fds),
            ("process_max_fds", "Most file descriptors that may be open", None, self.max_fds),
        ];
        for (name, help, unit, value) in counts {
            let gauge = ConstGauge::new(value);
            let kind = gauge.metric_type();
            gauge.encode(encoder.encode_descriptor(name, help, unit, kind)?)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_counted_behind_the_name() {
        let sample = Process::sample();
        assert_eq!((sample.cpu, sample.start), (1.5, 1_010.0));
        assert_eq!((sample.virtual_memory, sample.resident), (40_960, 8_192));
        assert_eq!(Process::parse("7 (a) S 1", 0.0, 100, 4096, 1, 1), None);
    }

    #[test]
    fn this_process_is_seen() {
        let this = Process::read().unwrap();
        assert!(this.open_fds >= 3 && this.max_fds >= this.open_fds, "{this:?}");
        assert!(this.resident > 1 << 20 && this.virtual_memory > this.resident, "{this:?}");
        let now = seconds(ClockId::CLOCK_REALTIME).unwrap();
        assert!(this.start <= now && this.start > now - 86_400.0, "{this:?}");
    }
}
