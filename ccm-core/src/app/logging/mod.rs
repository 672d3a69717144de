//! The log: where it goes, what is in it, how it looks.

mod json;

use std::fmt::Debug;
use std::io;

use tracing::Dispatch;
use tracing::dispatcher::SetGlobalDefaultError;
use tracing::field::Field;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::field::MakeExt;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::format::{JsonFields, Writer, debug_fn};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::{Registry, reload};

use super::flags::{LogFormat, Logging};

/// Starts logging to stderr, for the whole process and for good.
///
/// `own_crates` are further crates that are logged as ours are: a vendor's.
///
/// What it gives changes the verbosity while the process runs.
pub fn init(logging: &Logging, own_crates: &[&str]) -> Result<Verbosity, SetGlobalDefaultError> {
    let (subscriber, verbosity) = subscriber(logging, own_crates, io::stderr);
    tracing::dispatcher::set_global_default(subscriber)?;
    Ok(verbosity)
}

/// How much the log says. A clone is another handle on the same.
#[derive(Clone, Debug)]
pub struct Verbosity {
    targets: reload::Handle<Targets, Registry>,
    own_crates: Vec<String>,
}

impl Verbosity {
    /// Says as much as `-v` with this level would have it. The error is for people.
    pub fn set(&self, level: u32) -> Result<(), String> {
        let own: Vec<&str> = self.own_crates.iter().map(String::as_str).collect();
        self.targets.reload(targets(level, &own)).map_err(|err| err.to_string())
    }
}

/// What [`init`] installs, writing elsewhere.
pub fn subscriber<W>(logging: &Logging, own_crates: &[&str], writer: W) -> (Dispatch, Verbosity)
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let (filter, handle) = reload::Layer::new(targets(logging.verbosity, own_crates));
    let own_crates = own_crates.iter().map(|&name| name.to_owned()).collect();
    let verbosity = Verbosity { targets: handle, own_crates };
    let registry = tracing_subscriber::registry().with(filter);
    let lines = fmt::layer().with_writer(writer);
    let dispatch = match logging.format {
        LogFormat::Text => {
            let fields = debug_fn(text_field).delimited(" ");
            Dispatch::new(registry.with(lines.with_ansi(false).fmt_fields(fields)))
        }
        LogFormat::Json => Dispatch::new(
            registry.with(lines.fmt_fields(JsonFields::new()).event_format(json::Lines)),
        ),
    };
    (dispatch, verbosity)
}

/// A field in the text format, as tracing-subscriber writes it, but on one line whatever a cloud's
/// error has in it: a line of the log is an event.
fn text_field(writer: &mut Writer<'_>, field: &Field, value: &dyn Debug) -> std::fmt::Result {
    if field.name() != "message" {
        write!(writer, "{}=", field.name())?;
    }
    for char in format!("{value:?}").chars() {
        if char.is_control() {
            write!(writer, "{}", char.escape_default())?;
        } else {
            writer.write_char(char)?;
        }
    }
    Ok(())
}

/// Beginnings of the names of our crates: the framework's and providers', the program's, and the
/// simulated cloud's.
const OWN: [&str; 3] = ["ccm", "cloud_controller_manager", "simcloud"];

