//! Log lines as JSON objects.

use std::fmt;

use serde::Serializer;
use serde::ser::SerializeMap;
use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::format::{JsonFields, Writer};
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormattedFields};
use tracing_subscriber::registry::{LookupSpan, Scope};

/// One object per event: `ts`, `level`, `msg` and `target`, then the event's fields beside them,
/// then the spans it happened in, outermost first.
///
/// tracing-subscriber's own format has other keys, and lets a field take the place of one.
pub(super) struct Lines;

/// Keys that every line has or may have.
const KEYS: [&str; 5] = ["ts", "level", "msg", "target", "spans"];

impl<S> FormatEvent<S, JsonFields> for Lines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, JsonFields>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut time = String::new();
        SystemTime.format_time(&mut Writer::new(&mut time))?;
        let mut fields = Fields::default();
        event.record(&mut fields);
        let spans: Vec<Value> = context
            .event_scope()
            .into_iter()
            .flat_map(Scope::from_root)
            .map(|span| {
                let mut object = span
                    .extensions()
                    .get::<FormattedFields<JsonFields>>()
                    .and_then(|fields| serde_json::from_str::<Map<_, _>>(fields).ok())
                    .unwrap_or_default();
                object.insert("span".to_owned(), span.name().into());
                Value::Object(object)
            })
            .collect();

        let metadata = event.metadata();
        let mut line = Vec::new();
        let mut write = || {
            let mut serializer = serde_json::Serializer::new(&mut line);
            let mut object = serializer.serialize_map(None)?;
            object.serialize_entry("ts", &time)?;
            object.serialize_entry("level", &metadata.level().as_str().to_ascii_lowercase())?;
            object.serialize_entry("msg", &fields.message)?;
            object.serialize_entry("target", metadata.target())?;
            for (name, value) in &fields.others {
                object.serialize_entry(name, value)?;
            }
            if !spans.is_empty() {
                object.serialize_entry("spans", &spans)?;
            }
            object.end()
        };
        write().map_err(|_: serde_json::Error| fmt::Error)?;
        writeln!(writer, "{}", String::from_utf8_lossy(&line))
    }
}

/// An event's fields, in order.
#[derive(Default)]
struct Fields {
    message: String,
    others: Vec<(String, Value)>,
}

impl Fields {
    fn push(&mut self, field: &Field, value: Value) {
        let name = field.name();
        let name = if KEYS.contains(&name) { format!("field.{name}") } else { name.to_owned() };
        self.others.push((name, value));
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let text = format!("{value:?}");
        match field.name() {
            "message" => self.message = text,
            _ => self.push(field, text.into()),
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "message" => value.clone_into(&mut self.message),
            _ => self.push(field, value.into()),
        }
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.push(field, value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.push(field, value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.push(field, value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.push(field, value.into());
    }
}
