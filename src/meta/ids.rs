//! Owners and groups across machines: names travel with the numbers, the receiving side looks its own numbers up.

use std::collections::{HashMap, HashSet};

use crate::{
    bytes,
    error::{Error, ExitCode, Result},
    log::{Log, LogCode},
    options::{Debug, Options, Super},
    proto::Protocol,
    sys::users,
    text::wildmatch::wildmatch,
};

/// Whether we act with a super-user's rights, or are told to. C: am_root
pub fn am_root(options: &Options) -> bool {
    match options.super_user {
        Super::ByUser => users::effective_uid() == 0,
        Super::Yes | Super::Fake => true,
        Super::No => false,
    }
}

/// Users or groups.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    User,
    Group,
}

impl Kind {
    fn option(self) -> &'static str {
        match self {
            Self::User => "--usermap",
            Self::Group => "--groupmap",
        }
    }

    fn name_of(self, id: u32) -> Option<Vec<u8>> {
        match self {
            Self::User => users::user_by_id(id).ok()?.map(|user| user.name),
            Self::Group => users::group_by_id(id).ok()?.map(|group| group.name),
        }
    }

    fn id_of(self, name: &[u8]) -> Option<u32> {
        match self {
            Self::User => users::user_by_name(name).ok()?.map(|user| user.uid),
            Self::Group => users::group_by_name(name).ok()?.map(|group| group.gid),
        }
    }

    /// What the user names by its name or its number; `None` if there is none of that name. C: uidlist.c user_to_uid
    pub fn id_of_text(self, text: &[u8]) -> Result<Option<u32>> {
        match text {
            b"" => Ok(None),
            digits if digits.iter().all(u8::is_ascii_digit) => parse_id(digits).map(Some),
            name => Ok(self.id_of(name)),
        }
    }
}

/// The sending side: which numbers were met, and their names. C: uidlist.c add_uid, send_one_list
pub struct Seen {
    kind: Kind,
    met: HashSet<u32>,
    /// In the order met; those without a name are left out.
    named: Vec<(u32, Vec<u8>)>,
}

impl Seen {
    pub fn new(kind: Kind) -> Self {
        Self { kind, met: HashSet::new(), named: Vec::new() }
    }

    /// The name of a number that is met for the first time, at most 255 bytes; `None` later or if it has none.
    pub fn first_time(&mut self, id: u32) -> Option<&[u8]> {
        if !self.met.insert(id) {
            return None;
        }
        let mut name = self.kind.name_of(id)?;
        name.truncate(255);
        self.named.push((id, name));
        self.named.last().map(|(_, name)| name.as_slice())
    }

    /// What the list at the end of a whole file list holds: the latest first, as the reference sends them.
    pub fn named(&self) -> impl Iterator<Item = (u32, &[u8])> {
        self.named.iter().rev().filter(|(id, _)| *id != 0).map(|(id, name)| (*id, name.as_slice()))
    }

    /// The local name of number 0, which newer peers send along; empty if it has none.
    pub fn name_of_zero(&self) -> Vec<u8> {
        let mut name = self.kind.name_of(0).unwrap_or_default();
        name.truncate(255);
        name
    }
}

/// One item of `--usermap` or `--groupmap`. C: struct idlist
#[derive(Clone, PartialEq, Eq, Debug)]
struct MapRule {
    from: From,
    to: u32,
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum From {
    Wild(Vec<u8>),
    Name(Vec<u8>),
    Range(u32, u32),
}

impl From {
    fn fits(&self, id: u32, name: &[u8]) -> bool {
        match self {
            Self::Wild(pattern) => wildmatch(pattern, name),
            Self::Name(wanted) => wanted == name,
            Self::Range(low, high) => (*low..=*high).contains(&id),
        }
    }
}

/// A peer's number in our terms.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Mapped {
    pub id: u32,
    /// A group that we, not being root, are no member of: not to be set. C: FLAG_SKIP_GROUP
    pub skip: bool,
}

/// The receiving side of users or groups: what the peer's numbers mean here. C: uidlist.c recv_add_id, match_uid
pub struct Mapping {
    kind: Kind,
    rules: Vec<MapRule>,
    known: HashMap<u32, Mapped>,
    last: Option<(u32, Mapped)>,
    /// Those of the process, when group membership matters.
    own_groups: Option<Vec<u32>>,
    am_root: bool,
    log: Log,
}

