//! Archives whose code or data mean harm: each is refused with a sentence, in bounded time and memory.

use ampoule_torch::{Budget, Error, graph};
use std::io::{Cursor, Write};

/// A TorchScript archive of this code and data.
fn archive(code: &str, data: &[u8]) -> Vec<u8> {
    let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
    let plain = zip::write::SimpleFileOptions::default();
    for (name, bytes) in [("a/data.pkl", data), ("a/code/__torch__.py", code.as_bytes())] {
        zip.start_file(name, plain).unwrap();
        zip.write_all(bytes).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

/// A module without attributes.
const MODULE: &[u8] = b"\x80\x02c__torch__\nM\n)\x81}b.";

/// What is said of a module with this body of `forward`.
fn said(body: &str) -> String {
    let lines: Vec<String> = body.lines().map(|l| format!("    {l}\n")).collect();
    let head =
        "class M(Module):\n  __parameters__ = []\n  def forward(self: __torch__.M, x: Tensor) -> Tensor:\n";
    let code = format!("{head}{}", lines.concat());
    graph(&archive(&code, MODULE), &[], Budget::default()).err().map_or("read".into(), |e| e.to_string())
}

/// Asserts what is said of a body.
fn says(body: &str, part: &str) {
    let text = said(body);
    assert!(text.contains(part), "`{part}` is not in: {text}");
}

#[test]
fn a_plain_module_is_read() {
    assert_eq!(said("return torch.relu(x)"), "read");
}

#[test]
fn loops_that_never_end_are_refused() {
    says("while True:\n  pass\nreturn x", "loop for ever");
    says("y = x\nfor i in range(9223372036854775807):\n  y = x\nreturn y", "loop for ever");
    says("return (self).forward(x, )", "100 deep");
}

#[test]
fn memory_is_bounded() {
    says("y = [1]\nfor i in range(100):\n  y = torch.add(y, y)\nreturn x", "elements");
    says("return torch.add(x, torch.zeros([100000, 100000, 100000]))", "too many");
    says("y = x\nfor i in range(100000):\n  y = torch.relu(y)\nreturn y", "50000 operators");
}

#[test]
fn deep_nesting_is_refused() {
    says(&format!("return {}x{}", "(".repeat(5000), ")".repeat(5000)), "levels");
    says(&format!("return x{}", "[0]".repeat(5000)), "links");
    says(&format!("return {}x", "not ".repeat(5000)), "levels");
    let blocks: String = (0..400).map(|i| format!("{}if True:\n", "  ".repeat(i))).collect();
    says(&format!("{blocks}{}pass\nreturn x", "  ".repeat(400)), "levels");
}

#[test]
fn unknown_operators_are_named_all_at_once_with_their_places() {
    let body = "y = torch.frobnicate(x)\nz = ops.mine.blend(y, x)\nreturn torch.relu(torch.grind(z))";
    for part in [
        "3 unsupported operators",
        "aten::frobnicate",
        "mine::blend",
        "aten::grind",
        "__torch__.py:4",
        "__torch__.py:5",
    ] {
        says(body, part);
    }
}

#[test]
fn code_that_is_no_code_is_refused_with_its_line() {
    says("return torch.relu(x", "bracket");
    says("import os\nreturn x", "__torch__.py:4");
    says("return $x", "no place");
    says("ops.prim.RaiseException(\"never\")\nreturn x", "raises an exception: never");
}

#[test]
fn branches_over_free_sizes_ask_for_the_shape() {
    let body = "if torch.eq(torch.size(x, 2), 7):\n  y = torch.relu(x)\nelse:\n  y = torch.tanh(x)\nreturn y";
    says(body, "--input-shape");
}

#[test]
fn changes_through_views_are_seen_or_refused() {
    says("y = torch.view(x, [-1])\nz = torch.relu_(y)\nreturn torch.add(x, x)", "changed in place");
}

#[test]
fn pickles_that_ask_for_functions_are_refused() {
    let data =
        b"\x80\x02c__torch__\nM\n)\x81}X\x01\x00\x00\x00acposix\nsystem\nX\x04\x00\x00\x00true\x85Rsb.";
    let code = "class M(Module):\n  def forward(self: __torch__.M, x: Tensor) -> Tensor:\n    return x\n";
    let error = graph(&archive(code, data), &[], Budget::default()).unwrap_err();
    assert!(matches!(error, Error::Hostile { ref wanted } if wanted == "posix.system"), "{error}");
}

#[test]
fn budgets_are_asked() {
    let code = "class M(Module):\n  def forward(self: __torch__.M, x: Tensor) -> Tensor:\n    return torch.relu(x)\n";
    let none = Budget::of(|_| Some([2, 1]));
    assert!(graph(&archive(code, MODULE), &[], none).unwrap_err().is_memory());
}
