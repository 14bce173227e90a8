"""Looks at results of real files in headless Chromium, wide and 400 pixels narrow, and drops files on `serve`'s page.

    python -m venv .venv-view && .venv-view/bin/pip install playwright
    .venv-view/bin/python scripts/verify_view.py AMPOULE SHOTS [SLIDE MODEL RECIPE]

Needs Debian's `chromium`; no browser is downloaded. SHOTS gets a picture of each step, to be looked at. Ends with 1 when
something is off.
"""
import csv
import json
import pathlib
import signal
import subprocess
import sys

from playwright.sync_api import sync_playwright

ampoule, shots = sys.argv[1], pathlib.Path(sys.argv[2])
slide = sys.argv[3:6]
root = pathlib.Path(__file__).resolve().parent.parent
quick = root / "assets/quick"
shots.mkdir(parents=True, exist_ok=True)
failed = False


def say(ok, text):
    global failed
    failed |= not ok
    print(("ok   " if ok else "FAIL ") + text, flush=True)


def run(*arguments):
    done = subprocess.run([ampoule, "run", *map(str, arguments), "--overwrite", "--quiet"])
    assert done.returncode in (0, 1), done


class Served:
    """A command with a page."""

    def __init__(self, *arguments):
        command = [ampoule, *map(str, arguments), "--json"]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE)
        self.page = json.loads(self.process.stdout.readline())["page"]

    def __enter__(self):
        return self.page

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGTERM)
        say(self.process.wait(30) == 0, "the service ends")


class Looked:
    """A page in a browser; what it complains of is a failure."""

    def __init__(self, browser, size, touch=False):
        self.context = browser.new_context(viewport=dict(zip(("width", "height"), size)), has_touch=touch)
        self.page = self.context.new_page()
        self.wrong = []
        self.page.on("console", lambda m: self.wrong.append(m.text) if m.type == "error" else None)
        self.page.on("pageerror", lambda e: self.wrong.append(str(e)))
        self.page.on("request", self.asked)

    def asked(self, request):
        if not request.url.startswith(("http://127.0.0.1:", "data:", "blob:")):
            self.wrong.append(f"it asks {request.url}")

    def ready(self, looks):
        """Waits until as many cases were drawn."""
        self.until(f"Number(document.getElementById('panes').dataset.ready ?? 0) >= {looks}")
        self.page.wait_for_timeout(1200)

    def until(self, holds):
        """Waits for a script to say true. Playwright's own waiting uses `eval`, which the page forbids."""
        for _ in range(1800):
            if self.page.evaluate(holds):
                return
            self.page.wait_for_timeout(100)
        raise AssertionError(f"in vain: {holds}")

    def shot(self, name):
        self.page.screenshot(path=shots / f"{name}.png")
        wide = self.page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth")
        say(not wide, f"{name}: nothing is wider than the page")

    def close(self, what):
        say(not self.wrong, f"{what}: the browser complains of nothing {self.wrong[:3]}")
        self.context.close()


def turns(page):
    return page.evaluate("Number(document.getElementById('panes').dataset.ready ?? 0)")


def next_case(look, key="j"):
    before = turns(look.page)
    look.page.keyboard.press(key)
    look.ready(before + 1)


def volumes(browser, work):
    """Two variants of a head, looked at side by side, and reviewed by keys."""
    head = work / "heads"
    head.mkdir(exist_ok=True)
    (head / "colin27.nii.gz").write_bytes((root / "assets/colin27.nii.gz").read_bytes())
    (head / "not a head.nii.gz").write_bytes(b"nothing")
    run("deepbet", head, "-o", work / "fp32")
    run("deepbet", head, "-o", work / "bf16", "--precision", "bf16")
    with Served("view", work / "fp32", work / "bf16", "--no-open") as address:
        look = Looked(browser, (1280, 800))
        page = look.page
        page.goto(address)
        page.wait_for_selector("#list button")
        look.shot("list")
        next_case(look)
        look.shot("volume_planes")
        page.keyboard.press("l")
        page.wait_for_timeout(300)
        look.shot("volume_without_labels")
        page.keyboard.press("l")
        for _ in range(4):
            page.keyboard.press("v")
        page.wait_for_timeout(800)
        look.shot("volume_3d")
        page.keyboard.press("v")
        page.keyboard.press("x")
        look.ready(2)
        page.keyboard.press("x")
        look.ready(3)
        look.shot("volume_two")
        page.keyboard.press("x")
        look.ready(4)
        page.keyboard.press("f")
        look.until("document.getElementById('saved').textContent === 'saved'")
        page.keyboard.press("c")
        page.keyboard.type("the mask leaks, \"here\"")
        page.keyboard.press("Enter")
        page.wait_for_timeout(500)
        look.shot("volume_reviewed")
        rows = list(csv.DictReader(open(work / "fp32/review.csv")))
        say(rows == [{"case": "colin27", "verdict": "fail", "comment": 'the mask leaks, "here"'}], f"review.csv: {rows}")
        next_case(look)
        look.shot("failed_case")
        look.close("volumes")
        look = Looked(browser, (400, 800), touch=True)
        look.page.goto(address)
        look.page.wait_for_selector("#list button")
        look.shot("narrow_list")
        look.page.tap("#list li:first-child button")
        look.ready(1)
        look.shot("narrow_volume")
        look.page.tap("#variants button:last-child")
        look.ready(2)
        look.shot("narrow_two")
        look.page.tap("#back")
        say(look.page.is_visible("#list"), "back to the list")
        look.close("volumes, narrow")


