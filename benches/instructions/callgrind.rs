//! Counting, by valgrind.

use std::env;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use crate::case::Case;

/// What this program is told to do one case under valgrind; then follow the
/// case's name and the number of rounds.
pub(crate) const ONCE: &str = "--once";

/// Whether counts taken here can be compared with those taken elsewhere.
pub(crate) fn is_comparable() -> bool {
    #[cfg(all(target_arch = "x86_64", target_os = "linux", target_env = "gnu"))]
    return std::arch::is_x86_feature_detected!("avx2");
    #[cfg(not(all(target_arch = "x86_64", target_os = "linux", target_env = "gnu")))]
    return false;
}

/// The tools that have a say in the counts.
pub(crate) fn tools() -> Result<String, String> {
    let valgrind = version("valgrind")?.replace('-', " ");
    Ok(format!("{}, {valgrind}", version("rustc")?))
}

fn version(tool: &str) -> Result<String, String> {
    match Command::new(tool).arg("--version").output() {
        Ok(output) => Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned()),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            Err(format!("{tool} is missing; install the package `{tool}`"))
        }
        Err(error) => Err(format!("{tool}: {error}")),
    }
}

/// Instructions of each case. Cases run side by side: that sways times, but no
/// counts.
pub(crate) fn count(cases: &[&Case]) -> Result<Vec<f64>, String> {
    let folder = profile("");
    let folder = folder.parent().unwrap_or(&folder);
    fs::create_dir_all(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let next = AtomicUsize::new(0);
    let work = || {
        let mut done = Vec::new();
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            let Some(case) = cases.get(at) else {
                return Ok(done);
            };
            done.push((at, per_operation(case)?));
        }
    };
    let workers = thread::available_parallelism().map_or(1, Into::into);
    let done: Result<Vec<_>, String> = thread::scope(|scope| {
        let workers: Vec<_> = (0..workers).map(|_| scope.spawn(work)).collect();
        workers
            .into_iter()
            .map(|worker| worker.join().unwrap_or_else(|_| Err("a panic".into())))
            .collect()
    });
    let mut done = done?.concat();
    done.sort_unstable_by_key(|(at, _)| *at);
    Ok(done.into_iter().map(|(_, count)| count).collect())
}

/// How many times longer the second run is: what is random in the first is
/// magnified the less.
const LONGER: u64 = 8;

/// The difference between a run and a longer one: what goes before and after is
/// in both.
#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^53")]
fn per_operation(case: &Case) -> Result<f64, String> {
    let short = total(case.name, case.rounds)?;
    let long = total(case.name, LONGER * case.rounds)?;
    let operations = (LONGER - 1) * case.rounds * u64::from(case.each);
    Ok((long - short) as f64 / operations as f64)
}

/// Instructions of a whole run. Leaves its profile.
fn total(name: &str, rounds: u64) -> Result<u64, String> {
    let failed = |what: &str| format!("{name}, {rounds} times: {what}");
    let profile = profile(name);
    let myself = env::current_exe().map_err(|error| failed(&error.to_string()))?;
    let kept = ["PATH", "VALGRIND_LIB"];
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--quiet"])
        .arg(format!("--callgrind-out-file={}", profile.display()))
        .arg(myself)
        .args([ONCE, name, &rounds.to_string()])
        .env_clear()
        .envs(env::vars_os().filter(|(key, _)| kept.iter().any(|kept| key == kept)))
        .stdin(Stdio::null())
        .output()
        .map_err(|error| failed(&error.to_string()))?;
    if !output.status.success() {
        return Err(failed(&String::from_utf8_lossy(&output.stderr)));
    }
    let text = fs::read_to_string(&profile).map_err(|error| failed(&error.to_string()))?;
    let total = text.lines().find_map(|line| line.strip_prefix("totals: "));
    let total = total.and_then(|total| total.trim().parse().ok());
    total.ok_or_else(|| failed("valgrind has not written a total"))
}

/// Where the profile of a case is: of the longer run, once both are done.
pub(crate) fn profile(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("instructions");
    let path = folder.join(format!("{name}.out"));
    // Shorter to read, where it can be.
    let here = env::current_dir().unwrap_or_default();
    path.strip_prefix(here)
        .map(Path::to_path_buf)
        .unwrap_or(path)
}
