//! A subscriber that keeps the events of one thread.
#![allow(dead_code, reason = "each test binary uses a part of this")]

use std::{
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

pub(crate) type Events = Arc<Mutex<Vec<Told>>>;

#[derive(Clone, Debug)]
pub(crate) struct Told {
    pub(crate) level: Level,
    pub(crate) fields: BTreeMap<String, String>,
}

impl Told {
    pub(crate) fn get(&self, field: &str) -> &str {
        self.fields.get(field).map_or("", String::as_str)
    }
}

struct Keep {
    level_max: Level,
    events: Events,
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

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut fields = Fields(BTreeMap::new());
        event.record(&mut fields);
        let told = Told { level: *event.metadata().level(), fields: fields.0 };
        self.events.lock().unwrap().push(told);
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

/// Keeps this thread's events up to a level, until the guard is dropped.
pub(crate) fn listen_to(level_max: Level) -> (Events, DefaultGuard) {
    let events = Arc::default();
    let keep = Keep { level_max, events: Arc::clone(&events) };
    (events, tracing::subscriber::set_default(keep))
}
