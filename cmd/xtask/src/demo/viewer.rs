//! Watches nodes, Services and events, tells what changes, and keeps the picture for who waits for something.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::pin::pin;
use std::time::Instant;

use futures::StreamExt;
use k8s_openapi::api::core::v1::{Event, Node, Service};
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, watcher};
use kube::{Api, Client, ResourceExt};
use tokio::sync::watch;

use super::picture::service::{self, ServiceView};
use super::picture::{Change, NodeView, Picture, Said, changes};
use crate::out::{Out, Tone, took, wrap};

/// Columns: the time, the name, the word.
const NAME_WIDTH: usize = 8;
const WORD_WIDTH: usize = 12;

/// Width of what follows; longer texts go on below.
const TEXT_WIDTH: usize = 72;

/// Tells what happens from now on. Ends when it is dropped.
pub(super) async fn run(client: Client, out: Out, since: Instant, picture: watch::Sender<Picture>) {
    let nodes = watcher(Api::<Node>::all(client.clone()), watcher::Config::default());
    let services = watcher(Api::<Service>::all(client.clone()), watcher::Config::default());
    let events = watcher(Api::<Event>::all(client), watcher::Config::default());
    // The API server may be away for a moment; the watches come back by themselves.
    let mut nodes = pin!(nodes.default_backoff());
    let mut services = pin!(services.default_backoff());
    let mut events = pin!(events.default_backoff());
    let mut viewer = Viewer { out, since, joined: BTreeMap::new(), heard: BTreeSet::new() };
    loop {
        tokio::select! {
            Some(change) = nodes.next() => if let Ok(change) = change {
                viewer.node(change, &picture);
            },
            Some(change) = services.next() => if let Ok(change) = change {
                viewer.service(change, &picture);
            },
            Some(event) = events.next() => if let Ok(event) = event {
                viewer.event(event, &picture);
            },
            else => return,
        }
    }
}

struct Viewer {
    out: Out,
    since: Instant,
    joined: BTreeMap<String, Instant>,
    /// Events that were told, by UID: a repetition of one is counted in it and told once.
    heard: BTreeSet<String>,
}

impl Viewer {
    fn node(&mut self, change: watcher::Event<Node>, picture: &watch::Sender<Picture>) {
        match change {
            watcher::Event::Apply(node) | watcher::Event::InitApply(node) => {
                let (name, now) = (node.name_any(), NodeView::from(&node));
                let before = picture.borrow().nodes.get(&name).cloned();
                if before.is_none() {
                    self.joined.insert(name.clone(), Instant::now());
                }
                self.tell(&name, &changes(before.as_ref(), Some(&now)));
                picture.send_modify(|picture| drop(picture.nodes.insert(name, now)));
            }
            watcher::Event::Delete(node) => {
                let name = node.name_any();
                self.tell(&name, &changes(None, None));
                picture.send_modify(|picture| drop(picture.nodes.remove(&name)));
            }
            watcher::Event::Init | watcher::Event::InitDone => {}
        }
    }

    fn service(&self, change: watcher::Event<Service>, picture: &watch::Sender<Picture>) {
        match change {
            watcher::Event::Apply(service) | watcher::Event::InitApply(service) => {
                let kind = service.spec.as_ref().and_then(|spec| spec.type_.as_deref());
                if kind != Some("LoadBalancer") {
                    return;
                }
                let (name, now) = (service.name_any(), ServiceView::from(&service));
                let before = picture.borrow().services.get(&name).cloned();
                self.tell(&name, &service::changes(before.as_ref(), Some(&now)));
                picture.send_modify(|picture| drop(picture.services.insert(name, now)));
            }
            watcher::Event::Delete(service) => {
                let name = service.name_any();
                self.tell(&name, &service::changes(None, None));
                picture.send_modify(|picture| drop(picture.services.remove(&name)));
            }
            watcher::Event::Init | watcher::Event::InitDone => {}
        }
    }

    fn event(&mut self, event: watcher::Event<Event>, picture: &watch::Sender<Picture>) {
        let (watcher::Event::Apply(event) | watcher::Event::InitApply(event)) = event else {
            return;
        };
        if !self.heard.insert(event.uid().unwrap_or_default()) {
            return;
        }
        let said = Said::from(&event);
        let tone = if said.warning { Tone::Waiting } else { Tone::Plain };
        let (kind, name) = &said.about;
        let is_shown = ["Node", "Service"].contains(&kind.as_str());
        let name = if is_shown { name } else { kind };
        self.line(name, "event", tone, format_args!("{}: {}", said.reason, said.message));
        picture.send_modify(|picture| picture.events.push(said));
    }

    fn tell(&self, name: &str, changes: &[Change]) {
        for Change { what, tone, details } in changes {
            let mut word = *what;
            for (place, detail) in details.iter().enumerate() {
                let age = (*what == "INITIALISED").then(|| self.joined.get(name)).flatten();
                match age {
                    Some(joined) if place == 0 => {
                        let age = took(joined.elapsed());
                        self.line(
                            name,
                            word,
                            *tone,
                            format_args!("{detail}, {age} after it joined"),
                        );
                    }
                    Some(_) | None => self.line(name, word, *tone, detail),
                }
                word = "";
            }
        }
    }

    fn line(&self, name: &str, word: &str, tone: Tone, text: impl Display) {
        let time = format!("{:7.2} s", self.since.elapsed().as_secs_f64());
        let time = self.out.paint(Tone::Dim, time);
        let name = self.out.paint(Tone::Bold, format_args!("{name:<NAME_WIDTH$}"));
        let mut word = word;
        for text in wrap(&text.to_string(), TEXT_WIDTH) {
            let painted = self.out.paint(tone, format_args!("{word:<WORD_WIDTH$}"));
            self.out.line(format_args!("{time}  {name}  {painted}  {text}"));
            word = "";
        }
    }
}
