//! Takes our processes away when we are killed and cannot do it ourselves.
//!
//! `Drop` covers a return and a panic. For the rest there is a shell that reads from a pipe whose
//! only writing end is ours, and kills what is on its list when the pipe ends.

use std::io::Write;
use std::os::unix::process::CommandExt;
use std::process::{ChildStdin, Command, Stdio};
use std::sync::{LazyLock, Mutex, PoisonError};

const SCRIPT: &str = r#"
trap '' INT TERM HUP
list=" "
while read -r what pid; do
    case $what in
        add) list="$list$pid " ;;
        remove) list="${list%% $pid *} ${list#* $pid }" ;;
    esac
done
for pid in $list; do kill -9 "$pid"; done
"#;

static PIPE: LazyLock<Mutex<ChildStdin>> = LazyLock::new(start);

#[expect(clippy::zombie_processes, reason = "it outlives us")]
fn start() -> Mutex<ChildStdin> {
    let guardian = Command::new("/bin/sh")
        .args(["-c", SCRIPT, "ccm-e2e-guardian"])
        .current_dir("/")
        // What the terminal sends to us does not reach it.
        .process_group(0)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("there is a shell");
    Mutex::new(guardian.stdin.expect("it was asked for"))
}

/// Puts a process on the list.
pub(crate) fn add(pid: u32) {
    tell("add", pid);
}

/// Takes a process off the list, before its number can be another's.
pub(crate) fn remove(pid: u32) {
    tell("remove", pid);
}

fn tell(what: &str, pid: u32) {
    let mut pipe = PIPE.lock().unwrap_or_else(PoisonError::into_inner);
    // Without a guardian there is still `Drop`.
    let _ = writeln!(pipe, "{what} {pid}");
}