impl Mapping {
    /// Reads the mapping option; a malformed one ends the run with status 1, an unknown name is only complained of.
    pub fn new(kind: Kind, options: &Options, protocol: &Protocol, log: &Log) -> Result<Self> {
        let text = match kind {
            Kind::User => options.usermap.as_deref(),
            Kind::Group => options.groupmap.as_deref(),
        };
        let mut mapping = Self {
            kind,
            rules: Vec::new(),
            known: HashMap::new(),
            last: None,
            own_groups: None,
            am_root: am_root(options),
            log: log.clone(),
        };
        if let Some(text) = text {
            mapping.rules = parse_map(kind, text, log)?;
            if !protocol.compat.id0_names {
                // the peer will not name number 0: it is taken for root
                let name: Option<&[u8]> = if options.numeric_ids { None } else { Some(b"root") };
                mapping.learn(0, name);
            }
        }
        Ok(mapping)
    }

    /// Takes a number and the name it has on the peer's side. C: uidlist.c recv_add_id
    pub fn learn(&mut self, id: u32, name: Option<&[u8]>) -> Mapped {
        let name = name.unwrap_or_default();
        let ruled = self.rules.iter().find(|rule| rule.from.fits(id, name)).map(|rule| rule.to);
        let here = match ruled {
            Some(to) => to,
            None if !name.is_empty() && id != 0 => self.kind.id_of(name).unwrap_or(id),
            None => id,
        };
        let skip = self.kind == Kind::Group && !self.am_root && !self.is_member(here);
        let mapped = Mapped { id: here, skip };
        if self.log.debug(Debug::Own) >= 2 {
            let letter = if self.kind == Kind::User { "u" } else { "g" };
            self.log.say(LogCode::Info, bytes![letter, "id ", id, "(", name, ") maps to ", here]);
        }
        self.known.insert(id, mapped);
        self.last = Some((id, mapped));
        mapped
    }

    /// A number whose name, if any, came earlier. C: uidlist.c match_uid, match_gid
    pub fn map(&mut self, id: u32) -> Mapped {
        match self.last {
            Some((last, mapped)) if last == id => return mapped,
            _ => {}
        }
        let mapped = match self.known.get(&id) {
            Some(&mapped) => mapped,
            None => self.learn(id, None),
        };
        self.last = Some((id, mapped));
        mapped
    }

    fn is_member(&mut self, gid: u32) -> bool {
        let log = &self.log;
        let groups = self.own_groups.get_or_insert_with(|| {
            let groups = own_groups();
            if log.debug(Debug::Own) >= 2 {
                let plural = if groups.len() == 1 { "" } else { "s" };
                let mut line = bytes!["process has ", groups.len(), " gid", plural, ": "];
                groups.iter().for_each(|gid| line.extend(bytes![" ", *gid]));
                log.say(LogCode::Info, line);
            }
            groups
        });
        groups.contains(&gid)
    }
}

/// The groups of the process, the effective one included.
fn own_groups() -> Vec<u32> {
    let mut groups = users::supplementary_groups().unwrap_or_default();
    let own = users::effective_gid();
    if !groups.contains(&own) {
        groups.push(own);
    }
    groups
}

/// Reads `FROM:TO,…`: FROM a number, a range, a name or a pattern, TO a name or a number. C: uidlist.c parse_name_map
fn parse_map(kind: Kind, text: &[u8], log: &Log) -> Result<Vec<MapRule>> {
    let mut rules = Vec::new();
    for item in text.rsplit(|&byte| byte == b',') {
        let syntax = |what: &str| Error::new(ExitCode::SYNTAX, bytes![what, kind.option(), ": ", item]);
        let colon = memchr::memchr(b':', item).ok_or_else(|| syntax("No colon found in "))?;
        let (from, to) = (&item[..colon], &item[colon + 1..]);
        if to.is_empty() {
            return Err(syntax("No name found after colon "));
        }
        let from = if from.first().is_some_and(u8::is_ascii_digit) {
            parse_range(from).ok_or_else(|| {
                Error::new(ExitCode::SYNTAX, bytes!["Invalid number in ", kind.option(), ": ", from])
            })??
        } else if from.iter().any(|byte| b"*[?".contains(byte)) {
            From::Wild(from.to_vec())
        } else {
            From::Name(from.to_vec())
        };
        match kind.id_of_text(to)? {
            Some(to) => rules.push(MapRule { from, to }),
            None => log.say(LogCode::Error, bytes!["Unknown ", kind.option(), " name on receiver: ", to]),
        }
    }
    rules.reverse();
    Ok(rules)
}

/// `N` or `LOW-HIGH`; `None` for another form, an error for a number too large.
fn parse_range(text: &[u8]) -> Option<Result<From>> {
    let mut parts = text.split(|&byte| byte == b'-');
    let (low, high) = (parts.next()?, parts.next());
    let digits = |part: &[u8]| !part.is_empty() && part.iter().all(u8::is_ascii_digit);
    if !digits(low) || high.is_some_and(|high| !digits(high)) || parts.next().is_some() {
        return None;
    }
    Some(parse_id(low).and_then(|low| {
        let high = high.map(parse_id).transpose()?.filter(|&high| high != 0); // the reference's zero means no range
        Ok(From::Range(low, high.unwrap_or(low)))
    }))
}

