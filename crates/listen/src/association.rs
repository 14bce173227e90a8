//! One association: C-ECHO, and C-STORE into the queue.

use crate::command::{Command, ECHO, LONGEST, STORE, Status};
use crate::config::Config;
use crate::deadline::{Deadline, Deadlines};
use crate::event::Event;
use crate::peers::Titles;
use crate::spool::{Part, Spool, Unkept};
use crate::stop::Stop;
use ampoule_dicom::{Place, identity, transfer_syntaxes};
use dicom_object::FileMetaTableBuilder;
use dicom_ul::association::server::ServerAssociation;
use dicom_ul::association::{Association as _, ServerAssociationOptions};
use dicom_ul::pdu::{
    PDataValue, PDataValueType, Pdu, PresentationContextNegotiated, PresentationContextResultReason,
};
use std::io::{self, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// Storage classes begin so (PS3.6, annex A).
const STORAGE: &str = "1.2.840.10008.5.1.4.1.1.";
/// Memory that reading the header of an object may take.
const HEADER: u64 = 64 << 20;

/// What all associations share.
pub(crate) struct Node {
    pub config: Config,
    pub spool: Spool,
    pub deadlines: Deadlines,
    pub stop: Stop,
    pub tell: Box<dyn Fn(&Event) + Send + Sync>,
}

impl Node {
    fn patience(&self) -> Duration {
        Duration::from_secs(self.config.limits.patience)
    }
}

/// Why an association ended without being released.
type Cut = String;

/// Serves a connection until it ends.
pub(crate) fn run(socket: TcpStream, from: SocketAddr, node: &Node) {
    let address = from.ip().to_string();
    let refused = |reason: String| (node.tell)(&Event::Refused { address: address.clone(), reason });
    let deadline = match node.deadlines.add(&socket, node.patience()) {
        Ok(deadline) => deadline,
        Err(e) => return refused(e.to_string()),
    };
    let titles = Titles { peers: &node.config.peers, address: from.ip() };
    let options = transfer_syntaxes().fold(
        ServerAssociationOptions::new()
            .ae_access_control(titles)
            .ae_title(node.config.ae.as_str())
            .max_pdu_length(node.config.limits.pdu_kib << 10)
            .promiscuous(true),
        |options, syntax| options.with_transfer_syntax(syntax),
    );
    let association = match options.establish(socket) {
        Ok(association) => association,
        Err(_) if deadline.is_over() => return refused("it did not ask for an association in time".into()),
        Err(e) => return refused(e.to_string()),
    };
    let number = node.spool.begin();
    let calling = association.peer_ae_title().trim().to_owned();
    let state = State::Idle(Vec::new());
    let mut serving =
        Serving { node, association, deadline: &deadline, calling, number, state, counts: [0; 2] };
    let ended = serving.all();
    let [stored, refused] = serving.counts;
    let ae = serving.calling.clone();
    let cut = match (ended, deadline.is_over()) {
        (Ok(()), _) => None,
        (Err(_), true) => Some("it took too long, or the node ends".to_owned()),
        (Err(why), false) => Some(why),
    };
    // An object that was half there is removed before its study is looked at.
    drop(serving);
    for e in node.spool.end(number, cut.is_none() && refused == 0) {
        (node.tell)(&Event::Trouble { reason: e.to_string() });
    }
    (node.tell)(&Event::Association { ae, stored, refused, cut });
}

/// What an association is in the middle of.
enum State<'a> {
    /// Between messages; what is there of a command.
    Idle(Vec<u8>),
    /// In the object of a request.
    Object { request: Command, kept: Result<Part<'a>, (Status, String)> },
}

struct Serving<'a> {
    node: &'a Node,
    association: ServerAssociation<TcpStream>,
    deadline: &'a Deadline<'a>,
    calling: String,
    number: u64,
    state: State<'a>,
    /// Objects that are stored and that were refused.
    counts: [usize; 2],
}

impl<'a> Serving<'a> {
    /// Takes messages until the association is released.
    fn all(&mut self) -> Result<(), Cut> {
        loop {
            self.deadline.renew(self.node.patience());
            let received = self.association.receive();
            self.deadline.hold();
            match received.map_err(|e| e.to_string())? {
                Pdu::PData { data } => data.into_iter().try_for_each(|value| self.value(value))?,
                Pdu::ReleaseRQ if matches!(&self.state, State::Idle(bytes) if bytes.is_empty()) => {
                    // Whoever releases need not wait for the answer.
                    self.deadline.renew(self.node.patience());
                    let _ = self.association.send(&Pdu::ReleaseRP);
                    return Ok(());
                }
                Pdu::ReleaseRQ => return Err("it released in the middle of a message".into()),
                Pdu::AbortRQ { .. } => return Err("it was aborted".into()),
                Pdu::AssociationRQ(_)
                | Pdu::AssociationAC(_)
                | Pdu::AssociationRJ(_)
                | Pdu::ReleaseRP
                | Pdu::Unknown { .. } => return Err("it sent what makes no sense here".into()),
            }
        }
    }

