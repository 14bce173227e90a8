//! A node in this process, senders that can be as rude as needed, and an archive that results go to.

use ampoule_dicom::{Place, entries, read};
use ampoule_graph::build::Builder;
use ampoule_graph::op::{Unary, Window};
use ampoule_graph::{Dim, Tensor};
use ampoule_listen::{Config, Event, Given, Result, Setup, Stop, listen};
use dicom_object::{FileMetaTable, open_file};
use dicom_ul::association::client::ClientAssociation;
use dicom_ul::association::{ClientAssociationOptions, ServerAssociationOptions};
use dicom_ul::pdu::{PDataValue, PDataValueType, Pdu};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

const RECIPE: &str = r#"
version = 2
[model]
name = "tiny"
task = "segmentation"
[[input]]
name = "image"
[[preprocess]]
step = "resize"
size = [32, 32, 32]
method = "nearest-exact"
[[preprocess]]
step = "z-score"
[[network]]
outputs = ["probability"]
axes = "xyz"
[decide]
rule = "threshold"
[[label]]
name = "brain"
value = 1
channel = 0
"#;

/// A network that blurs and thresholds.
pub fn tiny() -> Given {
    let mut b = Builder::new("tiny");
    let dims = [1, 1, 32, 32, 32].map(Dim::Known);
    let x = b.input("image", &dims);
    let weights: Vec<f32> = (0..27).map(|i| 0.02 * i as f32).collect();
    let window = Window::of(&[3; 3]).pad(1);
    let y = b.conv(x, Tensor::f32(&[1, 1, 3, 3, 3], &weights), Some(Tensor::f32(&[1], &[0.0])), window);
    let y = b.unary(y, Unary::Sigmoid);
    b.output(y, "probability", &dims);
    Given { graph: b.finish(), recipe: Some(RECIPE.into()), sha256: "0".repeat(64) }
}

/// An object with what its request says of it.
pub struct Object {
    pub class: String,
    pub instance: String,
    pub syntax: String,
    pub data: Vec<u8>,
}

fn zip(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../dicom/tests/golden/{name}.zip"))
}

/// Which object of a series is the fourth slice.
pub fn fourth(name: &str) -> usize {
    read(&entries(&zip(name)).unwrap(), None, 1 << 30).unwrap().slices[3][0]
}

pub fn series(name: &str) -> Vec<Object> {
    let zip = zip(name);
    let mut archive = zip::ZipArchive::new(std::fs::File::open(&zip).unwrap()).unwrap();
    let one = |place: &Place| {
        let mut bytes = Vec::new();
        archive.by_index(place.entry.as_ref().unwrap().index).unwrap().read_to_end(&mut bytes).unwrap();
        object(&bytes)
    };
    entries(&zip).unwrap().iter().map(one).collect()
}

fn object(file: &[u8]) -> Object {
    let mut rest = &file[128..];
    let meta = FileMetaTable::from_reader(&mut rest).unwrap();
    Object {
        class: meta.media_storage_sop_class_uid().into(),
        instance: meta.media_storage_sop_instance_uid().into(),
        syntax: meta.transfer_syntax().into(),
        data: rest.to_vec(),
    }
}

/// A node; it ends with this.
pub struct Node {
    pub address: SocketAddr,
    pub root: PathBuf,
    stop: Stop,
    events: Arc<Mutex<Vec<Event>>>,
    thread: Option<JoinHandle<Result<()>>>,
}

impl Node {
    /// Starts one in `root` with more lines of configuration.
    pub fn start(root: &Path, more: &str) -> Node {
        let config = Node::config(root, more);
        let events = Arc::new(Mutex::new(Vec::new()));
        let (stop, told) = (Stop::default(), events.clone());
        let own = stop.clone();
        let thread = std::thread::spawn(move || {
            let options = ampoule_engine::Options { threads: 1, ..Default::default() };
            let setup = Setup { options, isa: "test".into(), ..Setup::default() };
            let tell = move |e: &Event| told.lock().unwrap().push(e.clone());
            listen(config, &setup, &mut |_| Ok(tiny()), &own, Box::new(tell))
        });
        let unknown: SocketAddr = ([127, 0, 0, 1], 0).into();
        let mut node = Node { address: unknown, root: root.into(), stop, events, thread: Some(thread) };
        node.address = node.wait(|e| match e {
            Event::Listening { address, .. } => Some(*address),
            _ => None,
        });
        node
    }

