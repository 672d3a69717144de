//! The cloud as a process: starting, stopping, starting again.

use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use rstest::rstest;
use rustix::process::{Pid, Signal, kill_process};
use simcloud::api::{CreateInstance, FaultKind, FaultSpec, OperationFilter, RunState, path};
use simcloud::console::Console;
use simcloud::{SimCloud, StartError};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

use super::support::{
    CONTROL_TOKEN, PATIENCE, Scratch, TOKEN, cloud, config, eventually, names, nodes, start,
};

const ANY: OperationFilter = OperationFilter::Any;

fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_simcloud"));
    command
        .env("SIMCLOUD_TOKEN", TOKEN)
        .env("SIMCLOUD_CONTROL_TOKEN", CONTROL_TOKEN)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

/// Starts the program and waits for its ready line.
async fn spawn(mut command: Command) -> (Child, Console) {
    let mut child = command.spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let line = tokio::time::timeout(PATIENCE, lines.next_line()).await.unwrap().unwrap().unwrap();
    let url = line.strip_prefix("simcloud ready on ").unwrap();
    assert!(url.starts_with("http://127.0.0.1:"), "{url}");
    let console = Console::new(url, TOKEN, CONTROL_TOKEN).unwrap();
    (child, console)
}

fn signal(child: &Child, signal: Signal) {
    let pid = Pid::from_raw(child.id().unwrap().try_into().unwrap()).unwrap();
    kill_process(pid, signal).unwrap();
}

fn persistent(state_file: &Path) -> Command {
    let mut command = program();
    command.arg("--state-file").arg(state_file);
    command
}

#[tokio::test]
async fn the_state_survives_a_restart() {
    let scratch = Scratch::new("restart");
    let mut config = config();
    config.state_file = Some(scratch.file("state.json"));

    let cloud = start(config.clone()).await;
    let made = cloud.console.create_instances(nodes(3)).await.unwrap();
    cloud.console.replace_instance(&made[0].id).await.unwrap();
    cloud.console.stop_instance(&made[1].id).await.unwrap();
    cloud.console.terminate_instance(&made[2].id).await.unwrap();
    let before = cloud.truth().await;
    cloud.running.stop().await.unwrap();

    let cloud = start(config).await;
    assert_eq!(cloud.truth().await, before);
    let states: Vec<_> = before.iter().map(|one| one.state).collect();
    assert_eq!(states, [RunState::Running, RunState::Stopped, RunState::Terminated]);
    let incarnations: Vec<_> = before.iter().map(|one| one.incarnation).collect();
    assert_eq!(incarnations, [2, 1, 1]);
    let next = cloud.console.create_instance(&CreateInstance::named("node-9")).await.unwrap();
    assert_eq!(next.id.as_str(), "i-0000000000000004");
}