    fn value(&mut self, value: PDataValue) -> Result<(), Cut> {
        let (context, last) = (value.presentation_context_id, value.is_last);
        match (&mut self.state, value.value_type) {
            (State::Idle(bytes), PDataValueType::Command) => {
                if bytes.len() + value.data.len() > LONGEST {
                    return Err("it sent a command without end".into());
                }
                bytes.extend(value.data);
                match last {
                    true => self.command(context),
                    false => Ok(()),
                }
            }
            (State::Object { kept, .. }, PDataValueType::Data) => {
                if let Ok(part) = kept
                    && let Err(e) = part.write_all(&value.data)
                {
                    *kept = Err(disk(&e));
                }
                match last {
                    true => self.stored(context),
                    false => Ok(()),
                }
            }
            (State::Idle(_), PDataValueType::Data) | (State::Object { .. }, PDataValueType::Command) => {
                Err("it sent a command where an object should be, or the other way round".into())
            }
        }
    }

    /// A command is there.
    fn command(&mut self, context: u8) -> Result<(), Cut> {
        let State::Idle(bytes) = std::mem::replace(&mut self.state, State::Idle(Vec::new())) else {
            return Err("it sent a command within an object".into());
        };
        let Some(request) = Command::parse(&bytes) else {
            return Err("it sent a command that does not read".into());
        };
        match request.field() {
            Some(ECHO) if !request.has_data_set() => self.answer(context, &request, Status::Success, ""),
            Some(STORE) if request.has_data_set() => {
                let kept = self.begun(context, &request);
                self.state = State::Object { request, kept };
                Ok(())
            }
            Some(_) if !request.has_data_set() => {
                self.answer(context, &request, Status::Operation, "only C-ECHO and C-STORE are served")
            }
            Some(_) => {
                let refusal = (Status::Operation, "only C-ECHO and C-STORE are served".to_owned());
                self.state = State::Object { request, kept: Err(refusal) };
                Ok(())
            }
            None => Err("it sent a command that asks for nothing".into()),
        }
    }

    /// Begins the file of an object, or says why it is refused.
    fn begun(&self, context: u8, request: &Command) -> Result<Part<'a>, (Status, String)> {
        let no = |status, why: &str| Err((status, why.to_owned()));
        let Some(class) = request.class().filter(|c| c.starts_with(STORAGE)) else {
            return no(Status::Class, "the class is none of storage");
        };
        let Some(instance) = request.instance() else {
            return no(Status::Argument, "the SOP Instance UID is no UID");
        };
        if self.node.stop.is_draining() {
            return no(Status::Full, "the node is ending; send it again later");
        }
        let agreed = self.association.presentation_contexts().iter().find(|c| c.id == context);
        let accepted =
            |c: &&PresentationContextNegotiated| c.reason == PresentationContextResultReason::Acceptance;
        let Some(agreed) = agreed.filter(accepted).filter(|c| c.abstract_syntax == class) else {
            return no(Status::Mismatch, "the presentation context is of another class");
        };
        let meta = FileMetaTableBuilder::new()
            .media_storage_sop_class_uid(class)
            .media_storage_sop_instance_uid(instance)
            .transfer_syntax(agreed.transfer_syntax.as_str())
            .build();
        let meta = meta.map_err(|e| (Status::Failure, e.to_string()))?;
        let mut part = self.node.spool.part().map_err(|e| disk(&e))?;
        let mut head = vec![0; 128];
        head.extend(b"DICM");
        meta.write(&mut head).map_err(|e| (Status::Failure, e.to_string()))?;
        part.write_all(&head).map_err(|e| disk(&e))?;
        Ok(part)
    }

    /// All bytes of an object are there.
    fn stored(&mut self, context: u8) -> Result<(), Cut> {
        let State::Object { request, kept } = std::mem::replace(&mut self.state, State::Idle(Vec::new()))
        else {
            return Err("an object ended that had not begun".into());
        };
        match kept.and_then(|part| self.kept(&request, part)) {
            Ok(()) => {
                self.counts[0] += 1;
                self.answer(context, &request, Status::Success, "")
            }
            Err((status, why)) => {
                self.counts[1] += 1;
                if matches!(status, Status::Full | Status::Failure) && self.counts[1] == 1 {
                    (self.node.tell)(&Event::Trouble { reason: format!("an object was refused: {why}") });
                }
                self.answer(context, &request, status, &why)
            }
        }
    }

    /// Keeps an object that is what its request says.
    fn kept(&self, request: &Command, part: Part<'_>) -> Result<(), (Status, String)> {
        let is =
            identity(&Place::file(part.path()), HEADER).map_err(|e| (Status::Unreadable, e.to_string()))?;
        if Some(&is.class) != request.class().as_ref() || Some(&is.instance) != request.instance().as_ref() {
            return Err((Status::Mismatch, "the object is another one than its request says".into()));
        }
        self.node.spool.keep(self.number, &self.calling, part, &is).map_err(|e| match e {
            Unkept::Other => (Status::Duplicate, "another object of this UID is there".to_owned()),
            Unkept::Disk(e) => disk(&e),
        })
    }

    fn answer(&mut self, context: u8, request: &Command, status: Status, why: &str) -> Result<(), Cut> {
        let data = request.answer(status, why).bytes();
        let value = PDataValue {
            presentation_context_id: context,
            value_type: PDataValueType::Command,
            is_last: true,
            data,
        };
        self.deadline.renew(self.node.patience());
        self.association.send(&Pdu::PData { data: vec![value] }).map_err(|e| e.to_string())
    }
}

/// What a sender is told when the disk does not take its object.
fn disk(e: &io::Error) -> (Status, String) {
    (Status::Full, format!("it cannot be stored: {e}"))
}
