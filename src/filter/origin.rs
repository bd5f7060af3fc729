//! Where a rule's text came from: what came out of a file is never shown, only where it stands.
//!
//! The peer chooses which files are merged. A message that repeats a rule which does not parse, or the name of a
//! merge file that such a rule gave, would hand any line of any file to whoever asks.

use crate::bytes;

use super::rule::Traits;

/// What is being read right now.
#[derive(Clone, Debug, Default)]
pub(super) enum Origin {
    /// An argument, or the wire.
    #[default]
    Argument,
    File(Place),
}

/// A place in a file.
#[derive(Clone, Debug)]
pub(super) struct Place {
    file: Known,
    /// `None` where words are counted as little as lines.
    line: Option<u32>,
}

/// What may be said of a file.
#[derive(Clone, Debug)]
enum Known {
    Name(Vec<u8>),
    /// Its own name came out of a file: where that stands.
    NamedAt(Vec<u8>),
    Nothing,
}

impl Origin {
    /// Whether a text may not be shown. `traits`: of the rule that it belongs to.
    pub fn hides(&self, traits: Traits) -> bool {
        matches!(self, Self::File(_)) || traits.has(Traits::FROM_FILE)
    }

    /// A text as a message may show it. C: exclude.c rule_text
    pub fn text(&self, traits: Traits, text: &[u8]) -> Vec<u8> {
        if self.hides(traits) { bytes!["<rule from ", self.place(), ">"] } else { text.to_vec() }
    }

    /// What a message says about a text besides showing it. C: exclude.c rule_detail
    pub fn detail<'t>(&self, traits: Traits, detail: &'t [u8]) -> &'t [u8] {
        if self.hides(traits) { b"" } else { detail }
    }

    /// The origin of what stands in a file that a rule with `traits` names.
    pub fn inside(&self, traits: Traits, file: &[u8]) -> Self {
        let file = match self {
            Self::File(_) => Known::NamedAt(self.place()),
            Self::Argument if self.hides(traits) => Known::Nothing,
            Self::Argument => Known::Name(file.to_vec()),
        };
        Self::File(Place { file, line: (!traits.has(Traits::WORDS)).then_some(0) })
    }

    pub fn next_line(&mut self) {
        if let Self::File(Place { line: Some(line), .. }) = self {
            *line = line.saturating_add(1);
        }
    }

    /// C: exclude.c rule_src_where
    fn place(&self) -> Vec<u8> {
        match self {
            Self::Argument | Self::File(Place { file: Known::Nothing, .. }) => b"a file read earlier".to_vec(),
            Self::File(Place { file: Known::NamedAt(place), .. }) => bytes!["a file named at ", place],
            Self::File(Place { file: Known::Name(name), line: Some(line) }) => bytes![name, " line ", line],
            Self::File(Place { file: Known::Name(name), line: None }) => name.clone(),
        }
    }
}
