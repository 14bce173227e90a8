//! Results on their way: C-STORE to a node, or files in a folder.

use crate::command::{Command, LONGEST};
use ampoule_files::Pending;
use dicom_dictionary_std::uids;
use dicom_object::{FileMetaTable, open_file};
use dicom_transfer_syntax_registry::{TransferSyntaxIndex, TransferSyntaxRegistry};
use dicom_ul::association::ClientAssociationOptions;
use dicom_ul::association::client::ClientAssociation;
use dicom_ul::pdu::{PDataValue, PDataValueType, Pdu, PresentationContextResultReason};
use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Bytes before the mark of a DICOM file.
const PREAMBLE: u64 = 128;
/// Answers of this kind say that an object was stored, with a remark.
const WARNINGS: std::ops::RangeInclusive<u16> = 0xb000..=0xbfff;

/// Why results did not arrive.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Fault {
    #[error("{}: {source}", path.display())]
    File { path: PathBuf, source: io::Error },
    #[error("{}: {reason}", path.display())]
    Object { path: PathBuf, reason: String },
    #[error("no association: {0}")]
    Association(String),
    #[error("it takes no objects of the class {class}")]
    Class { class: String },
    #[error("it answered {status:#06x}{}", comment.as_ref().map(|c| format!(" ({c})")).unwrap_or_default())]
    Refused { status: u16, comment: Option<String> },
    #[error("the connection broke: {0}")]
    Broken(String),
}

fn broken(e: impl std::fmt::Display) -> Fault {
    Fault::Broken(e.to_string())
}

/// An object to send.
struct Object {
    path: PathBuf,
    class: String,
    instance: String,
}

impl Object {
    fn read(path: &Path) -> Result<Object, Fault> {
        let (meta, _) = opened(path)?;
        let class = meta.media_storage_sop_class_uid().to_owned();
        Ok(Object { path: path.into(), class, instance: meta.media_storage_sop_instance_uid().to_owned() })
    }
}

/// A file's own description, and its data set behind it.
fn opened(path: &Path) -> Result<(FileMetaTable, BufReader<File>), Fault> {
    let file = |source| Fault::File { path: path.into(), source };
    let mut content = BufReader::new(File::open(path).map_err(file)?);
    io::copy(&mut content.by_ref().take(PREAMBLE), &mut io::sink()).map_err(file)?;
    let meta = FileMetaTable::from_reader(&mut content);
    let meta = meta.map_err(|e| Fault::Object { path: path.into(), reason: e.to_string() })?;
    Ok((meta, content))
}

/// Sends DICOM files to a node, in one association. Its classes are offered in both plain transfer syntaxes.
pub(crate) fn to_node(
    own: &str,
    ae: &str,
    address: &str,
    files: &[PathBuf],
    patience: Duration,
) -> Result<(), Fault> {
    let objects: Vec<Object> = files.iter().map(|f| Object::read(f)).collect::<Result<_, _>>()?;
    let classes: BTreeSet<&str> = objects.iter().map(|o| o.class.as_str()).collect();
    let options = ClientAssociationOptions::new()
        .calling_ae_title(own)
        .called_ae_title(ae)
        .connection_timeout(patience)
        .read_timeout(patience)
        .write_timeout(patience);
    let options = classes.into_iter().fold(options, |options, class| {
        [uids::EXPLICIT_VR_LITTLE_ENDIAN, uids::IMPLICIT_VR_LITTLE_ENDIAN]
            .into_iter()
            .fold(options, |o, syntax| o.with_presentation_context(class.to_owned(), vec![syntax.to_owned()]))
    });
    let mut association = options.establish(address).map_err(|e| Fault::Association(e.to_string()))?;
    for (i, object) in objects.iter().enumerate() {
        // Numbers of messages go around.
        if let Err(e) = store(&mut association, object, (i % 0xfff0) as u16 + 1) {
            let _ = association.abort();
            return Err(e);
        }
    }
    association.release().map_err(broken)
}

fn store(association: &mut ClientAssociation<TcpStream>, object: &Object, number: u16) -> Result<(), Fault> {
    let mut agreed = association.presentation_contexts().iter().filter(|c| {
        c.reason == PresentationContextResultReason::Acceptance && c.abstract_syntax == object.class
    });
    let Some(context) = agreed.next() else {
        return Err(Fault::Class { class: object.class.clone() });
    };
    let (id, syntax) = (context.id, context.transfer_syntax.clone());
    let command = Command::store(number, &object.class, &object.instance).bytes();
    let value = PDataValue {
        presentation_context_id: id,
        value_type: PDataValueType::Command,
        is_last: true,
        data: command,
    };
    association.send(&Pdu::PData { data: vec![value] }).map_err(broken)?;
    data_set(association, object, id, &syntax)?;
    let answer = answer(association)?;
    match answer.status(number) {
        Some(0) => Ok(()),
        Some(status) if WARNINGS.contains(&status) => Ok(()),
        Some(status) => Err(Fault::Refused { status, comment: answer.comment() }),
        None => Err(broken("it answered something else")),
    }
}

/// Sends the data set of an object: as it is, or written anew where the other side takes implicit VR only.
fn data_set(
    association: &mut ClientAssociation<TcpStream>,
    object: &Object,
    id: u8,
    syntax: &str,
) -> Result<(), Fault> {
    let (meta, mut content) = opened(&object.path)?;
    let mut out = association.send_pdata(id);
    let written = match meta.transfer_syntax() == syntax {
        true => io::copy(&mut content, &mut out).map(drop).map_err(broken),
        false => anew(object, syntax, &mut out),
    };
    match written {
        Ok(()) => out.finish().map_err(broken),
        Err(e) => {
            // Half an object must not end as a whole one.
            out.abandon();
            Err(e)
        }
    }
}

/// Writes the data set of an object in another transfer syntax.
fn anew(object: &Object, syntax: &str, out: &mut dyn Write) -> Result<(), Fault> {
    let fault = |reason: String| Fault::Object { path: object.path.clone(), reason };
    let whole = open_file(&object.path).map_err(|e| fault(e.to_string()))?;
    let Some(syntax) = TransferSyntaxRegistry.get(syntax) else {
        return Err(fault(format!("the transfer syntax {syntax} is unknown")));
    };
    whole.write_dataset_with_ts(out, syntax).map_err(|e| fault(e.to_string()))
}

fn answer(association: &mut ClientAssociation<TcpStream>) -> Result<Command, Fault> {
    let mut bytes = Vec::new();
    loop {
        let Pdu::PData { data } = association.receive().map_err(broken)? else {
            return Err(broken("it ended the association"));
        };
        for value in data {
            if value.value_type != PDataValueType::Command || bytes.len() + value.data.len() > LONGEST {
                return Err(broken("it answered what is no answer"));
            }
            bytes.extend(value.data);
            if value.is_last {
                return Command::parse(&bytes).ok_or_else(|| broken("its answer does not read"));
            }
        }
    }
}

/// Copies results into a folder, each whole under its name.
pub(crate) fn to_folder(folder: &Path, from: &Path, files: &[String]) -> Result<(), Fault> {
    for name in files {
        let to = folder.join(name);
        let fault = |source| Fault::File { path: to.clone(), source };
        if let Some(parent) = to.parent() {
            std::fs::create_dir_all(parent).map_err(fault)?;
        }
        let mut source = File::open(from.join(name)).map_err(fault)?;
        let (pending, mut file) = Pending::create(&to).map_err(fault)?;
        io::copy(&mut source, &mut file).and_then(|_| file.flush()).map_err(fault)?;
        pending.commit(&file).map_err(fault)?;
    }
    Ok(())
}
