"""Starts `ampoule listen` and sends it studies with pynetdicom, dcmtk and Orthanc; reads what comes back with highdicom.

    python3 scripts/verify_listen.py AMPOULE [STUDIES [PART...]]      # makes .venv-listen with what it needs

One study there and back; so many studies (200) of four senders at once; a connection that is cut; a disk that is full (a
small tmpfs, needs root); kill -9 at random moments; dcmtk and Orthanc where they are installed (`apt-get install dcmtk
orthanc`). Prints figures. Ends with 1 when something is off. PART names functions below, such as `crowd`.
"""
import atexit
import collections
import json
import os
import pathlib
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
import venv
import zipfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
NEEDS = ["pynetdicom==3.0.4", "pydicom==3.0.2", "highdicom==0.28.2", "numpy==2.4.6", "onnx==1.20.0"]


def own_environment():
    """Starts this script again in an environment that has what it needs."""
    folder = ROOT / ".venv-listen"
    python = folder / "bin/python"
    if pathlib.Path(sys.prefix) == folder.resolve():
        return
    if not python.exists():
        venv.create(folder, with_pip=True)
        subprocess.run([python, "-m", "pip", "install", "-q", *NEEDS], check=True)
    sys.exit(subprocess.run([python, __file__, *sys.argv[1:]]).returncode)


own_environment()

import highdicom as hd  # noqa: E402
import numpy as np  # noqa: E402
import onnx  # noqa: E402
import pydicom  # noqa: E402
from onnx import TensorProto, helper, numpy_helper  # noqa: E402
from pydicom.uid import generate_uid  # noqa: E402
from pynetdicom import AE, evt  # noqa: E402
from pynetdicom.sop_class import MRImageStorage, SegmentationStorage, Verification  # noqa: E402

ampoule = pathlib.Path(sys.argv[1]).resolve()
studies = int(sys.argv[2]) if len(sys.argv) > 2 else 200
work = pathlib.Path(tempfile.mkdtemp(prefix="verify-listen-"))
atexit.register(shutil.rmtree, work, True)
failed = False

RECIPE = """
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
"""


def say(ok, text):
    global failed
    failed |= not ok
    print(("ok   " if ok else "FAIL ") + text, flush=True)


def model():
    """A network that blurs and thresholds, with its recipe."""
    weights = numpy_helper.from_array(np.arange(27, dtype=np.float32).reshape(1, 1, 3, 3, 3) * 0.02, "w")
    dims = [1, 1, 32, 32, 32]
    nodes = [
        helper.make_node("Conv", ["image", "w"], ["y"], pads=[1] * 6),
        helper.make_node("Sigmoid", ["y"], ["probability"]),
    ]
    info = lambda name: helper.make_tensor_value_info(name, TensorProto.FLOAT, dims)  # noqa: E731
    graph = helper.make_graph(nodes, "tiny", [info("image")], [info("probability")], [weights])
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    made.metadata_props.add(key="ampoule.recipe", value=RECIPE)
    onnx.save(made, work / "tiny.onnx")


def template():
    with zipfile.ZipFile(ROOT / "crates/dicom/tests/golden/axial.zip") as z:
        return [pydicom.dcmread(z.open(name)) for name in sorted(z.namelist()) if not name.endswith("/")]


def study(i):
    """A study of its own: new UIDs, other voxels."""
    uids = {k: generate_uid() for k in ("study", "series", "frame")}
    out = []
    for d in template():
        d.StudyInstanceUID, d.SeriesInstanceUID, d.FrameOfReferenceUID = uids["study"], uids["series"], uids["frame"]
        d.SOPInstanceUID = d.file_meta.MediaStorageSOPInstanceUID = generate_uid()
        pixels = d.pixel_array.copy()
        pixels[:, i % pixels.shape[1]] += 1 + i % 50
        d.PixelData = pixels.tobytes()
        out.append(d)
    return out


