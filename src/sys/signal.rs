//! Signals become state that the program looks at: a flag, and a bell that ends whatever wait is going on.

use std::{
    io,
    sync::atomic::{AtomicBool, AtomicI32, Ordering},
};

use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};

use super::poll::{Wake, fire_raw};

/// The first of INT, TERM, HUP and USR1 to arrive; 0: none.
static RECEIVED: AtomicI32 = AtomicI32::new(0);
/// The bell's descriptor; -1: none.
static BELL: AtomicI32 = AtomicI32::new(-1);
static PROGRESS: AtomicBool = AtomicBool::new(false);

/// What asks us to stop. USR1 is how processes of the reference end each other.
const INTERRUPTS: [Signal; 4] = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGUSR1];

/// From now on INT, TERM, HUP and USR1 are noted and fire `wake`, VTALRM is noted for [`progress_wanted`], PIPE and XFSZ are
/// ignored (writes fail instead). System calls that are waiting return `EINTR`. Should whoever started us have blocked these
/// signals, they are let through in this thread and those it starts.
///
/// The bell is kept open for the rest of the process, since a handler may ring it at any time.
pub fn install(wake: &Wake) -> io::Result<()> {
    let kept = std::mem::ManuallyDrop::new(wake.clone());
    BELL.store(kept.raw(), Ordering::SeqCst);
    for signal in INTERRUPTS {
        set(signal, SigHandler::Handler(on_interrupt))?;
    }
    set(Signal::SIGVTALRM, SigHandler::Handler(on_progress))?;
    set(Signal::SIGPIPE, SigHandler::SigIgn)?;
    set(Signal::SIGXFSZ, SigHandler::SigIgn)?;
    let mut noted: SigSet = INTERRUPTS.into_iter().collect();
    noted.add(Signal::SIGVTALRM);
    Ok(noted.thread_unblock()?)
}

/// The signal that asked us to stop, if one did.
pub fn received() -> Option<i32> {
    Some(RECEIVED.load(Ordering::SeqCst)).filter(|&signal| signal != 0)
}

/// Whether a progress line was asked for (SIGVTALRM) since the last call.
pub fn progress_wanted() -> bool {
    PROGRESS.load(Ordering::Relaxed) && PROGRESS.swap(false, Ordering::Relaxed)
}

fn set(signal: Signal, handler: SigHandler) -> io::Result<()> {
    let action = SigAction::new(handler, SaFlags::empty(), SigSet::empty());
    // SAFETY: the handlers only touch atomics and call `write`, and leave errno as it was.
    unsafe { sigaction(signal, &action) }?;
    Ok(())
}

extern "C" fn on_interrupt(signal: libc::c_int) {
    let errno = nix::errno::Errno::last_raw();
    let _ = RECEIVED.compare_exchange(0, signal, Ordering::SeqCst, Ordering::SeqCst);
    let bell = BELL.load(Ordering::SeqCst);
    if bell >= 0 {
        fire_raw(bell);
    }
    nix::errno::Errno::set_raw(errno);
}

extern "C" fn on_progress(_: libc::c_int) {
    PROGRESS.store(true, Ordering::Relaxed);
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;
    use crate::sys::{
        pipe,
        poll::{Interest, Ready, wait},
    };

    /// Handlers are the whole process's, so this is tried in a process of its own.
    #[test]
    fn a_signal_is_noted_and_ends_a_wait() {
        let mut child = std::process::Command::new(std::env::current_exe().unwrap());
        child.args(["--ignored", "--exact", "sys::signal::tests::in_own_process"]);
        let output = child.output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && text.contains("1 passed"), "{text}");
    }

    #[test]
    #[ignore = "run by the test above"]
    fn in_own_process() {
        let wake = Wake::new().unwrap();
        SigSet::all().thread_block().unwrap();
        install(&wake).unwrap();
        assert!(!progress_wanted());
        nix::sys::signal::raise(Signal::SIGVTALRM).unwrap();
        assert!(progress_wanted());
        assert!(!progress_wanted());
        let (read, _write) = pipe::pipe().unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                std::thread::sleep(Duration::from_millis(20));
                nix::sys::signal::kill(nix::unistd::Pid::this(), Signal::SIGHUP).unwrap();
            });
            let limit = Some(Instant::now() + Duration::from_secs(20));
            assert_eq!(wait(&read, Interest::Read, Some(&wake), limit).unwrap(), Ready::Woken);
        });
        assert_eq!(received(), Some(libc::SIGHUP));
        nix::sys::signal::raise(Signal::SIGTERM).unwrap();
        assert_eq!(received(), Some(libc::SIGHUP), "the first one stays");
    }
}