/// `-v` as Kubernetes' programs mean it: 0 is what happens, 2 a bit more, 4 debugging, 6 and more
/// everything.
fn targets(verbosity: u32, own_crates: &[&str]) -> Targets {
    let own = match verbosity {
        0..4 => LevelFilter::INFO,
        4..6 => LevelFilter::DEBUG,
        6.. => LevelFilter::TRACE,
    };
    // Never everything: at that level libraries print what goes over the wire.
    let others = match verbosity {
        0..2 => LevelFilter::WARN,
        2..8 => LevelFilter::INFO,
        8.. => LevelFilter::DEBUG,
    };
    // Says at level error that a request failed, also when that is expected or is tried again. Who
    // made the request says so with more sense.
    let requests = if verbosity < 4 { LevelFilter::OFF } else { others };

    Targets::new()
        .with_default(others)
        .with_targets(OWN.iter().chain(own_crates).map(|&name| (name, own)))
        .with_target("kube_client::client::builder", requests)
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use rstest::rstest;
    use serde_json::Value;
    use tracing::{Level, error, info, info_span};

    use super::*;

    #[derive(Clone, Default)]
    struct Page(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Page {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(format: LogFormat, log: impl FnOnce()) -> String {
        let page = Page::default();
        let writer = page.clone();
        let logging = Logging { verbosity: 0, format };
        let (subscriber, _) = subscriber(&logging, &[], move || writer.clone());
        tracing::dispatcher::with_default(&subscriber, log);
        let bytes = page.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[rstest]
    #[case(0, "ccm_core::fleet", Some(Level::INFO))]
    #[case(1, "ccm_core::fleet", Some(Level::INFO))]
    #[case(3, "ccm_core::fleet", Some(Level::INFO))]
    #[case(4, "ccm_core::fleet", Some(Level::DEBUG))]
    #[case(6, "ccm_core::fleet", Some(Level::TRACE))]
    #[case(10, "ccm_core::fleet", Some(Level::TRACE))]
    #[case(4, "ccm_provider_sim", Some(Level::DEBUG))]
    #[case(4, "cloud_controller_manager", Some(Level::DEBUG))]
    #[case(4, "acme_cloud::instances", Some(Level::DEBUG))]
    #[case(0, "hyper::proto", Some(Level::WARN))]
    #[case(2, "kube_runtime::watcher", Some(Level::INFO))]
    #[case(6, "rustls::client", Some(Level::INFO))]
    #[case(99, "h2::codec", Some(Level::DEBUG))]
    #[case(0, "kube_client::client", Some(Level::WARN))]
    #[case(0, "kube_client::client::builder", None)]
    #[case(3, "kube_client::client::builder", None)]
    #[case(4, "kube_client::client::builder", Some(Level::INFO))]
    fn verbosity_and_target_make_the_level(
        #[case] verbosity: u32,
        #[case] target: &str,
        #[case] most: Option<Level>,
    ) {
        let targets = targets(verbosity, &["acme_cloud"]);
        for level in [Level::ERROR, Level::WARN, Level::INFO, Level::DEBUG, Level::TRACE] {
            let want = most.is_some_and(|most| level <= most);
            assert_eq!(targets.would_enable(target, &level), want, "{level}");
        }
    }

    #[test]
    fn verbosity_changes_while_the_process_runs() {
        let page = Page::default();
        let writer = page.clone();
        let logging = Logging { verbosity: 0, format: LogFormat::Text };
        let (subscriber, verbosity) = subscriber(&logging, &[], move || writer.clone());
        tracing::dispatcher::with_default(&subscriber, || {
            let say = |text| tracing::debug!("{text}");
            say("not heard");
            verbosity.set(4).unwrap();
            say("heard");
            verbosity.set(0).unwrap();
            say("not heard either");
        });
        let text = String::from_utf8(page.0.lock().unwrap().clone()).unwrap();
        assert!(text.contains(" heard\n") && text.lines().count() == 1, "{text}");
    }

    #[test]
    fn text_is_one_line_with_spans_and_fields() {
        let line = logged(LogFormat::Text, || {
            let _task = info_span!("task", name = "serve").entered();
            info!(address = "127.0.0.1:1", error = %"two\nlines \x1b[1m", "serving");
        });
        let (_time, rest) = line.split_once(' ').unwrap();
        assert_eq!(
            rest,
            " INFO task{name=\"serve\"}: ccm_core::app::logging::tests: serving \
             address=\"127.0.0.1:1\" error=two\\nlines \\u{1b}[1m\n"
        );
    }

    #[test]
    fn json_has_upstreams_keys_and_flat_fields() {
        let line = logged(LogFormat::Json, || {
            let span = info_span!("task", name = "serve", attempts = tracing::field::Empty);
            let _task = span.enter();
            span.record("attempts", 3);
            error!(node = "n1", count = 2_u64, done = false, error = %"a \"b\"\nc", "not initialised");
        });
        assert!(line.ends_with('\n') && line.matches('\n').count() == 1, "{line}");
        assert!(line.starts_with("{\"ts\":\"20"), "{line}");
        let mut object: Value = serde_json::from_str(&line).unwrap();
        object.as_object_mut().unwrap().remove("ts").unwrap();
        assert_eq!(
            object,
            serde_json::json!({
                "level": "error",
                "msg": "not initialised",
                "target": "ccm_core::app::logging::tests",
                "node": "n1",
                "count": 2,
                "done": false,
                "error": "a \"b\"\nc",
                "spans": [{"span": "task", "name": "serve", "attempts": 3}],
            })
        );
    }

    #[test]
    fn a_field_never_hides_what_every_line_has() {
        let line = logged(LogFormat::Json, || info!(level = 9, target = "t", ts = 1, "message"));
        let object: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(object["level"], "info");
        assert_eq!(object["target"], "ccm_core::app::logging::tests");
        assert_eq!(object["field.level"], 9);
        assert_eq!(object["field.target"], "t");
        assert_eq!(object["field.ts"], 1);
    }
}
