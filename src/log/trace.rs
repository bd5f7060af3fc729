//! Our own diagnosis: a small `tracing` subscriber that writes to what `OC_RSYNC_TRACE` names, and is absent otherwise.

use std::{
    env,
    ffi::OsStr,
    fmt::{self, Write as _},
    fs::{File, OpenOptions},
    io::{self, Write},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Instant,
};

use tracing::{
    Event, Metadata, Subscriber,
    field::{Field, Visit},
    span::{Attributes, Id, Record},
};

/// Starts tracing if `OC_RSYNC_TRACE` names a file to append to, or the number of an open descriptor.
pub fn start() -> io::Result<()> {
    match env::var_os("OC_RSYNC_TRACE") {
        Some(target) if !target.is_empty() => {
            let _ = tracing::subscriber::set_global_default(Tracer::to(open(&target)?)); // a second start changes nothing
            Ok(())
        }
        _ => Ok(()),
    }
}

fn open(target: &OsStr) -> io::Result<File> {
    let number = target.to_str().and_then(|text| text.parse::<u32>().ok());
    match number {
        Some(number) => OpenOptions::new().append(true).open(format!("/proc/self/fd/{number}")),
        None => OpenOptions::new().append(true).create(true).open(target),
    }
}

/// Writes a line an event and a line at each span's start and end: microseconds, thread, what, fields.
struct Tracer<W> {
    out: Mutex<W>,
    started: Instant,
    next_span: AtomicU64,
    names: Mutex<Vec<(u64, &'static str)>>,
}

impl<W: Write> Tracer<W> {
    fn to(out: W) -> Self {
        Self {
            out: Mutex::new(out),
            started: Instant::now(),
            next_span: AtomicU64::new(1),
            names: Mutex::new(Vec::new()),
        }
    }

    fn line(&self, mark: &str, what: &str, fields: &str) {
        let micros = self.started.elapsed().as_micros();
        let thread = thread::current();
        let line = format!("{micros:>10} {:<10} {mark} {what}{fields}\n", thread.name().unwrap_or("?"));
        let mut out = self.out.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = out.write_all(line.as_bytes()); // diagnosis must not disturb the run
    }

    fn name(&self, id: &Id) -> &'static str {
        let names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        names.iter().find(|(span, _)| *span == id.into_u64()).map_or("?", |(_, name)| name)
    }
}

impl<W: Write + Send + 'static> Subscriber for Tracer<W> {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        let id = self.next_span.fetch_add(1, Ordering::Relaxed);
        let name = span.metadata().name();
        self.names.lock().unwrap_or_else(PoisonError::into_inner).push((id, name));
        let mut fields = Fields::default();
        span.record(&mut fields);
        self.line("+", name, &fields.0);
        Id::from_u64(id)
    }

    fn record(&self, span: &Id, values: &Record<'_>) {
        let mut fields = Fields::default();
        values.record(&mut fields);
        self.line("=", self.name(span), &fields.0);
    }

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        self.line(".", event.metadata().target(), &fields.0);
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}

    fn try_close(&self, id: Id) -> bool {
        self.line("-", self.name(&id), "");
        self.names.lock().unwrap_or_else(PoisonError::into_inner).retain(|(span, _)| *span != id.into_u64());
        true
    }
}

/// ` name=value` for each field; the message stands alone.
#[derive(Default)]
struct Fields(String);

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let _ = match field.name() {
            "message" => write!(self.0, ": {value:?}"),
            name => write!(self.0, " {name}={value:?}"),
        };
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn spans_and_events_become_lines() {
        let lines = Lines::default();
        tracing::subscriber::with_default(Tracer::to(lines.clone()), || {
            let span = tracing::info_span!("handshake", version = 31);
            span.in_scope(|| tracing::info!(flags = 5, "settled"));
        });
        let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
        let text: Vec<&str> = text.lines().collect();
        assert!(text[0].ends_with("+ handshake version=31"), "{text:?}");
        assert!(text[1].contains(": settled") && text[1].ends_with("flags=5"), "{text:?}");
        assert!(text[2].ends_with("- handshake"), "{text:?}");
    }
}
