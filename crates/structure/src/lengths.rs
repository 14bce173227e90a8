//! How long files and functions are.

use std::path::Path;

use syn::visit::{self, Visit};

use crate::source::{self, Crate, StructureError};

/// A function with more lines than this is too long.
pub(crate) const MOST_FUNCTION_LINES: usize = 120;
/// A file with more lines than this is too long.
pub(crate) const MOST_FILE_LINES: usize = 600;

/// A source file.
#[derive(Clone, Debug)]
pub struct FileLength {
    /// Path from the workspace's root.
    pub file: String,
    /// Number of lines, with comments and blank ones.
    pub lines: usize,
}

/// A function with a body.
#[derive(Clone, Debug)]
pub struct FunctionLength {
    /// Path from the workspace's root.
    pub file: String,
    /// Name, with the type it belongs to: `Session::run`.
    pub name: String,
    /// First line, from 1.
    pub line: usize,
    /// Lines from the signature to the closing brace.
    pub lines: usize,
}

impl FunctionLength {
    /// `crates/engine/src/session.rs: Session::run`, as the list of allowances has it.
    pub fn key(&self) -> String {
        format!("{}: {}", self.file, self.name)
    }
}

/// Files and functions of a crate.
pub(crate) fn measure(
    root: &Path,
    krate: &Crate,
) -> Result<(Vec<FileLength>, Vec<FunctionLength>), StructureError> {
    let mut files = Vec::new();
    let mut functions = Vec::new();
    for path in &krate.files {
        let (text, parsed) = source::parse(path)?;
        let file = path.strip_prefix(root).unwrap_or(path).to_string_lossy().replace('\\', "/");
        let mut visitor = Visitor { file: file.clone(), of: Vec::new(), functions: Vec::new() };
        visitor.visit_file(&parsed);
        functions.append(&mut visitor.functions);
        files.push(FileLength { file, lines: text.lines().count() });
    }
    Ok((files, functions))
}

struct Visitor {
    file: String,
    /// Types, traits and functions around the current item.
    of: Vec<String>,
    functions: Vec<FunctionLength>,
}

impl Visitor {
    fn add(&mut self, signature: &syn::Signature, block: &syn::Block) {
        let (line, last) = source::lines(signature, block);
        self.of.push(signature.ident.to_string());
        let name = self.of.join("::");
        self.functions.push(FunctionLength { file: self.file.clone(), name, line, lines: last + 1 - line });
        visit::visit_block(self, block);
        self.of.pop();
    }

    fn within(&mut self, name: String, visit: impl FnOnce(&mut Self)) {
        self.of.push(name);
        visit(self);
        self.of.pop();
    }
}

impl<'a> Visit<'a> for Visitor {
    fn visit_item_fn(&mut self, f: &'a syn::ItemFn) {
        self.add(&f.sig, &f.block);
    }

    fn visit_impl_item_fn(&mut self, f: &'a syn::ImplItemFn) {
        self.add(&f.sig, &f.block);
    }

    fn visit_trait_item_fn(&mut self, f: &'a syn::TraitItemFn) {
        if let Some(block) = &f.default {
            self.add(&f.sig, block);
        }
    }

    fn visit_item_impl(&mut self, i: &'a syn::ItemImpl) {
        let name = match &*i.self_ty {
            syn::Type::Path(p) => p.path.segments.last().map(|s| s.ident.to_string()),
            _ => None,
        };
        self.within(name.unwrap_or_else(|| "impl".to_string()), |v| visit::visit_item_impl(v, i));
    }

    fn visit_item_trait(&mut self, t: &'a syn::ItemTrait) {
        self.within(t.ident.to_string(), |v| visit::visit_item_trait(v, t));
    }

    fn visit_item_mod(&mut self, m: &'a syn::ItemMod) {
        self.within(m.ident.to_string(), |v| visit::visit_item_mod(v, m));
    }
}
