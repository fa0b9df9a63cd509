//! A subscriber that keeps the events of one thread.
#![allow(dead_code, reason = "each test binary uses a part of this")]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    cell::RefCell,
    collections::BTreeMap,
    fmt::Debug,
    sync::{Arc, Mutex},
};

use tracing::{
    Event, Level, Metadata, Subscriber,
    field::{Field, Visit},
    span,
    subscriber::DefaultGuard,
};
use tracing_core::span::Current;

pub(crate) type Events = Arc<Mutex<Vec<Told>>>;

/// An event, or a span.

#[derive(Clone, Debug)]
pub(crate) struct Told {
    pub(crate) level: Level,
    pub(crate) fields: BTreeMap<String, String>,
    /// The span that it was told in, with its fields.
    pub(crate) span: Option<Box<Told>>,
    /// A span's own name.
    pub(crate) name: &'static str,
    metadata: &'static Metadata<'static>,
}

impl Told {
    pub(crate) fn get(&self, field: &str) -> &str {
        self.fields.get(field).map_or("", String::as_str)
    }
}

struct Keep {
    level_max: Level,
    events: Events,
    /// All spans ever; an id is a place in here, counted from 1.
    spans: Mutex<Vec<Told>>,
}

thread_local! {
    /// The spans that this thread has entered and not left.
    static ENTERED: RefCell<Vec<span::Id>> = const { RefCell::new(Vec::new()) };
}

impl Keep {
    fn told(&self, metadata: &'static Metadata<'static>, fields: Fields) -> Told {
        let within = ENTERED.with_borrow(|entered| entered.last().map(span::Id::into_u64));
        let place = within.map(|id| usize::try_from(id - 1).unwrap());
        let span = place.map(|place| Box::new(self.spans.lock().unwrap()[place].clone()));
        Told { level: *metadata.level(), fields: fields.0, span, name: metadata.name(), metadata }
    }
}

struct Fields(BTreeMap<String, String>);

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0.insert(field.name().to_owned(), format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name().to_owned(), value.to_owned());
    }
}

impl Subscriber for Keep {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "storage" && *metadata.level() <= self.level_max
    }

    fn new_span(&self, attributes: &span::Attributes<'_>) -> span::Id {
        let mut fields = Fields(BTreeMap::new());
        attributes.record(&mut fields);
        let told = self.told(attributes.metadata(), fields);
        let mut spans = self.spans.lock().unwrap();
        spans.push(told);
        span::Id::from_u64(spans.len() as u64)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn current_span(&self) -> Current {
        let Some(id) = ENTERED.with_borrow(|entered| entered.last().cloned()) else {
            return Current::none();
        };
        let place = usize::try_from(id.into_u64() - 1).unwrap();
        let metadata = self.spans.lock().unwrap()[place].metadata;
        Current::new(id, metadata)
    }

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut fields = Fields(BTreeMap::new());
        event.record(&mut fields);
        let told = self.told(event.metadata(), fields);
        self.events.lock().unwrap().push(told);
    }

    fn enter(&self, span: &span::Id) {
        ENTERED.with_borrow_mut(|entered| entered.push(span.clone()));
    }

    fn exit(&self, span: &span::Id) {
        let left = ENTERED.with_borrow_mut(Vec::pop);
        assert_eq!(left.as_ref(), Some(span), "spans are left in the order of entering them");
    }
}

/// Keeps this thread's events up to a level, until the guard is dropped.
pub(crate) fn listen_to(level_max: Level) -> (Events, DefaultGuard) {
    let (events, keep) = keep(level_max);
    (events, tracing::subscriber::set_default(keep))
}

/// Keeps the events of all threads up to a level, for as long as the process lives.
pub(crate) fn listen_everywhere(level_max: Level) -> Events {
    let (events, keep) = keep(level_max);
    tracing::subscriber::set_global_default(keep).unwrap();
    events
}

fn keep(level_max: Level) -> (Events, Keep) {
    let events = Events::default();
    let keep = Keep { level_max, events: Arc::clone(&events), spans: Mutex::default() };
    (events, keep)
}