    fn config(root: &Path, more: &str) -> Config {
        let text = format!("port = 0\nspool = {:?}\n{more}", root.join("spool"));
        let path = root.join("listen.toml");
        std::fs::write(&path, text).unwrap();
        Config::read(&path).unwrap()
    }

    pub fn events(&self) -> Vec<Event> {
        self.events.lock().unwrap().clone()
    }

    /// The first event that is meant.
    pub fn wait<T>(&self, is: impl Fn(&Event) -> Option<T>) -> T {
        let begun = Instant::now();
        loop {
            if let Some(found) = self.events().iter().find_map(&is) {
                return found;
            }
            let ended = self.thread.as_ref().is_none_or(|t| t.is_finished());
            assert!(!ended && begun.elapsed() < Duration::from_secs(120), "{:?}", self.events());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// The first event whose sentence holds a text.
    pub fn told(&self, text: &str) -> String {
        self.wait(|e| Some(e.to_string()).filter(|t| t.contains(text)))
    }

    /// Names in a folder of the queue.
    pub fn names(&self, folder: &str) -> Vec<String> {
        let list = std::fs::read_dir(self.root.join("spool").join(folder)).unwrap();
        list.flatten().map(|e| e.file_name().to_string_lossy().into_owned()).collect()
    }

    /// Asks for the end and waits for it.
    pub fn end(&mut self) -> Result<()> {
        self.stop.drain();
        self.thread.take().map_or(Ok(()), |t| t.join().unwrap())
    }

    pub fn options<'a>(&self) -> ClientAssociationOptions<'a> {
        ClientAssociationOptions::new()
            .calling_ae_title("CT1")
            .called_ae_title("AMPOULE")
            .read_timeout(Duration::from_secs(60))
    }

    /// An association for objects.
    pub fn associate(&self, objects: &[Object]) -> Sender {
        let with = |o: ClientAssociationOptions<'static>, x: &Object| {
            o.with_presentation_context(x.class.clone(), vec![x.syntax.clone()])
        };
        let association = objects[..1].iter().fold(self.options(), with).establish(self.address).unwrap();
        Sender { association }
    }

    /// Sends objects as it should be done.
    pub fn send(&self, objects: &[Object]) {
        let mut sender = self.associate(objects);
        for o in objects {
            assert_eq!(sender.store(o), 0);
        }
        sender.association.release().unwrap();
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.end();
    }
}

pub struct Sender {
    pub association: ClientAssociation<TcpStream>,
}

/// A command of elements of group 0.
pub fn command(elements: &[(u16, &[u8])]) -> Vec<u8> {
    let mut out = Vec::new();
    for (element, value) in elements {
        out.extend([0, 0]);
        out.extend(element.to_le_bytes());
        let length = value.len().next_multiple_of(2);
        out.extend((length as u32).to_le_bytes());
        out.extend(*value);
        out.resize(out.len() + length - value.len(), 0);
    }
    out
}

pub fn store(class: &str, instance: &str) -> Vec<u8> {
    command(&[
        (0x0002, class.as_bytes()),
        (0x0100, &[1, 0]),
        (0x0110, &[7, 0]),
        (0x0700, &[0, 0]),
        (0x0800, &[1, 0]),
        (0x1000, instance.as_bytes()),
    ])
}

impl Sender {
    pub fn context(&self) -> u8 {
        self.association.presentation_contexts()[0].id
    }

    /// Sends a part of a message.
    pub fn part(&mut self, value_type: PDataValueType, data: &[u8], is_last: bool) {
        let presentation_context_id = self.context();
        let value = PDataValue { presentation_context_id, value_type, is_last, data: data.to_vec() };
        self.association.send(&Pdu::PData { data: vec![value] }).unwrap();
    }