class Archive:
    """A storage node that keeps what it gets."""

    def __init__(self, port=0):
        self.got, self.lock = [], threading.Lock()
        ae = AE("ARCHIVE")
        ae.add_supported_context(SegmentationStorage)
        ae.add_supported_context(Verification)
        ae.maximum_associations = 20
        self.server = ae.start_server(("127.0.0.1", port), block=False, evt_handlers=[(evt.EVT_C_STORE, self.store)])
        self.port = self.server.socket.getsockname()[1]

    def store(self, event):
        d = event.dataset
        d.file_meta = event.file_meta
        with self.lock:
            self.got.append(d)
        return 0

    def by_study(self):
        with self.lock:
            return collections.Counter(str(d.StudyInstanceUID) for d in self.got)

    def wait(self, wanted, seconds=300):
        """Waits until every study of `wanted` has its result."""
        until = time.time() + seconds
        while time.time() < until:
            if wanted <= set(self.by_study()):
                return True
            time.sleep(0.05)
        return False


class Node:
    """The program, with a configuration of its own."""

    def __init__(self, archive_port, spool, limits="quiet = 1\npatience = 10", more=""):
        self.config = work / f"listen{random.random()}.toml"
        self.config.write_text(f"""
port = 0
spool = "{spool}"
[limits]
{limits}
[[rule]]
name = "tiny"
model = "{work / 'tiny.onnx'}"
modality = "MR"
send = ["archive"]
[[destination]]
name = "archive"
ae = "ARCHIVE"
host = "127.0.0.1"
port = {archive_port}
{more}""")
        self.spool, self.events = pathlib.Path(spool), []
        self.start()

    def start(self, port=None):
        if port:
            self.config.write_text(self.config.read_text().replace("port = 0\n", f"port = {port}\n", 1))
        command = [ampoule, "listen", self.config, "--json", "--threads", "1"]
        self.process = subprocess.Popen([str(c) for c in command], stdout=subprocess.PIPE, text=True)
        atexit.register(self.process.kill)
        first = json.loads(self.process.stdout.readline())
        self.port = int(first["address"].rsplit(":", 1)[1])
        threading.Thread(target=self.read, args=(self.process,), daemon=True).start()
        return first

    def read(self, process):
        for line in process.stdout:
            self.events.append(json.loads(line))

    def count(self, kind):
        return sum(e["event"] == kind for e in list(self.events))

    def wait(self, kind, count, seconds=120):
        until = time.time() + seconds
        while time.time() < until and self.count(kind) < count:
            time.sleep(0.05)
        return self.count(kind) >= count

    def end(self):
        begun = time.time()
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(120), time.time() - begun

    def left(self):
        return {f: len(os.listdir(self.spool / f)) for f in ("receiving", "open", "jobs", "failed", "done")}

    def rss(self):
        text = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        row = {line.split(":")[0]: line.split()[1] for line in text.splitlines() if line.startswith("Vm")}
        return int(row["VmRSS"]) / 1024, int(row["VmHWM"]) / 1024


def associate(port, title="SENDER"):
    ae = AE(title)
    ae.add_requested_context(MRImageStorage)
    ae.add_requested_context(Verification)
    ae.acse_timeout = ae.dimse_timeout = ae.network_timeout = 20
    return ae.associate("127.0.0.1", port, ae_title="AMPOULE")


def send(port, objects):
    """Sends a study; the statuses, or nothing where there was no association or it broke."""
    a = associate(port)
    if not a.is_established:
        return []
    statuses = []
    for d in objects:
        try:
            answer = a.send_c_store(d)
        except Exception:  # noqa: BLE001
            break
        if "Status" not in answer:
            break
        statuses.append(answer.Status)
    if a.is_established:
        a.release()
    # Without an answer to the release the study is not known to be complete.
    return statuses if a.is_released and len(statuses) == len(objects) else []


def uid(objects):
    return str(objects[0].StudyInstanceUID)