/// C: uidlist.c id_parse
fn parse_id(digits: &[u8]) -> Result<u32> {
    std::str::from_utf8(digits)
        .ok()
        .and_then(|digits| digits.parse().ok())
        .ok_or_else(|| Error::new(ExitCode::SYNTAX, bytes!["Invalid ID number: ", digits]))
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::{
        log::{Sink, Speaker},
        options::Levels,
        proto::Compat,
    };

    #[derive(Default)]
    struct Heard(Mutex<Vec<u8>>);

    impl Sink for Heard {
        fn line(&self, _: LogCode, line: &[u8]) {
            self.0.lock().unwrap().extend_from_slice(line);
        }
    }

    fn protocol() -> Protocol {
        Protocol { compat: Compat { id0_names: true, ..Compat::default() }, ..Protocol::plain(32) }
    }

    fn log() -> (Log, Arc<Heard>) {
        let heard = Arc::new(Heard::default());
        (Log::new(Levels::default(), heard.clone(), Speaker::Receiver), heard)
    }

    fn users_of(map: &str) -> Result<Mapping> {
        let options = Options { usermap: Some(map.into()), super_user: Super::Yes, ..Options::default() };
        Mapping::new(Kind::User, &options, &protocol(), &log().0)
    }

    #[test]
    fn names_win_over_numbers_but_never_for_root() {
        let mut mapping = users_of("0:0").unwrap();
        assert_eq!(mapping.learn(12345, Some(b"root")).id, 0);
        assert_eq!(mapping.learn(12346, Some(b"no such user here")).id, 12346);
        assert_eq!(mapping.learn(0, Some(b"daemon")).id, 0);
        assert_eq!(mapping.map(12345).id, 0);
        assert_eq!(mapping.map(777).id, 777);
    }

    #[test]
    fn the_first_rule_that_fits_decides() {
        let mut mapping = users_of("5-9:50,joe:60,j*:70,10:80,*:90").unwrap();
        for (id, name, expected) in [(5, None, 50), (9, None, 50), (4, Some("joe"), 60), (4, Some("jim"), 70)] {
            assert_eq!(mapping.learn(id, name.map(str::as_bytes)).id, expected, "{id} {name:?}");
        }
        assert_eq!(mapping.learn(10, Some(b"x")).id, 80);
        assert_eq!(mapping.learn(11, None).id, 90, "a star fits a missing name");
    }

    #[test]
    fn malformed_maps_are_refused_as_the_reference_does() {
        let cases = [
            ("5", "No colon found in --usermap: 5"),
            ("5:", "No name found after colon --usermap: 5:"),
            ("5-:1", "Invalid number in --usermap: 5-"),
            ("5-6-7:1", "Invalid number in --usermap: 5-6-7"),
            ("5x:1", "Invalid number in --usermap: 5x"),
            ("5:99999999999", "Invalid ID number: 99999999999"),
            ("7:7,5", "No colon found in --usermap: 5"),
        ];
        for (map, message) in cases {
            let error = users_of(map).err().unwrap();
            assert_eq!((error.code, String::from_utf8_lossy(&error.message).as_ref()), (ExitCode::SYNTAX, message));
        }
    }

    #[test]
    fn unknown_names_are_complained_of() {
        let (log, heard) = log();
        let options = Options { groupmap: Some(b"a:no such group,*:7".to_vec()), ..Options::default() };
        let mut mapping = Mapping::new(Kind::Group, &options, &protocol(), &log).unwrap();
        assert_eq!(*heard.0.lock().unwrap(), b"Unknown --groupmap name on receiver: no such group\n");
        assert_eq!(mapping.learn(3, Some(b"a")).id, 7);
    }

    #[test]
    fn groups_of_others_are_skipped_without_rights() {
        let options = Options { super_user: Super::No, ..Options::default() };
        let mut mapping = Mapping::new(Kind::Group, &options, &protocol(), &log().0).unwrap();
        let own = own_groups()[0];
        assert!(!mapping.learn(own, None).skip);
        assert!(mapping.learn(0x7fff_0001, None).skip);
    }

    #[test]
    fn a_name_is_sent_once_and_listed_backwards() {
        let mut seen = Seen::new(Kind::User);
        assert_eq!(seen.first_time(0), Some(&b"root"[..]));
        assert_eq!(seen.first_time(0), None);
        assert_eq!(seen.first_time(1), Some(&b"daemon"[..]));
        assert_eq!(seen.first_time(2), Some(&b"bin"[..]));
        assert_eq!(seen.first_time(0x7fff_0001), None);
        let named: Vec<_> = seen.named().collect();
        assert_eq!(named, [(2, &b"bin"[..]), (1, &b"daemon"[..])]);
        assert_eq!(seen.name_of_zero(), b"root");
    }
}
