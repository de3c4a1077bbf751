//! Processes: where they run, what they cost, and that they end.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::process::{Child, ChildStdin, ChildStdout, Command};
use std::thread;
use std::time::Duration;

/// The processor a process is kept on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Core {
    Any,
    Only(usize),
}

/// A command that runs `program` on `core`, and no longer than the harness.
pub(crate) fn command(program: impl AsRef<OsStr>, core: Core) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "TERM"]);
    if let Core::Only(core) = core {
        command.args(["taskset", "-c", &core.to_string()]);
    }
    command.arg(program);
    command
}

/// Keeps this process, and what it starts from now on, on `core`.
pub(crate) fn stay_on(core: usize) -> io::Result<()> {
    let pid = std::process::id().to_string();
    let output = Command::new("taskset")
        .args(["-cp", &core.to_string(), &pid])
        .output()?;
    if output.status.success() {
        return Ok(());
    }
    let reason = String::from_utf8_lossy(&output.stderr).into_owned();
    Err(io::Error::other(format!("taskset: {reason}")))
}

/// A child, and whatever it has started. Dropping it ends them all.
#[derive(Debug)]
pub(crate) struct Process {
    name: &'static str,
    child: Child,
}

impl Process {
    pub(crate) fn start(name: &'static str, mut command: Command) -> io::Result<Self> {
        let child = command.spawn()?;
        Ok(Self { name, child })
    }

    /// Its standard input and output, if those are piped.
    pub(crate) fn input(&mut self) -> io::Result<ChildStdin> {
        let input = self.child.stdin.take();
        input.ok_or_else(|| io::Error::other("no standard input"))
    }

    pub(crate) fn output(&mut self) -> io::Result<ChildStdout> {
        let output = self.child.stdout.take();
        output.ok_or_else(|| io::Error::other("no standard output"))
    }

    /// An error if it has ended.
    pub(crate) fn alive(&mut self) -> io::Result<()> {
        match self.child.try_wait()? {
            Some(status) => Err(io::Error::other(format!("{} ended: {status}", self.name))),
            None => Ok(()),
        }
    }

    /// Time on a processor so far, of all its processes and their threads.
    pub(crate) fn cpu(&self) -> Cpu {
        self.ids().into_iter().map(Cpu::of).sum()
    }

    /// Memory of all its processes, what they share counted once.
    pub(crate) fn memory_kib(&self) -> io::Result<u64> {
        self.ids().into_iter().map(proportional_set_kib).sum()
    }

    /// Its id and those of all that descend from it.
    fn ids(&self) -> Vec<u32> {
        let children = children();
        let mut ids = vec![self.child.id()];
        let mut at = 0;
        while let Some(id) = ids.get(at) {
            if let Some(of_it) = children.get(id) {
                ids.extend(of_it);
            }
            at += 1;
        }
        ids
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let ids = self.ids().into_iter().map(|id| id.to_string());
        let _ = Command::new("kill").arg("-KILL").args(ids).output();
        let _ = self.child.wait();
        // Ports and memory of grandchildren are free only when those are gone.
        thread::sleep(Duration::from_millis(50));
    }
}

/// All processes by their parents.
fn children() -> HashMap<u32, Vec<u32>> {
    let mut children: HashMap<u32, Vec<u32>> = HashMap::new();
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    for entry in entries {
        let Some(id) = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok())
        else {
            continue;
        };
        if let Some(parent) = stat(id).and_then(|fields| fields.first().copied()) {
            let parent = u32::try_from(parent).unwrap_or(0);
            children.entry(parent).or_default().push(id);
        }
    }
    children
}

/// The fields of `/proc/ID/stat` after the state, from the parent's id on.
fn stat(id: u32) -> Option<Vec<i64>> {
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    // The name before it may hold anything, but ends with the last parenthesis.
    let (_, fields) = stat.rsplit_once(") ")?;
    Some(
        fields
            .split(' ')
            .skip(1)
            .map_while(|field| field.trim().parse().ok())
            .collect(),
    )
}

/// Time on a processor, in nanoseconds, by two accounts.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Cpu {
    /// The scheduler's, exact, without threads that have ended.
    scheduled: u64,
    /// That of `/proc/ID/stat`, in hundredths of a second, with them.
    accounted: u64,
}

impl Cpu {
    /// What this process has used.
    pub(crate) fn own() -> Self {
        Self::of(std::process::id())
    }

    fn of(id: u32) -> Self {
        let tasks = fs::read_dir(format!("/proc/{id}/task"))
            .into_iter()
            .flatten()
            .flatten();
        let scheduled = tasks.filter_map(|task| {
            let line = fs::read_to_string(task.path().join("schedstat")).ok()?;
            line.split(' ').next()?.parse::<u64>().ok()
        });
        // User and system time are the 14th and 15th field, the parent the 4th.
        let fields = stat(id).unwrap_or_default();
        let hundredths: i64 = fields.get(10..12).unwrap_or_default().iter().sum();
        Self {
            scheduled: scheduled.sum(),
            accounted: u64::try_from(hundredths).unwrap_or(0) * 10_000_000,
        }
    }

    /// Nanoseconds from `earlier` until this: the exact figure, unless threads
    /// ended in between and took theirs along.
    pub(crate) fn since(self, earlier: Self) -> u64 {
        let scheduled = self.scheduled.saturating_sub(earlier.scheduled);
        let accounted = self.accounted.saturating_sub(earlier.accounted);
        let rounding = 40_000_000;
        if accounted > scheduled + scheduled / 50 + rounding {
            accounted
        } else {
            scheduled
        }
    }
}

impl std::iter::Sum for Cpu {
    fn sum<I: Iterator<Item = Self>>(parts: I) -> Self {
        parts.fold(Self::default(), |sum, part| Self {
            scheduled: sum.scheduled + part.scheduled,
            accounted: sum.accounted + part.accounted,
        })
    }
}

fn proportional_set_kib(id: u32) -> io::Result<u64> {
    let sums = fs::read_to_string(format!("/proc/{id}/smaps_rollup"))?;
    let line = sums.lines().find_map(|line| line.strip_prefix("Pss:"));
    let kib = line.and_then(|line| line.trim().split(' ').next()?.parse().ok());
    kib.ok_or_else(|| io::Error::other("smaps_rollup has no Pss"))
}