def there_and_back(archive):
    node = Node(archive.port, work / "one")
    echo = associate(node.port)
    say(echo.send_c_echo().Status == 0, "C-ECHO is answered")
    echo.release()
    objects = study(0)
    begun = time.time()
    statuses = send(node.port, objects)
    say(statuses == [0] * len(objects), f"{len(objects)} objects are stored")
    say(archive.wait({uid(objects)}), f"the result is there after {time.time() - begun:.2f} s (1 s of them quiet)")
    path = work / "seg.dcm"
    got = archive.got[-1]
    got.save_as(path, enforce_file_format=True)
    seg = hd.seg.segread(path)
    labels = [seg.get_segment_description(n).segment_label for n in seg.segment_numbers]
    pixels = seg.get_pixels_by_source_instance([d.SOPInstanceUID for d in objects], combine_segments=True, ignore_spatial_locations=True)
    say(labels == ["brain"] and str(seg.StudyInstanceUID) == uid(objects), f"highdicom reads it: segments {labels}, {int(pixels.sum())} voxels")
    say({str(u[2]) for u in seg.get_source_image_uids()} == {str(d.SOPInstanceUID) for d in objects}, "it refers to all source images")
    node.wait("done", 1)
    say(node.left() == {"receiving": 0, "open": 0, "jobs": 0, "failed": 0, "done": 1}, f"nothing is left of it: {node.left()}")
    code, took = node.end()
    say(code == 0, f"SIGTERM ends it with {code} after {took:.2f} s")


def crowd(archive):
    node = Node(archive.port, work / "crowd", limits="quiet = 1\npatience = 60")
    all_studies = [study(i) for i in range(studies)]
    objects = sum(map(len, all_studies))
    before = node.rss()[0]
    again, lock, begun = [], threading.Lock(), time.time()

    def sender(k):
        for s in all_studies[k::4]:
            # A sender that was cut off sends its study again.
            while send(node.port, s) != [0] * len(s):
                with lock:
                    again.append(uid(s))

    threads = [threading.Thread(target=sender, args=(k,)) for k in range(4)]
    [t.start() for t in threads]
    [t.join() for t in threads]
    sent = time.time() - begun
    # pynetdicom aborts by itself where its own thread takes an answer first ("Received unexpected C-STORE service message").
    own = sum(e.get("cut") == "it was aborted" for e in node.events)
    wrong = [e for e in node.events if e["event"] in ("refused", "trouble") or e.get("cut", None) not in (None, "it was aborted")]
    say(not wrong, f"{studies} studies, {objects} objects by four senders in {sent:.1f} s: {objects / sent:.0f} objects/s{wrong or ''}")
    say(len(again) == own, f"{len(again)} studies were sent again, whose sender had aborted")
    wanted = {uid(s) for s in all_studies}
    whole = archive.wait(wanted, 1200)
    took = time.time() - begun
    counts = archive.by_study()
    say(whole and all(counts[u] == 1 for u in wanted), f"each has one result after {took:.1f} s: {studies / took:.1f} studies/s")
    node.wait("done", studies)
    after, peak = node.rss()
    say(after < before + 64, f"memory: {before:.0f} MiB before, {after:.0f} MiB after, {peak:.0f} MiB at the peak")
    say(node.left() == {"receiving": 0, "open": 0, "jobs": 0, "failed": 0, "done": studies}, f"the queue: {node.left()}")
    code, took = node.end()
    say(code == 0, f"SIGTERM ends it with {code} after {took:.2f} s")


