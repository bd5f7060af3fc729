//! Hash tables that tell of themselves (`--debug=hash`). C: hashtable.c

use std::{
    collections::HashMap,
    hash::Hash,
    ops::{Deref, DerefMut},
};

use super::{Log, LogCode};
use crate::{bytes, options::Debug};

/// A table of at least the size that it was made with.
pub struct Table<K, V> {
    map: HashMap<K, V>,
    /// The size as it was told last.
    size: usize,
}

impl<K: Hash + Eq, V> Table<K, V> {
    /// `size` is a power of two; seven eighths of it can be used before the table grows.
    pub fn new(size: usize, log: &Log) -> Self {
        let table = Self { map: HashMap::with_capacity(size / 8 * 7), size };
        table.tell("created", log);
        table
    }

    /// Tells if the table has grown since it was told of.
    pub fn tell_growth(&mut self, log: &Log) {
        let room = self.map.capacity();
        if room <= self.size / 8 * 7 {
            return;
        }
        while self.size / 8 * 7 < room {
            self.size *= 2;
        }
        self.tell("growing", log);
    }

    pub fn tell_end(&self, log: &Log) {
        self.tell("destroyed", log);
    }

    fn tell(&self, what: &str, log: &Log) {
        if log.debug(Debug::Hash) == 0 {
            return;
        }
        let bits = size_of::<K>().min(8) * 8;
        let place = std::ptr::from_ref(self) as usize;
        let line = format!("] {what} hashtable {place:x} (size: {}, keys: {bits}-bit)", self.size);
        log.say(LogCode::Info, bytes!["[", log.speaker().name(), line]);
    }
}

impl<K, V> Deref for Table<K, V> {
    type Target = HashMap<K, V>;

    fn deref(&self) -> &Self::Target {
        &self.map
    }
}

impl<K, V> DerefMut for Table<K, V> {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.map
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::{
        log::{Sink, Speaker},
        options::Levels,
    };

    struct Kept(Mutex<Vec<String>>);

    impl Sink for Kept {
        fn line(&self, _: LogCode, line: &[u8]) {
            let line = String::from_utf8_lossy(line);
            let (head, tail) = line.split_once("hashtable ").unwrap();
            self.0.lock().unwrap().push(format!("{head}{}", tail.split_once(' ').unwrap().1));
        }
    }

    #[test]
    fn tables_tell_when_they_grow() {
        let kept = Arc::new(Kept(Mutex::default()));
        let mut levels = Levels::default();
        levels.set_debug(Debug::Hash, 1);
        let log = Log::new(levels, Arc::clone(&kept) as Arc<dyn Sink>, Speaker::Sender);
        let mut table = Table::<u64, ()>::new(16, &log);
        for key in 0..60 {
            table.insert(key, ());
            table.tell_growth(&log);
        }
        table.tell_end(&log);
        let lines = [
            "created (size: 16",
            "growing (size: 32",
            "growing (size: 64",
            "growing (size: 128",
            "destroyed (size: 128",
        ];
        let lines = lines.map(|line| format!("[sender] {line}, keys: 64-bit)\n"));
        assert_eq!(*kept.0.lock().unwrap(), lines);
    }
}
