//! The terminal: taking it, and giving it back as it was, however it ends.

use std::io::{self, Write};
use std::mem::ManuallyDrop;
use std::process::ExitCode;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use crossterm::event::{Event as Input, KeyEvent, KeyEventKind};
use ratatui::DefaultTerminal;
use tokio::runtime::Runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::draw::{Theme, draw};
use super::poll;
use super::screen::Screen;
use super::seen::Seen;
use crate::admin::Client;
use crate::cli::fail;

/// What happens.
pub(super) enum Event {
    /// The server has answered, or not.
    Answer(Result<Box<Seen>, String>),
    Key(KeyEvent),
    /// The terminal has another size.
    Resized,
    /// The terminal is gone, or cannot be read.
    NoInput(io::Error),
    /// A signal that ends processes.
    Signal(SignalKind),
}

/// Shows the server until somebody has seen enough.
pub(super) fn run(client: Client, interval: Duration) -> ExitCode {
    let began = Instant::now();
    let (sender, events) = sync_channel(EVENTS_MAX);
    // Before the terminal is taken, which whoever ends us would leave as it is then. Without it they end us as they always do.
    let signals = Signals::caught().ok();
    // Takes the terminal, and has a panic of any thread give it back before it tells of itself.
    let terminal = match ratatui::try_init() {
        Ok(terminal) => terminal,
        Err(error) => {
            let _ = ratatui::try_restore();
            return fail(&format!("top: the terminal cannot be used: {error}"));
        }
    };
    show_cursor_on_panic();
    listen(client, interval, began, signals, &sender);
    drop(sender);
    // Dropped by itself it would complain on stderr, and panic where that is gone with the terminal.
    let mut terminal = ManuallyDrop::new(terminal);
    let ended = show(&mut terminal, &events, began);
    let _ = terminal.show_cursor();
    let _ = ratatui::try_restore();
    match ended {
        Ok(None) => ExitCode::SUCCESS,
        // As shells tell of who was ended by a signal.
        Ok(Some(signal)) => {
            let number = u8::try_from(signal.as_raw_value()).unwrap_or(0);
            ExitCode::from(128 + number)
        }
        Err(error) => {
            let said = format!("portunus: top: the terminal cannot be used: {error}");
            let _ = writeln!(io::stderr(), "{said}");
            ExitCode::FAILURE
        }
    }
}

fn show_cursor_on_panic() {
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        let _ = crossterm::execute!(io::stdout(), crossterm::cursor::Show);
        before(panic);
    }));
}

/// Starts who tells of what happens. They end with the process.
fn listen(
    client: Client,
    interval: Duration,
    began: Instant,
    signals: Option<Signals>,
    to: &SyncSender<Event>,
) {
    let sender = to.clone();
    thread::spawn(move || poll::run(&client, interval, began, &sender));
    let sender = to.clone();
    thread::spawn(move || read_keys(&sender));
    if let Some(signals) = signals {
        let sender = to.clone();
        thread::spawn(move || signals.wait(&sender));
    }
}

fn read_keys(to: &SyncSender<Event>) {
    loop {
        let event = match crossterm::event::read() {
            Ok(Input::Key(key)) if key.kind != KeyEventKind::Release => Event::Key(key),
            Ok(Input::Resize(..)) => Event::Resized,
            Ok(_) => continue,
            Err(error) => {
                let _ = to.send(Event::NoInput(error));
                return;
            }
        };
        if to.send(event).is_err() {
            return;
        }
    }
}

/// The signals that end processes. In raw mode Ctrl-C is a key; a signal comes from elsewhere.
struct Signals {
    runtime: Runtime,
    caught: Vec<(SignalKind, Signal)>,
}

impl Signals {
    /// From now on none ends the process by itself.
    fn caught() -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let entered = runtime.enter();
        let kinds = [
            SignalKind::terminate(),
            SignalKind::hangup(),
            SignalKind::interrupt(),
            SignalKind::quit(),
        ];
        let caught = kinds.map(|kind| Ok((kind, signal(kind)?)));
        let caught = caught.into_iter().collect::<io::Result<_>>()?;
        drop(entered);
        Ok(Self { runtime, caught })
    }

    /// Waits for the first of them.
    fn wait(self, to: &SyncSender<Event>) {
        let waits = self.caught.into_iter().map(|(kind, mut signal)| {
            Box::pin(async move {
                signal.recv().await;
                kind
            })
        });
        let first = futures_util::future::select_all(waits);
        let (kind, ..) = self.runtime.block_on(first);
        let _ = to.send(Event::Signal(kind));
    }
}

/// Until the end; the signal that it came by, if it was one.
fn show(
    terminal: &mut DefaultTerminal,
    events: &Receiver<Event>,
    began: Instant,
) -> io::Result<Option<SignalKind>> {
    let theme = Theme {
        // https://no-color.org
        colours: std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()),
    };
    let mut screen = Screen::default();
    loop {
        let mut skipped_most = 0;
        terminal.draw(|frame| skipped_most = draw(frame, &screen, theme, began.elapsed()))?;
        screen.skipped = screen.skipped.min(skipped_most);
        let event = match events.recv_timeout(REDRAW_EVERY) {
            Ok(event) => event,
            // How long the server has been away goes on.
            Err(RecvTimeoutError::Timeout) => continue,
            Err(RecvTimeoutError::Disconnected) => return Ok(None),
        };
        match event {
            Event::Answer(Ok(seen)) => screen.answered(*seen),
            Event::Answer(Err(why)) => {
                let clock = humantime::format_rfc3339_seconds(SystemTime::now());
                screen.unanswered(began.elapsed(), clock.to_string(), why);
            }
            Event::Key(key) if screen.press(key) => return Ok(None),
            Event::Key(_) | Event::Resized => {}
            Event::NoInput(error) => return Err(error),
            Event::Signal(signal) => return Ok(Some(signal)),
        }
    }
}

const REDRAW_EVERY: Duration = Duration::from_secs(1);

/// More keys than anybody presses while a frame is drawn.
const EVENTS_MAX: usize = 64;