def cut(archive):
    node = Node(archive.port, work / "cut")
    objects = study(1)
    a = associate(node.port)
    for d in objects[:4]:
        a.send_c_store(d)
    a.dul.socket.close()
    time.sleep(3)
    left = node.left()
    say(left["open"] == 1 and left["jobs"] == 0 and left["receiving"] == 0, f"a study that was cut off waits: {left}")
    # Half an object, and then nothing.
    s = socket.create_connection(("127.0.0.1", node.port))
    s.sendall(b"\x01\x00\x00\x00\x01\x00half a request")
    begun = time.time()
    s.settimeout(60)
    ended = s.recv(1)
    say(ended == b"" and time.time() - begun < 20, f"a client that sends half and waits is let go after {time.time() - begun:.1f} s (patience 10)")
    say(send(node.port, objects) == [0] * len(objects), "it is sent again")
    say(archive.wait({uid(objects)}), "and has its result")
    say(archive.by_study()[uid(objects)] == 1, "once")
    node.end()


def full(archive):
    disk = work / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs", disk]).returncode:
        return print("skip a full disk: tmpfs cannot be mounted")
    try:
        node = Node(archive.port, disk / "spool", limits="quiet = 600\npatience = 10\ncut_minutes = 0")
        codes, kept = collections.Counter(), []
        for i in range(100):
            statuses = send(node.port, study(i))
            codes.update(statuses)
            kept.append(statuses)
            if statuses and 0xA700 in statuses:
                break
        say(codes[0xA700] > 0 and set(codes) == {0, 0xA700}, f"a full disk is told: {dict((hex(k), v) for k, v in codes.items())}")
        say(node.left()["receiving"] == 0, f"nothing partial is kept: {node.left()}")
        alive = associate(node.port)
        say(alive.send_c_echo().Status == 0, "it goes on")
        alive.release()
        files = [p for p in (disk / "spool").rglob("*.dcm")]
        whole = [pydicom.dcmread(p) for p in files]
        say(all(len(d.PixelData) == d.Rows * d.Columns * 2 for d in whole), f"all {len(whole)} objects that it said it stored are whole")
        say(len(whole) == codes[0], f"{codes[0]} were said to be stored")
        node.end()
    finally:
        subprocess.run(["umount", "-l", disk])


def killed(archive):
    """Killed again and again while studies arrive, run and go out: every study has its result, and runs once."""
    node = Node(archive.port, work / "killed")
    port, count, kills = node.port, 24, 6
    all_studies = [study(i) for i in range(count)]
    stop = threading.Event()

    def sender(k):
        for s in all_studies[k::2]:
            while not stop.is_set() and send(port, s) != [0] * len(s):
                time.sleep(0.2)

    threads = [threading.Thread(target=sender, args=(k,)) for k in range(2)]
    [t.start() for t in threads]
    resumed = []
    for _ in range(kills):
        time.sleep(random.uniform(0.5, 2.5))
        node.process.kill()
        node.process.wait()
        resumed.append(node.start(port)["resumed"])
    [t.join(120) for t in threads]
    wanted = {uid(s) for s in all_studies}
    whole = archive.wait(wanted, 120)
    stop.set()
    time.sleep(2)
    with archive.lock:
        results = collections.defaultdict(set)
        for d in archive.got:
            results[str(d.StudyInstanceUID)].add(str(d.SOPInstanceUID))
    counts = archive.by_study()
    again = sum(counts[u] - 1 for u in wanted)
    say(whole, f"{count} studies outlast {kills} kills (going on with {resumed} studies)")
    say(all(len(results[u]) == 1 for u in wanted), f"each has one result; {again} were delivered twice, under the same UID")
    references = {str(d.StudyInstanceUID): len(d.ReferencedSeriesSequence[0].ReferencedInstanceSequence) for d in archive.got}
    say(all(references[u] == len(all_studies[0]) for u in wanted), "each of all objects of its study")
    left = node.left()
    say(left["jobs"] == left["failed"] == left["receiving"] == 0, f"the queue: {left}")
    node.end()


