//! The operator's terminal: variables and jobs last from one command to the next.

use tokio::process::Command;

use crate::harness::Process;

const DONE: &str = "--- done";

/// A shell; with it end all processes that were started in it.
pub(super) struct Shell {
    process: Process,
    group: String,
}

impl Shell {
    pub(super) async fn start(environment: Vec<(String, String)>) -> Self {
        let mut command = Command::new("bash");
        command.process_group(0).envs(environment);
        let mut process = Process::spawn("the shell", command);
        // Both outputs are one, as on a terminal.
        process.write_line("exec 2>&1; echo \"group $$\"").await;
        let line = process
            .line("its group", |line| line.starts_with("group "))
            .await;
        let group = line["group ".len()..].to_owned();
        Self { process, group }
    }

    /// What these commands print, without empty lines.
    pub(super) async fn run(&mut self, commands: &str) -> String {
        let before = self.process.stdout().count();
        self.process.write_line(commands).await;
        self.process
            .write_line(&format!("printf '\\n{DONE}\\n'"))
            .await;
        self.process.line(commands, |line| line == DONE).await;
        let lines = self.process.stdout().skip(before);
        let lines = lines
            .map(str::trim_end)
            .filter(|line| !line.is_empty() && *line != DONE);
        lines.collect::<Vec<_>>().join("\n")
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        let mut kill = std::process::Command::new("kill");
        let _ = kill
            .args(["-s", "KILL", "--", &format!("-{}", self.group)])
            .status();
    }
}
