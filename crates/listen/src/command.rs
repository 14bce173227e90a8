//! Commands of messages (PS3.7, annex E): a flat list of elements of group 0, implicit VR, little-endian.

use ampoule_dicom::is_uid;
use std::collections::BTreeMap;

/// Most bytes of a command; real ones have a few hundred.
pub(crate) const LONGEST: usize = 1 << 14;

/// Elements of group 0.
mod element {
    pub const GROUP_LENGTH: u16 = 0x0000;
    pub const CLASS: u16 = 0x0002;
    pub const FIELD: u16 = 0x0100;
    pub const MESSAGE: u16 = 0x0110;
    pub const ANSWERED: u16 = 0x0120;
    pub const PRIORITY: u16 = 0x0700;
    pub const DATA_SET: u16 = 0x0800;
    pub const STATUS: u16 = 0x0900;
    pub const COMMENT: u16 = 0x0902;
    pub const INSTANCE: u16 = 0x1000;
}

pub(crate) const STORE: u16 = 0x0001;
pub(crate) const ECHO: u16 = 0x0030;
/// The bit that makes a request an answer.
const ANSWER: u16 = 0x8000;
/// The value of "Command Data Set Type" where no data set follows.
const NO_DATA_SET: u16 = 0x0101;

/// How an operation ended (PS3.4, B.2.3; PS3.7, annex C).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Status {
    Success,
    /// Out of resources.
    Full,
    /// The object does not belong to the class of its message.
    Mismatch,
    /// The object cannot be understood.
    Unreadable,
    /// There is another object of this name.
    Duplicate,
    /// The class is not stored here.
    Class,
    /// The name is no UID.
    Argument,
    /// There is no such operation here.
    Operation,
    /// Something is wrong on this side.
    Failure,
}

impl Status {
    pub fn code(self) -> u16 {
        match self {
            Status::Success => 0,
            Status::Full => 0xa700,
            Status::Mismatch => 0xa900,
            Status::Unreadable => 0xc000,
            Status::Duplicate => 0x0111,
            Status::Class => 0x0122,
            Status::Argument => 0x0115,
            Status::Operation => 0x0211,
            Status::Failure => 0x0110,
        }
    }
}

/// A command.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Command(BTreeMap<u16, Vec<u8>>);

impl Command {
    /// Reads one; `None` where lengths do not fit, or an element is of another group.
    pub fn parse(mut bytes: &[u8]) -> Option<Command> {
        let mut all = BTreeMap::new();
        while !bytes.is_empty() {
            let (head, rest) = bytes.split_first_chunk::<8>()?;
            let [g0, g1, e0, e1, length @ ..] = *head;
            let length = usize::try_from(u32::from_le_bytes(length)).ok()?;
            if [g0, g1] != [0, 0] || length > rest.len() {
                return None;
            }
            let (value, rest) = rest.split_at(length);
            all.insert(u16::from_le_bytes([e0, e1]), value.to_vec());
            bytes = rest;
        }
        Some(Command(all))
    }