def with_dcmtk(archive):
    if not shutil.which("storescu"):
        return print("skip dcmtk: it is not installed")
    folder = work / "dcmtk"
    (folder / "in").mkdir(parents=True)
    (folder / "out").mkdir()
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        free = s.getsockname()[1]
    scp = subprocess.Popen(["storescp", "-od", folder / "out", "-aet", "ARCHIVE", "+xa", str(free)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    atexit.register(scp.kill)
    node = Node(free, work / "dcmtkspool")
    say(subprocess.run(["echoscu", "-aec", "AMPOULE", "127.0.0.1", str(node.port)]).returncode == 0, "echoscu of dcmtk")
    say(subprocess.run(["echoscu", "-aec", "OTHER", "127.0.0.1", str(node.port)], capture_output=True).returncode != 0, "echoscu with another title is refused")
    for i, d in enumerate(study(2)):
        d.save_as(folder / f"in/{i}.dcm", enforce_file_format=True)
    begun = time.time()
    sent = subprocess.run(["storescu", "-aec", "AMPOULE", "+sd", "127.0.0.1", str(node.port), folder / "in"])
    node.wait("done", 1)
    got = list((folder / "out").iterdir())
    say(sent.returncode == 0 and len(got) == 1, f"storescu -> rule -> storescp: {len(got)} object after {time.time() - begun:.1f} s")
    for f in got:
        say(hd.seg.segread(f).number_of_segments == 1, "highdicom reads what storescp wrote")
    scp.terminate()
    node.end()


def with_orthanc(_):
    orthanc = shutil.which("Orthanc") or "/usr/sbin/Orthanc"
    if not os.path.exists(orthanc):
        return print("skip Orthanc: it is not installed")
    ports = []
    for _ in range(2):
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            ports.append(s.getsockname()[1])
    dicom, http = ports
    node = Node(dicom, work / "orthancspool")
    folder = work / "orthanc"
    folder.mkdir()
    config = {
        "Name": "verify", "StorageDirectory": str(folder / "db"), "IndexDirectory": str(folder / "db"), "DicomAet": "ARCHIVE",
        "DicomPort": dicom, "HttpPort": http, "RemoteAccessAllowed": False, "AuthenticationEnabled": False, "Plugins": [],
        "DicomModalities": {"ampoule": ["AMPOULE", "127.0.0.1", node.port]}, "DicomAlwaysAllowStore": True,
    }
    (folder / "orthanc.json").write_text(json.dumps(config))
    server = subprocess.Popen([orthanc, folder / "orthanc.json"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    atexit.register(server.kill)

    def ask(path, data=None):
        request = urllib.request.Request(f"http://127.0.0.1:{http}{path}", data=data)
        return json.loads(urllib.request.urlopen(request, timeout=60).read())

    for _ in range(100):
        try:
            version = ask("/system")["Version"]
            break
        except OSError:
            time.sleep(0.2)
    objects = study(3)
    for i, d in enumerate(objects):
        d.save_as(folder / f"{i}.dcm", enforce_file_format=True)
        parent = ask("/instances", (folder / f"{i}.dcm").read_bytes())["ParentStudy"]
    say(ask("/modalities/ampoule/echo", b"{}") == {}, f"Orthanc {version}: C-ECHO")
    begun = time.time()
    ask("/modalities/ampoule/store", json.dumps(parent).encode())
    modalities = []
    while time.time() < begun + 60 and "SEG" not in modalities:
        time.sleep(0.2)
        modalities = sorted(s["MainDicomTags"]["Modality"] for s in ask(f"/studies/{parent}/series"))
    say(modalities == ["MR", "SEG"], f"Orthanc round trip: its study has the series {modalities} after {time.time() - begun:.1f} s")
    server.terminate()
    server.wait(30)
    node.end()


model()
archive = Archive()
for part in (there_and_back, crowd, cut, full, killed, with_dcmtk, with_orthanc):
    if not sys.argv[3:] or part.__name__ in sys.argv[3:]:
        part(archive)
print("FAILED" if failed else "all as it should be")
sys.stdout.flush()
os._exit(int(failed))