def photos(browser, work):
    run(quick / "discs.onnx", quick / "test", "-o", work / "photos", "--recipe", "discs")
    with Served("view", work / "photos", "--no-open") as address:
        look = Looked(browser, (1280, 800))
        look.page.goto(address)
        look.page.wait_for_selector("#list button")
        next_case(look)
        look.shot("photo")
        next_case(look)
        look.page.keyboard.press("p")
        look.page.wait_for_timeout(400)
        look.shot("photo_passed")
        look.close("photos")
        look = Looked(browser, (400, 800), touch=True)
        look.page.goto(address)
        look.page.tap("#list li:nth-child(3) button")
        look.ready(1)
        look.shot("narrow_photo")
        look.close("photos, narrow")


def classes(browser, work):
    """Photos that were classified, one as a whole and one in windows, with their heat maps."""
    golden = root / "crates/pipeline/tests/golden/heat"
    run(golden / "heat.onnx", golden / "small.png", golden / "large.png", "-o", work / "classes", "--recipe", golden / "tiles.toml", "--heat")
    say(len(list((work / "classes").glob("*_heat.png"))) == 2, "a heat map a photo")
    with Served("view", work / "classes", "--no-open") as address:
        look = Looked(browser, (1280, 800))
        look.page.goto(address)
        look.page.wait_for_selector("#list button")
        next_case(look)
        look.shot("class")
        look.page.keyboard.press("h")
        look.page.wait_for_timeout(1500)
        look.shot("class_heat")
        look.close("classes")


def slides(browser, work):
    """A slide (SLIDE, run with MODEL and RECIPE), with outlines and a map of scores."""
    if not slide:
        print("SKIPPED: no slide was given")
        return
    run(slide[1], slide[0], "-o", work / "slide", "--save-probabilities", "--recipe", slide[2])
    with Served("view", work / "slide", "--no-open") as address:
        look = Looked(browser, (1280, 800))
        look.page.goto(address)
        look.page.wait_for_selector("#list button")
        next_case(look)
        look.page.wait_for_timeout(1500)
        look.shot("slide")
        look.page.keyboard.press("h")
        look.page.wait_for_timeout(1500)
        look.shot("slide_heat")
        look.page.mouse.move(640, 350)
        for _ in range(6):
            look.page.mouse.wheel(0, -400)
            look.page.wait_for_timeout(200)
        look.page.wait_for_timeout(1500)
        look.shot("slide_near")
        look.close("slides")
        look = Looked(browser, (400, 800), touch=True)
        look.page.goto(address)
        look.page.tap("#list li:first-child button")
        look.ready(1)
        look.page.wait_for_timeout(1000)
        look.shot("narrow_slide")
        look.close("slides, narrow")


def dropping(browser, work):
    """A head and a photo dropped on the page of `serve`, seen, cancelled, removed."""
    # A model of a service of several has its recipe inside.
    discs = work / "discs.onnx"
    if not discs.exists():
        subprocess.run([ampoule, "import", quick / "discs.onnx", "--recipe", "discs", "-o", discs, "--quiet"], check=True)
    models = ["deepbet", f"discs={discs}"]
    with Served("serve", *models, "--port", "0", "--no-grpc") as address:
        look = Looked(browser, (1280, 800))
        page = look.page
        page.goto(address)
        page.wait_for_selector("#drop")
        look.shot("drop")
        page.set_input_files("#files", root / "assets/colin27.nii.gz")
        page.wait_for_selector("#jobs progress")
        page.wait_for_timeout(500)
        look.shot("drop_running")
        look.ready(1)
        look.shot("drop_head")
        page.select_option("#model", "discs")
        page.set_input_files("#files", quick / "test/test03.png")
        look.ready(2)
        look.shot("drop_photo")
        with page.expect_download() as download:
            page.click("#jobs li:first-child a")
        say(download.value.path().stat().st_size > 100, "the results are downloaded")
        page.set_input_files("#files", root / "README.md")
        page.wait_for_selector("#jobs .bad")
        look.shot("drop_failed")
        page.select_option("#model", "deepbet")
        page.set_input_files("#files", root / "assets/colin27.nii.gz")
        page.wait_for_selector("#jobs progress")
        page.click("#jobs li:first-child button:has-text('Cancel')")
        page.wait_for_timeout(500)
        say(page.locator("#jobs progress").count() == 0, "what is cancelled is gone")
        look.close("dropping")
        look = Looked(browser, (400, 800), touch=True)
        look.page.goto(address)
        look.page.wait_for_selector("#jobs li")
        look.shot("narrow_drop")
        look.page.click("#jobs li:last-child button:has-text('Look')")
        look.ready(1)
        look.shot("narrow_drop_head")
        look.close("dropping, narrow")


def main():
    work = shots / "work"
    work.mkdir(exist_ok=True)
    with sync_playwright() as p:
        options = ["--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--ignore-gpu-blocklist"]
        browser = p.chromium.launch(executable_path="/usr/bin/chromium", args=options)
        for part in (photos, classes, volumes, slides, dropping):
            part(browser, work)
        browser.close()
    sys.exit(failed)


main()