    /// As it is sent, with its length in front.
    pub fn bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for (element, value) in self.0.iter().filter(|(e, _)| **e != element::GROUP_LENGTH) {
            put(&mut out, *element, value);
        }
        let mut all = Vec::new();
        put(&mut all, element::GROUP_LENGTH, &(out.len() as u32).to_le_bytes());
        all.extend(out);
        all
    }

    fn number(&self, element: u16) -> Option<u16> {
        Some(u16::from_le_bytes(self.0.get(&element)?.first_chunk::<2>().copied()?))
    }

    /// A text without what fills it up.
    fn text(&self, element: u16) -> Option<String> {
        let text = std::str::from_utf8(self.0.get(&element)?).ok()?;
        Some(text.trim_end_matches(['\0', ' ']).to_owned())
    }

    /// What is asked for.
    pub fn field(&self) -> Option<u16> {
        self.number(element::FIELD)
    }

    /// Whether a data set follows.
    pub fn has_data_set(&self) -> bool {
        self.number(element::DATA_SET).is_some_and(|v| v != NO_DATA_SET)
    }

    /// Class of the object.
    pub fn class(&self) -> Option<String> {
        self.text(element::CLASS).filter(|t| is_uid(t))
    }

    /// UID of the object.
    pub fn instance(&self) -> Option<String> {
        self.text(element::INSTANCE).filter(|t| is_uid(t))
    }

    /// The status of an answer to message `number`.
    pub fn status(&self, number: u16) -> Option<u16> {
        let own = self.number(element::ANSWERED) == Some(number);
        self.number(element::STATUS).filter(|_| own)
    }

    /// What the other side says about its status, as far as it can be shown.
    pub fn comment(&self) -> Option<String> {
        let text = self.text(element::COMMENT)?;
        let plain: String = text.chars().filter(|c| !c.is_control()).take(64).collect();
        (!plain.is_empty()).then_some(plain)
    }

    /// Asks for an object to be stored.
    pub fn store(number: u16, class: &str, instance: &str) -> Command {
        let mut c = Command::default();
        c.set(element::FIELD, STORE);
        c.set(element::MESSAGE, number);
        c.set(element::PRIORITY, 0);
        c.set(element::DATA_SET, 1);
        c.0.insert(element::CLASS, filled(class));
        c.0.insert(element::INSTANCE, filled(instance));
        c
    }

    /// The answer to this, with a few words where it failed.
    pub fn answer(&self, status: Status, comment: &str) -> Command {
        let mut c = Command::default();
        c.set(element::FIELD, self.field().unwrap_or(0) | ANSWER);
        c.set(element::ANSWERED, self.number(element::MESSAGE).unwrap_or(0));
        c.set(element::DATA_SET, NO_DATA_SET);
        c.set(element::STATUS, status.code());
        for same in [element::CLASS, element::INSTANCE] {
            if let Some(value) = self.0.get(&same) {
                c.0.insert(same, value.clone());
            }
        }
        if status != Status::Success && !comment.is_empty() {
            let text: String = comment.chars().filter(|c| c.is_ascii() && !c.is_control()).take(64).collect();
            c.0.insert(element::COMMENT, filled(&text));
        }
        c
    }

    fn set(&mut self, element: u16, value: u16) {
        self.0.insert(element, value.to_le_bytes().to_vec());
    }
}

/// Values have an even length.
fn filled(text: &str) -> Vec<u8> {
    let mut out = text.as_bytes().to_vec();
    out.resize(out.len().next_multiple_of(2), if text.contains(' ') { b' ' } else { 0 });
    out
}

fn put(out: &mut Vec<u8>, element: u16, value: &[u8]) {
    out.extend([0, 0]);
    out.extend(element.to_le_bytes());
    out.extend((value.len() as u32).to_le_bytes());
    out.extend(value);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_and_its_answer_come_back() {
        let request = Command::store(7, "1.2.840.10008.5.1.4.1.1.4", "2.25.1");
        let read = Command::parse(&request.bytes()).unwrap();
        assert_eq!((read.field(), read.has_data_set()), (Some(STORE), true));
        assert_eq!(read.class().as_deref(), Some("1.2.840.10008.5.1.4.1.1.4"));
        assert_eq!(read.instance().as_deref(), Some("2.25.1"));
        let answer = Command::parse(&read.answer(Status::Full, "the disk is full").bytes()).unwrap();
        assert_eq!((answer.status(7), answer.status(8)), (Some(0xa700), None));
        assert_eq!(answer.comment().as_deref(), Some("the disk is full"));
        assert!(!answer.has_data_set() && answer.field() == Some(STORE | ANSWER));
    }

    #[test]
    fn lengths_that_lie_and_names_that_are_no_uids_are_none() {
        let whole = Command::store(1, "1.2", "1.3").bytes();
        for cut in 1..whole.len() {
            // Cut between two elements it is a shorter command, and never a panic.
            let _ = Command::parse(&whole[..cut]);
        }
        let mut long = whole.clone();
        long[4..8].copy_from_slice(&u32::MAX.to_le_bytes());
        assert_eq!(Command::parse(&long), None);
        let mut other = whole.clone();
        other[0] = 8;
        assert_eq!(Command::parse(&other), None);
        for bad in ["../../etc/passwd", "1..2", "", "1.2/3"] {
            let read = Command::parse(&Command::store(1, "1.2", bad).bytes()).unwrap();
            assert_eq!(read.instance(), None, "{bad}");
        }
    }
}
