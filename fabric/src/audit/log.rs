//! The thread that writes a node's audit log: once a second it looks what the node has refused and
//! decided since, in tables and counters that others keep. Nothing of it is on the way of an event.

use std::collections::{HashMap, VecDeque};
use std::path::Path;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use std::{io, mem};

use serde::Serialize;
use wireloom_identity::Credentials;

use super::Audit;
use super::file::AuditFile;
use crate::access::PolicyMode;
use crate::node::Node;
use crate::shared::Shared;

/// How often it looks.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Decisions that wait for a look; further ones are counted.
const TOLD_MAX: usize = 64;

/// A decision about security that is none about one node's events.
#[derive(Debug, Serialize)]
struct Decision {
    unix_ns: u64,
    decision: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    what: Option<String>,
    /// How many since the last look.
    #[serde(skip_serializing_if = "Option::is_none")]
    count: Option<u64>,
}

impl Decision {
    fn new(decision: &'static str, what: Option<String>, count: Option<u64>) -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let unix_ns = u64::try_from(since.as_nanos()).unwrap_or(u64::MAX);
        Self { unix_ns, decision, what, count }
    }
}

/// A node's audit log, if it has one.
#[derive(Debug, Default)]
pub(crate) struct AuditBook(Mutex<Option<Writer>>);

#[derive(Debug)]
struct Writer {
    told: Arc<Mutex<Told>>,
    end: Sender<()>,
    thread: JoinHandle<()>,
}

/// What is told by others, until the next look.
#[derive(Debug, Default)]
struct Told {
    decisions: VecDeque<Decision>,
    beyond: u64,
    /// Lines that could not be written and stand nowhere.
    unwritten: u64,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl AuditBook {
    /// The last look, when everything else has ended.
    pub(crate) fn close(&self) {
        let writer = locked(&self.0).take();
        if let Some(Writer { end, thread, .. }) = writer {
            drop(end);
            // It has panicked: there is nobody to tell.
            let _ = thread.join();
        }
    }
}

/// An audit log that is open and has no node yet.
#[derive(Debug)]
pub(crate) struct AuditLog(AuditFile);

impl AuditLog {
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        AuditFile::open(path).map(Self)
    }
}

impl Node {
    /// Lets a thread write what this node refuses and decides into a log.
    pub(crate) fn begin_audit(
        &self,
        AuditLog(file): AuditLog,
        credentials: Option<Credentials>,
    ) -> io::Result<()> {
        let (told, (end, ended)) = (Arc::new(Mutex::new(Told::default())), channel());
        let mut looking = Looking {
            shared: Arc::downgrade(&self.shared),
            told: Arc::clone(&told),
            file,
            audit: Audit::default(),
            counted: HashMap::new(),
            exchanges: 0,
            trusted: credentials.as_ref().map(Trusted::of),
            credentials,
        };
        looking.begin(self);
        let thread = std::thread::Builder::new().name("wl-audit".into());
        let thread = thread.spawn(move || {
            while ended.recv_timeout(LOOK_EVERY) == Err(RecvTimeoutError::Timeout) {
                looking.look();
            }
            looking.look();
        })?;
        *locked(&self.shared.audit.0) = Some(Writer { told, end, thread });
        Ok(())
    }

    /// Has a decision about security written into this node's audit log, which its next look does:
    /// for decisions of the program, such as a new policy that it did not take. Nothing happens
    /// when there is no log; of more than 64 a second the number alone is written.
    pub fn tell_audit(&self, decision: &'static str, what: &str) {
        let writer = locked(&self.shared.audit.0);
        let Some(writer) = writer.as_ref() else { return };
        let mut told = locked(&writer.told);
        if told.decisions.len() < TOLD_MAX {
            told.decisions.push_back(Decision::new(decision, Some(what.to_owned()), None));
        } else {
            told.beyond += 1;
        }
    }

    /// Lines that this node's audit log has lost: they could not be written, and the file does not
    /// say so yet. 0 when all is well or there is no log.
    #[must_use]
    pub fn audit_unwritten(&self) -> u64 {
        let writer = locked(&self.shared.audit.0);
        writer.as_ref().map_or(0, |writer| locked(&writer.told).unwritten)
    }
}

/// What is known of credentials.
#[derive(Debug, PartialEq, Eq)]
struct Trusted {
    serial: String,
    /// The sum of the epochs of the lists, one for each authority.
    revocations: Option<u64>,
}

impl Trusted {
    fn of(credentials: &Credentials) -> Self {
        let revocations =
            credentials.revocations().iter().map(|list| list.epoch()).reduce(u64::saturating_add);
        Self { serial: credentials.identity().serial.to_string(), revocations }
    }
}