    /// The status of the answer; `None` where the association ended instead.
    pub fn status(&mut self) -> Option<u16> {
        let Ok(Pdu::PData { data }) = self.association.receive() else { return None };
        let at = data[0].data.windows(4).position(|w| w == [0, 0, 0, 9]).unwrap();
        Some(u16::from_le_bytes([data[0].data[at + 8], data[0].data[at + 9]]))
    }

    pub fn store(&mut self, o: &Object) -> u16 {
        self.part(PDataValueType::Command, &store(&o.class, &o.instance), true);
        let context = self.context();
        let mut out = self.association.send_pdata(context);
        out.write_all(&o.data).unwrap();
        out.finish().unwrap();
        self.status().unwrap()
    }
}

/// An archive that keeps what it gets.
pub struct Archive {
    pub address: SocketAddr,
    pub objects: Arc<Mutex<Vec<dicom_object::InMemDicomObject>>>,
}

impl Archive {
    /// At a port, or a free one, taking only implicit VR where `implicit` is set.
    pub fn start(port: u16, implicit: bool) -> Archive {
        let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
        let address = listener.local_addr().unwrap();
        let objects = Arc::new(Mutex::new(Vec::new()));
        let kept = objects.clone();
        std::thread::spawn(move || {
            for socket in listener.incoming() {
                let options = ServerAssociationOptions::new().promiscuous(true);
                let options = match implicit {
                    true => options.with_transfer_syntax("1.2.840.10008.1.2"),
                    false => options,
                };
                let Ok(mut association) = options.establish(socket.unwrap()) else { continue };
                let (mut data, mut syntax) = (Vec::new(), String::new());
                while let Ok(pdu) = association.receive() {
                    match pdu {
                        Pdu::PData { data: values } => {
                            for v in values.into_iter().filter(|v| v.value_type == PDataValueType::Data) {
                                let id = v.presentation_context_id;
                                let context = association.presentation_contexts().iter().find(|c| c.id == id);
                                syntax = context.unwrap().transfer_syntax.clone();
                                data.extend(v.data);
                                if v.is_last {
                                    kept.lock().unwrap().push(parsed(&syntax, &data));
                                    data.clear();
                                    let answer = command(&[
                                        (0x0100, &[1, 0x80]),
                                        (0x0120, &[1, 0]),
                                        (0x0800, &[1, 1]),
                                        (0x0900, &[0, 0]),
                                    ]);
                                    let value = PDataValue {
                                        presentation_context_id: id,
                                        value_type: PDataValueType::Command,
                                        is_last: true,
                                        data: answer,
                                    };
                                    association.send(&Pdu::PData { data: vec![value] }).unwrap();
                                }
                            }
                        }
                        Pdu::ReleaseRQ => _ = association.send(&Pdu::ReleaseRP),
                        _ => break,
                    }
                }
                assert!(data.is_empty() && !syntax.is_empty());
            }
        });
        Archive { address, objects }
    }

    /// Waits for so many objects.
    pub fn wait(&self, count: usize) -> Vec<dicom_object::InMemDicomObject> {
        let begun = Instant::now();
        while self.objects.lock().unwrap().len() < count {
            assert!(begun.elapsed() < Duration::from_secs(120), "nothing arrives");
            std::thread::sleep(Duration::from_millis(20));
        }
        self.objects.lock().unwrap().clone()
    }
}

fn parsed(syntax: &str, data: &[u8]) -> dicom_object::InMemDicomObject {
    use dicom_transfer_syntax_registry::{TransferSyntaxIndex, TransferSyntaxRegistry};
    let syntax = TransferSyntaxRegistry.get(syntax).unwrap();
    dicom_object::InMemDicomObject::read_dataset_with_ts(data, syntax).unwrap()
}

/// Reads a file that was written into a folder.
pub fn written(path: &Path) -> dicom_object::InMemDicomObject {
    open_file(path).unwrap().into_inner()
}