#[tokio::test]
async fn what_was_answered_survives_a_kill() {
    let scratch = Scratch::new("kill");
    let state = scratch.file("state.json");
    let (mut child, console) = spawn(persistent(&state)).await;
    // Many writers at once, so that their changes are saved in groups.
    let writers = (0..20).map(|number| {
        let console = console.clone();
        tokio::spawn(async move {
            let wanted = CreateInstance::named(format!("node-{number}"));
            console.create_instance(&wanted).await.unwrap();
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.unwrap();
    }
    signal(&child, Signal::KILL);
    child.wait().await.unwrap();

    let (_child, console) = spawn(persistent(&state)).await;
    assert_eq!(console.all_instances([].into()).await.unwrap().len(), 20);
}

#[tokio::test]
async fn a_state_that_cannot_be_saved_is_said() {
    let scratch = Scratch::new("unsaved");
    let folder = scratch.file("folder");
    std::fs::create_dir(&folder).unwrap();
    let mut config = config();
    config.state_file = Some(folder.join("state.json"));
    let cloud = start(config).await;
    std::fs::remove_dir_all(&folder).unwrap();

    let wanted = CreateInstance::named("a");
    let (status, ..) = super::support::refused(cloud.console.create_instance(&wanted).await);
    assert_eq!(status, 500);

    std::fs::create_dir(&folder).unwrap();
    cloud.console.create_instance(&CreateInstance::named("b")).await.unwrap();
    assert_eq!(names(&cloud.truth().await), ["a", "b"]);
}

#[tokio::test]
async fn the_program_serves_and_stops() {
    let scratch = Scratch::new("serves");
    let address = scratch.file("address");
    let mut command = program();
    command.arg("--print-address-file").arg(&address).args(["--latency", "5ms", "--seed", "7"]);
    let (mut child, console) = spawn(command).await;
    assert_eq!(std::fs::read_to_string(&address).unwrap(), format!("{}\n", console.url()));
    assert_eq!(console.settings().await.unwrap().latency.fixed_ms, 5);

    signal(&child, Signal::TERM);

    let status = tokio::time::timeout(PATIENCE, child.wait()).await.unwrap().unwrap();
    assert!(status.success(), "{status}");
    let mut said = String::new();
    child.stderr.take().unwrap().read_to_string(&mut said).await.unwrap();
    assert!(said.contains("stopped"), "{said}");
    assert!(!said.contains(TOKEN) && !said.contains(CONTROL_TOKEN), "{said}");
}

#[tokio::test]
async fn the_program_stops_though_calls_hang() {
    let (mut child, console) = spawn(program()).await;
    let hang = FaultSpec::always(ANY, FaultKind::Hang { max_ms: None });
    console.add_fault(&hang).await.unwrap();
    let held = console.clone();
    let call = tokio::spawn(async move { held.all_instances([].into()).await });
    eventually("the call hangs", async || {
        let calls = console.calls().await.unwrap();
        calls.counts.iter().any(|count| count.in_flight == 1)
    })
    .await;

    let start = Instant::now();
    signal(&child, Signal::INT);

    let status = tokio::time::timeout(PATIENCE, child.wait()).await.unwrap().unwrap();
    assert!(status.success(), "{status}");
    // At once, not when the time for calls that make progress is over.
    assert!(start.elapsed() < Duration::from_secs(4), "{:?}", start.elapsed());
    call.await.unwrap().unwrap_err();
}

#[tokio::test]
async fn a_caller_that_never_ends_its_request_cannot_hold_the_cloud_up() {
    let cloud = cloud().await;
    let mut stream = TcpStream::connect(cloud.running.address).await.unwrap();
    let half = format!(
        "POST {} HTTP/1.1\r\nHost: cloud\r\nContent-Length: 100\r\n\r\nhalf",
        path::INSTANCES
    );
    stream.write_all(half.as_bytes()).await.unwrap();

    let start = Instant::now();
    cloud.running.stop().await.unwrap();

    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
    let mut heard = Vec::new();
    let end = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut heard)).await.unwrap();
    assert!(end.is_err() || heard.is_empty());
}

#[tokio::test]
async fn a_dropped_cloud_is_gone() {
    let cloud = cloud().await;
    let address = cloud.running.address;
    drop(cloud);
    eventually("nobody listens", async || TcpStream::connect(address).await.is_err()).await;
}

#[tokio::test]
async fn it_stays_on_the_loopback_unless_told() {
    let mut config = config();
    config.listen = "0.0.0.0:0".parse().unwrap();
    let refused = SimCloud::start(config.clone()).await.unwrap_err();
    assert!(matches!(refused, StartError::Remote(_)), "{refused}");
    config.allow_remote = true;
    SimCloud::start(config).await.unwrap().stop().await.unwrap();
}

#[tokio::test]
async fn one_token_cannot_be_both() {
    let mut config = config();
    config.control_token = TOKEN.into();
    let refused = SimCloud::start(config).await.unwrap_err();
    assert!(matches!(refused, StartError::ControlToken), "{refused}");
}

#[rstest]
#[case::a_remote_address(&["--listen", "0.0.0.0:0"], "", 1, "not a loopback address")]
#[case::a_senseless_setting(&["--page-limit", "0"], "", 1, "page_limit: must be from 1")]
#[case::a_damaged_state(&["--state-file", "FILE"], "{", 1, "is damaged")]
#[case::an_odd_token_file(&["--token-file", "FILE"], "a b c", 1, "line 1 of the token file")]
#[case::an_empty_token_file(&["--token-file", "FILE"], "", 1, "line 1 of the token file")]
#[case::an_odd_duration(&["--latency", "fast"], "", 2, "--latency")]
#[tokio::test]
async fn it_says_in_one_line_why_it_does_not_start(
    #[case] flags: &[&str],
    #[case] text: &str,
    #[case] code: i32,
    #[case] want: &str,
) {
    let scratch =
        Scratch::new(&format!("flags-{}-{}", flags.join(""), text.len()).replace('/', "-"));
    let file = scratch.file("file");
    std::fs::write(&file, text).unwrap();
    let mut command = program();
    for flag in flags {
        command.arg(if *flag == "FILE" { file.as_os_str() } else { flag.as_ref() });
    }
    let output = tokio::time::timeout(PATIENCE, command.output()).await.unwrap().unwrap();
    assert_eq!(output.status.code(), Some(code));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains(want), "{said}");
    if code == 1 {
        assert_eq!(said.lines().count(), 1, "{said}");
    }
    assert_eq!(output.stdout, b"");
}

#[tokio::test]
async fn without_tokens_it_does_not_start() {
    let mut command = program();
    command.env_remove("SIMCLOUD_TOKEN");
    let output = command.output().await.unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("give --token-file or set SIMCLOUD_TOKEN"), "{said}");
}
