//! What a direction of a connection does, told in the reference's words (`--debug=io`).

use std::sync::Arc;

/// Hears what is read, written and said. Nobody does unless the user asked for it.
#[derive(Clone, Default)]
pub struct Watch(Option<Arc<Hearer>>);

struct Hearer {
    /// 1: messages; 2: reads and writes; 3: what is waited for.
    level: u8,
    /// Lines go to standard error: then those that might become messages themselves are told too.
    all: bool,
    say: Box<dyn Fn(String) + Send + Sync>,
}

impl Watch {
    pub fn new(level: u8, all: bool, say: impl Fn(String) + Send + Sync + 'static) -> Self {
        Self((level > 0).then(|| Arc::new(Hearer { level, all, say: Box::new(say) })))
    }

    /// Whether something of this level is told.
    pub(super) fn hears(&self, level: u8) -> bool {
        self.0.as_ref().is_some_and(|hearer| hearer.level >= level)
    }

    /// Tells what happened to `role`.
    pub fn tell(&self, level: u8, role: &str, what: impl FnOnce() -> String) {
        if let Some(hearer) = self.0.as_ref().filter(|hearer| hearer.level >= level) {
            (hearer.say)(format!("[{role}] {}", what()));
        }
    }

    /// As `tell`, of what telling may itself bring about.
    pub(super) fn tell_flow(&self, level: u8, role: &str, what: impl FnOnce() -> String) {
        if self.0.as_ref().is_some_and(|hearer| hearer.all) {
            self.tell(level, role, what);
        }
    }
}

/// A descriptor's number as the lines have it; -1 where there is none.
pub(super) fn number(fd: Option<i32>) -> i32 {
    fd.unwrap_or(-1)
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use crate::wire::{Message, Reader, Rules, Tag, Watch, Writer};

    fn heard(level: u8, all: bool) -> (Watch, Arc<Mutex<Vec<String>>>) {
        let lines = Arc::new(Mutex::new(Vec::new()));
        let into = Arc::clone(&lines);
        (Watch::new(level, all, move |line| into.lock().unwrap().push(line)), lines)
    }

    fn traffic(level: u8, all: bool) -> Vec<String> {
        let (watch, lines) = heard(level, all);
        let (mut writer, kept) = Writer::into_memory();
        writer.watch(watch.clone());
        writer.restart_count();
        writer.multiplex().unwrap();
        writer.int(7).unwrap();
        writer.message_int(Tag::NoSend, 3);
        writer.message(Tag::Info, b"a line\n");
        writer.flush().unwrap();
        let mut reader = Reader::over([&b"ab"[..], &kept.lock().unwrap()].concat());
        reader.watch(watch);
        assert_eq!(reader.array::<2>().unwrap(), *b"ab");
        reader.set_counting(true);
        reader.multiplex(Rules { peer_sends: true, ..Rules::default() }, Box::new(|_: Message<'_>| Ok(())));
        assert_eq!(reader.int().unwrap(), 7);
        std::mem::take(&mut *lines.lock().unwrap())
    }

    #[test]
    fn messages_and_early_reads_are_told_in_any_case() {
        assert_eq!(traffic(0, true), [""; 0]);
        assert_eq!(traffic(1, false), ["[sender] send_msg_int(102, 3)"]);
        assert_eq!(traffic(4, false), ["[sender] send_msg_int(102, 3)", "[receiver] safe_read(-1)=2"]);
    }

    #[test]
    fn the_flow_is_told_where_lines_do_not_join_it() {
        let lines = [
            "[sender] send_msg_int(102, 3)",
            "[sender] send_msg(2, 7)",
            "[sender] send_msg(0, 4)",
            "[receiver] got msg=102, len=4",
            "[receiver] got msg=2, len=7",
            "[receiver] got msg=0, len=4",
        ];
        assert_eq!(traffic(1, true), lines);
        let moved = ["[sender] out sent=27", "[receiver] recv=27"];
        let two = traffic(2, true);
        assert!(moved.iter().all(|line| two.contains(&(*line).to_string())), "{two:?}");
        assert!(traffic(3, true).contains(&"[receiver] perform_io(4, consume&input)".to_string()));
    }
}