/// The thread's own.
struct Looking {
    shared: Weak<Shared>,
    told: Arc<Mutex<Told>>,
    file: AuditFile,
    audit: Audit,
    counted: HashMap<&'static str, u64>,
    /// Policies put in force so far.
    exchanges: u64,
    trusted: Option<Trusted>,
    credentials: Option<Credentials>,
}

impl Looking {
    fn begin(&mut self, node: &Node) {
        let mut decisions = vec![Decision::new("started", Some(node.name().to_owned()), None)];
        if node.is_insecure() {
            let why = node.notes().into_iter().find(|note| note.starts_with("insecure:"));
            decisions.push(Decision::new("insecure_start", why, None));
        }
        decisions.extend(self.exchanged(&node.shared));
        self.write(&decisions, &[]);
    }

    fn look(&mut self) {
        let Some(shared) = self.shared.upgrade() else { return };
        let mut decisions: Vec<Decision> = {
            let mut told = locked(&self.told);
            let beyond = mem::take(&mut told.beyond);
            let beyond = (beyond > 0).then(|| Decision::new("told_beyond", None, Some(beyond)));
            told.decisions.drain(..).chain(beyond).collect()
        };
        decisions.extend(self.exchanged(&shared));
        decisions.extend(self.trusts());
        decisions.extend(self.counts(&shared));
        let mut refusals = shared.refusals_since(&mut self.audit);
        // When there are too many, the most frequent stay.
        refusals.sort_by_key(|record| std::cmp::Reverse(record.events));
        self.write(&decisions, &refusals);
    }

    /// The policy, if another one was put in force.
    fn exchanged(&mut self, shared: &Shared) -> Option<Decision> {
        let (exchanges, policy) = shared.access.exchanges();
        let times = exchanges - mem::replace(&mut self.exchanges, exchanges);
        let what = policy.map_or_else(
            || "none: everything is allowed".to_owned(),
            |policy| {
                let lines = policy.lines().count() + policy.limits().count();
                let mode = match policy.mode() {
                    PolicyMode::Enforce => "enforce",
                    PolicyMode::Shadow => "shadow",
                };
                format!("{lines} lines, {mode}")
            },
        );
        (times > 0).then(|| Decision::new("policy_in_force", Some(what), Some(times)))
    }

    /// A certificate or list of revocations that is new.
    fn trusts(&mut self) -> Vec<Decision> {
        let Some(now) = self.credentials.as_ref().map(Trusted::of) else { return Vec::new() };
        let before = self.trusted.as_ref();
        let is_other =
            |of: fn(&Trusted) -> String| before.is_none_or(|before| of(before) != of(&now));
        let mut news = Vec::new();
        if is_other(|of| of.serial.clone()) {
            news.push(Decision::new("certificate_renewed", Some(now.serial.clone()), None));
        }
        if is_other(|of| format!("{:?}", of.revocations)) {
            let epoch = now.revocations.map(|epoch| format!("epoch {epoch}"));
            news.push(Decision::new("revocations_taken", epoch, None));
        }
        self.trusted = Some(now);
        news
    }

    /// What is only counted: links, packets and handshakes that were refused.
    fn counts(&mut self, shared: &Shared) -> Vec<Decision> {
        let counters = shared.counters().into_iter().map(|(meaning, sum)| (meaning.name, sum));
        let beyond = ("refusals_beyond", shared.access.refusals_beyond());
        let mut more = Vec::new();
        for (name, sum) in counters.filter(|(name, _)| is_refusal(name)).chain([beyond]) {
            let before = self.counted.insert(name, sum).unwrap_or_default();
            if sum > before {
                more.push(Decision::new(name, None, Some(sum - before)));
            }
        }
        more
    }

    fn write(&mut self, decisions: &[Decision], refusals: &[super::AuditRecord]) {
        let decisions = decisions.iter().map(serde_json::to_string);
        let refusals = refusals.iter().map(serde_json::to_string);
        // Their forms have texts and numbers alone, which have one in JSON.
        self.file.append(decisions.chain(refusals).filter_map(Result::ok), Instant::now());
        locked(&self.told).unwritten = self.file.unwritten();
    }
}

/// Whether a counter counts refusals that have no records of their own.
fn is_refusal(name: &str) -> bool {
    const BEGINNINGS: [&str; 4] =
        ["tls_", "datagrams_sealed_", "hellos_refused_", "links_untrusted"];
    name != "tls_handshakes"
        && (name == "datagrams_clear_refused"
            || BEGINNINGS.iter().any(|beginning| name.starts_with(beginning)))
}
