//! The client's own sink: stdout and stderr, with control characters made harmless.

use std::{
    io::{self, Write},
    sync::{
        Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use super::{LogCode, Progress, Sink};
use crate::{
    options::{
        Options, Outbuf, Stderr,
        charset::{Charset, Piece, Text},
    },
    sys::locale,
    text::escape::{Charset as Locale, Policy, escape, escape_line, octal, parts},
};

/// What a terminal needs to know of the options.
#[derive(Clone, Copy, Debug)]
pub struct Style {
    pub quiet: bool,
    /// Everything to stderr (`--stderr=all`).
    pub all_to_stderr: bool,
    /// Each piece is written at once, and a failing write is fatal (`--outbuf=N`).
    pub unbuffered: bool,
    /// Which bytes are shown as they are; `None`: the locale's characters.
    pub policy: Option<Policy>,
}

impl Style {
    /// Of a client, or of a server's own stderr: a server never learns the locale's character set, and tells one byte
    /// from another. C: rsync.c setup_iconv
    pub fn new(options: &Options) -> Self {
        Self {
            quiet: options.quiet > 0,
            all_to_stderr: options.stderr == Stderr::All,
            unbuffered: options.outbuf == Some(Outbuf::None),
            policy: match options.eight_bit_output {
                true => Some(Policy::EightBit),
                false => options.is_server().then_some(Policy::Printable),
            },
        }
    }
}

/// The locale's characters. The locale is read when a line first needs it: most never do.
fn locale_policy() -> Policy {
    static POLICY: OnceLock<Policy> = OnceLock::new();
    *POLICY.get_or_init(|| Policy::Characters(Locale::from_codeset(&locale::codeset())))
}

/// Writes lines to two byte streams as the reference's client does. C: log.c rwrite
///
/// Every whole line is written at once and on its own, so that it appears while the work goes on. Failing writes are
/// not reported, as in the reference, except with `--outbuf=N`.
pub struct Terminal<O = io::Stdout, E = io::Stderr> {
    style: Style,
    state: Mutex<State<O, E>>,
    broken: AtomicBool,
}

struct State<O, E> {
    out: O,
    err: E,
    /// What stdout got since its last line end.
    pending: Vec<u8>,
    open: Option<Progress>,
    /// With `--iconv`: how lines of the other end come into our characters.
    from_wire: Option<Text>,
}

impl Terminal {
    pub fn new(options: &Options) -> Self {
        let terminal = Self::on(Style::new(options), io::stdout(), io::stderr());
        // That a set is not known is told when the session begins.
        let charset = Charset::of(options).filter(|_| !options.is_server());
        terminal.state().from_wire = charset.and_then(|charset| charset.from_wire().ok());
        terminal
    }
}

impl<O: Write, E: Write> Terminal<O, E> {
    /// A terminal on any two streams.
    pub fn on(style: Style, out: O, err: E) -> Self {
        let state = State { out, err, pending: Vec::new(), open: None, from_wire: None };
        Self { style, state: Mutex::new(state), broken: AtomicBool::new(false) }
    }

    fn state(&self) -> MutexGuard<'_, State<O, E>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self, state: &mut State<O, E>, to_stderr: bool, line: &[u8]) {
        let policy = match self.style.policy {
            Some(policy) => policy,
            None if line.is_ascii() => Policy::Characters(Locale::Ascii),
            None => locale_policy(),
        };
        let mut text = Vec::with_capacity(line.len() + 8);
        escape_line(&mut text, line, policy);
        self.emit(state, to_stderr, text);
    }

    /// Writes what is fit to be seen.
    fn emit(&self, state: &mut State<O, E>, to_stderr: bool, mut text: Vec<u8>) {
        if state.open.take().is_some() {
            text.insert(0, b'\n');
        }
        if to_stderr {
            let _ = state.err.write_all(&text).and_then(|()| state.err.flush()); // there is nobody left to tell
            return;
        }
        state.pending.extend_from_slice(&text);
        if self.style.unbuffered || matches!(text.last(), Some(b'\n' | b'\r')) {
            self.push(state);
        }
    }

    /// Whether a line goes to stderr; `None`: nowhere.
    fn stream(&self, code: LogCode) -> Option<bool> {
        match code {
            LogCode::Log => None,
            LogCode::ErrorXfer | LogCode::Error | LogCode::Warning => Some(true),
            LogCode::Info | LogCode::Client if self.style.quiet => None,
            LogCode::Info | LogCode::Client => Some(self.style.all_to_stderr),
        }
    }

    fn push(&self, state: &mut State<O, E>) {
        if state.pending.is_empty() {
            return;
        }
        let written = state.out.write_all(&state.pending).and_then(|()| state.out.flush());
        state.pending.clear();
        if written.is_err() && self.style.unbuffered {
            self.broken.store(true, Ordering::Relaxed);
        }
    }
}

/// A line of the other end in our characters: what is none of them is shown as a number, as are control characters.
fn converted(from_wire: &mut Text, line: &[u8]) -> Vec<u8> {
    let (mut out, (start, line, end)) = (Vec::with_capacity(line.len() + 8), parts(line));
    out.extend_from_slice(start);
    from_wire.pieces(line, |piece| match piece {
        Piece::Converted(piece) => escape(&mut out, piece, Policy::EightBit),
        Piece::Bad(byte, _) => out.extend_from_slice(&octal(byte)),
    });
    out.extend_from_slice(end);
    out
}

impl<O: Write + Send, E: Write + Send> Sink for Terminal<O, E> {
    fn line(&self, code: LogCode, line: &[u8]) {
        if let Some(to_stderr) = self.stream(code) {
            self.write(&mut self.state(), to_stderr, line);
        }
    }

    fn line_from_wire(&self, code: LogCode, line: &[u8]) {
        let Some(to_stderr) = self.stream(code) else { return };
        let state = &mut *self.state();
        match &mut state.from_wire {
            Some(from_wire) => {
                let text = converted(from_wire, line);
                self.emit(state, to_stderr, text);
            }
            None => self.write(state, to_stderr, line),
        }
    }

    fn progress(&self, step: Progress, line: &[u8]) {
        if self.style.quiet {
            return;
        }
        let state = &mut *self.state();
        match step {
            Progress::ListStart => {}
            Progress::ListCount if state.open != Some(Progress::ListCount) => {}
            Progress::ListCount | Progress::Transfer | Progress::Done => state.open = None,
        }
        self.write(state, self.style.all_to_stderr, line);
        self.push(state);
        if step != Progress::Done {
            state.open = Some(step);
        }
    }

    fn flush(&self) {
        self.push(&mut self.state());
    }

    fn finish(&self) {
        let state = &mut *self.state();
        if state.open.take().is_some() {
            state.pending.push(b'\n');
        }
        self.push(state);
    }

    fn broken(&self) -> bool {
        self.broken.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    /// Records what came in each write.
    #[derive(Clone, Default)]
    struct Stream(Arc<Mutex<Vec<Vec<u8>>>>);

    impl Stream {
        fn writes(&self) -> Vec<String> {
            self.0.lock().unwrap().iter().map(|write| String::from_utf8_lossy(write).into_owned()).collect()
        }

        fn text(&self) -> String {
            self.writes().concat()
        }
    }

    impl Write for Stream {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().push(bytes.to_vec());
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    const PLAIN: Style =
        Style { quiet: false, all_to_stderr: false, unbuffered: false, policy: Some(Policy::Characters(Locale::Utf8)) };

    fn terminal(style: Style) -> (Terminal<Stream, Stream>, Stream, Stream) {
        let (out, err) = (Stream::default(), Stream::default());
        (Terminal::on(style, out.clone(), err.clone()), out, err)
    }

    #[test]
    fn information_and_errors_part_ways() {
        let (terminal, out, err) = terminal(PLAIN);
        terminal.line(LogCode::Info, b"a\n");
        terminal.line(LogCode::Error, b"b\n");
        terminal.line(LogCode::Warning, b"c\n");
        terminal.line(LogCode::Log, b"d\n");
        terminal.line(LogCode::Client, b"e\n");
        assert_eq!((out.text(), err.text()), ("a\ne\n".into(), "b\nc\n".into()));
    }

    #[test]
    fn quiet_silences_information_only() {
        let (terminal, out, err) = terminal(Style { quiet: true, ..PLAIN });
        terminal.line(LogCode::Info, b"a\n");
        terminal.progress(Progress::Transfer, b"\r 1");
        terminal.line(LogCode::Error, b"b\n");
        terminal.finish();
        assert_eq!((out.text(), err.text()), (String::new(), "b\n".into()));
    }

    #[test]
    fn stderr_may_take_all() {
        let (terminal, out, err) = terminal(Style { all_to_stderr: true, ..PLAIN });
        terminal.line(LogCode::Info, b"a\n");
        assert_eq!((out.text(), err.text()), (String::new(), "a\n".into()));
    }

    #[test]
    fn a_line_is_one_write_and_a_piece_waits_for_its_end() {
        let (terminal, out, _) = terminal(PLAIN);
        terminal.line(LogCode::Info, b"one\n");
        terminal.line(LogCode::Info, b"tw");
        assert_eq!(out.writes(), ["one\n"]);
        terminal.line(LogCode::Info, b"o\n");
        assert_eq!(out.writes(), ["one\n", "two\n"]);
    }

    #[test]
    fn unbuffered_pieces_do_not_wait() {
        let (terminal, out, _) = terminal(Style { unbuffered: true, ..PLAIN });
        terminal.line(LogCode::Info, b"tw");
        assert_eq!(out.writes(), ["tw"]);
    }

    #[test]
    fn control_characters_are_shown_as_numbers_but_for_the_ends() {
        let (terminal, out, _) = terminal(PLAIN);
        terminal.line(LogCode::Info, b"\ra\nb\tc\\#012\n");
        assert_eq!(out.text(), "\ra\\#012b\tc\\#134#012\n");
    }

    #[test]
    fn a_message_interrupts_progress_with_a_line_end() {
        let (terminal, out, err) = terminal(PLAIN);
        terminal.progress(Progress::Transfer, b"\r 1%");
        terminal.progress(Progress::Transfer, b"\r 2%");
        terminal.line(LogCode::Info, b"name\n");
        terminal.progress(Progress::Transfer, b"\r 3%");
        terminal.line(LogCode::Error, b"bad\n");
        terminal.progress(Progress::Transfer, b"\r 4%");
        terminal.progress(Progress::Done, b"\r 100%\n");
        terminal.line(LogCode::Info, b"next\n");
        assert_eq!(out.text(), "\r 1%\r 2%\nname\n\r 3%\r 4%\r 100%\nnext\n");
        assert_eq!(err.text(), "\nbad\n");
    }

    #[test]
    fn counts_of_the_list_overwrite_each_other_and_the_end_of_the_list_them() {
        let (terminal, out, _) = terminal(PLAIN);
        terminal.progress(Progress::ListStart, b"building file list ... ");
        terminal.progress(Progress::ListCount, b" 100 files...\r");
        terminal.progress(Progress::ListCount, b" 200 files...\r");
        terminal.progress(Progress::Done, b"231 files to consider\n");
        assert_eq!(out.text(), "building file list ... \n 100 files...\r 200 files...\r231 files to consider\n");
    }

    #[test]
    fn a_run_that_ends_early_ends_the_open_line() {
        let (terminal, out, _) = terminal(PLAIN);
        terminal.progress(Progress::Transfer, b"\r 1%");
        terminal.finish();
        terminal.finish();
        assert_eq!(out.text(), "\r 1%\n");
    }

    #[test]
    fn only_unbuffered_output_minds_a_reader_that_left() {
        struct Gone;
        impl Write for Gone {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::BrokenPipe.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        for unbuffered in [false, true] {
            let terminal = Terminal::on(Style { unbuffered, ..PLAIN }, Gone, io::sink());
            terminal.line(LogCode::Info, b"a\n");
            assert_eq!(terminal.broken(), unbuffered);
        }
    }
}
