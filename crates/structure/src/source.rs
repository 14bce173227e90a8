//! Finds the crates of a workspace and reads their modules.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use syn::spanned::Spanned;

use crate::imports::{Imports, is_test_only};

/// Why the structure could not be read.
#[derive(Debug, thiserror::Error)]
pub enum StructureError {
    /// A file or folder could not be read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// File or folder.
        path: PathBuf,
        /// Error of the operating system.
        source: std::io::Error,
    },
    /// The list of exceptions could not be written.
    #[error("cannot write {path}: {source}")]
    Write {
        /// File.
        path: PathBuf,
        /// Error of the operating system.
        source: std::io::Error,
    },
    /// A source file is not valid Rust.
    #[error("{path}:{line}: {message}")]
    Syntax {
        /// Source file.
        path: PathBuf,
        /// Line, from 1.
        line: usize,
        /// Message of the parser.
        message: String,
    },
    /// A manifest or the list of allowances is not valid TOML or lacks a field.
    #[error("{path}: {message}")]
    Toml {
        /// TOML file.
        path: PathBuf,
        /// What is wrong.
        message: String,
    },
    /// A `mod` declaration has no file.
    #[error("{path}: no file for `mod {module}`")]
    NoModule {
        /// File with the declaration.
        path: PathBuf,
        /// Name of the module.
        module: String,
    },
}

/// A module of a crate, with what it defines and what it names.
pub(crate) struct Module {
    /// Names from the crate's root; the root itself is empty.
    pub path: Vec<String>,
    /// Names of items that the module defines.
    pub items: BTreeSet<String>,
    /// What the module imports and names.
    pub imports: Imports,
}

/// A crate of the workspace.
pub(crate) struct Crate {
    /// Name of its folder.
    pub name: String,
    /// Folders' names of the workspace's crates it depends on (not for tests).
    pub depends: BTreeSet<String>,
    /// Root first, parents before their children.
    pub modules: Vec<Module>,
    /// All of its source files, those of tests and examples too, as absolute paths.
    pub files: Vec<PathBuf>,
}

/// Reads all crates of the workspace in `root`: `crates/*` and `cli`.
pub(crate) fn read(root: &Path) -> Result<Vec<Crate>, StructureError> {
    let mut folders = list(&root.join("crates"))?;
    folders.push(root.join("cli"));
    folders.retain(|f| f.join("Cargo.toml").is_file());
    let mut manifests = Vec::new();
    for folder in &folders {
        manifests.push(manifest(&folder.join("Cargo.toml"))?);
    }
    let names: Vec<String> = folders.iter().map(|f| file_name(f)).collect();
    let by_package: BTreeMap<&str, &str> =
        manifests.iter().zip(&names).map(|(m, name)| (m.package.as_str(), name.as_str())).collect();
    let mut crates = Vec::new();
    for ((folder, manifest), name) in folders.iter().zip(&manifests).zip(&names) {
        let depends = manifest
            .depends
            .iter()
            .filter_map(|d| by_package.get(d.as_str()))
            .map(|d| d.to_string())
            .collect();
        let mut files = Vec::new();
        rust_files(folder, &mut files)?;
        let mut modules = Vec::new();
        let source = folder.join("src");
        if let Some(file) = ["lib.rs", "main.rs"].map(|f| source.join(f)).into_iter().find(|f| f.is_file()) {
            read_file_module(&file, &source, Vec::new(), &mut modules)?;
        }
        crates.push(Crate { name: name.clone(), depends, modules, files });
    }
    Ok(crates)
}

/// Parses a source file.
pub(crate) fn parse(path: &Path) -> Result<(String, syn::File), StructureError> {
    let text =
        std::fs::read_to_string(path).map_err(|source| StructureError::Read { path: path.into(), source })?;
    let file = syn::parse_file(&text).map_err(|e| StructureError::Syntax {
        path: path.into(),
        line: e.span().start().line,
        message: e.to_string(),
    })?;
    Ok((text, file))
}

struct Manifest {
    package: String,
    depends: Vec<String>,
}

fn manifest(path: &Path) -> Result<Manifest, StructureError> {
    let table = read_toml(path)?;
    let package = table.get("package").and_then(|p| p.get("name")).and_then(|n| n.as_str());
    let package = package
        .ok_or_else(|| StructureError::Toml { path: path.into(), message: "no package.name".into() })?
        .to_string();
    let mut depends = Vec::new();
    let mut add = |table: &toml::Table| {
        for kind in ["dependencies", "build-dependencies"] {
            depends.extend(
                table.get(kind).and_then(|d| d.as_table()).into_iter().flat_map(|d| d.keys().cloned()),
            );
        }
    };
    add(&table);
    for target in table.get("target").and_then(|t| t.as_table()).into_iter().flat_map(|t| t.values()) {
        target.as_table().into_iter().for_each(&mut add);
    }
    Ok(Manifest { package, depends })
}

/// Reads a TOML file.
pub(crate) fn read_toml(path: &Path) -> Result<toml::Table, StructureError> {
    let text =
        std::fs::read_to_string(path).map_err(|source| StructureError::Read { path: path.into(), source })?;
    text.parse()
        .map_err(|e: toml::de::Error| StructureError::Toml { path: path.into(), message: e.to_string() })
}

/// Reads the module in `file`, whose children lie in `folder`.
fn read_file_module(
    file: &Path,
    folder: &Path,
    path: Vec<String>,
    modules: &mut Vec<Module>,
) -> Result<(), StructureError> {
    let (_, parsed) = parse(file)?;
    read_items(&parsed.items, file, folder, path, modules)
}

fn read_items(
    items: &[syn::Item],
    file: &Path,
    folder: &Path,
    path: Vec<String>,
    modules: &mut Vec<Module>,
) -> Result<(), StructureError> {
    let defined = items.iter().filter_map(item_name).collect();
    modules.push(Module { path: path.clone(), items: defined, imports: Imports::of(items) });
    for item in items {
        let syn::Item::Mod(child) = item else { continue };
        if is_test_only(&child.attrs) {
            continue;
        }
        let name = child.ident.to_string();
        let inside = folder.join(&name);
        let mut child_path = path.clone();
        child_path.push(name.clone());
        if let Some((_, items)) = &child.content {
            read_items(items, file, &inside, child_path, modules)?;
            continue;
        }
        let declared = child.attrs.iter().find_map(path_attribute);
        let candidates = match declared {
            Some(p) => vec![file.parent().unwrap_or(folder).join(p)],
            None => vec![folder.join(format!("{name}.rs")), inside.join("mod.rs")],
        };
        let found = candidates.into_iter().find(|f| f.is_file());
        let found = found.ok_or_else(|| StructureError::NoModule { path: file.into(), module: name })?;
        read_file_module(&found, &inside, child_path, modules)?;
    }
    Ok(())
}

/// The file of `#[path = "file"]`.
fn path_attribute(attribute: &syn::Attribute) -> Option<String> {
    let syn::Meta::NameValue(pair) = &attribute.meta else { return None };
    if !pair.path.is_ident("path") {
        return None;
    }
    match &pair.value {
        syn::Expr::Lit(syn::ExprLit { lit: syn::Lit::Str(s), .. }) => Some(s.value()),
        _ => None,
    }
}

/// The name that an item defines in its module, other than a child module.
fn item_name(item: &syn::Item) -> Option<String> {
    use syn::Item::*;
    let ident = match item {
        Const(i) => &i.ident,
        Enum(i) => &i.ident,
        Fn(i) => &i.sig.ident,
        Macro(i) => i.ident.as_ref()?,
        Static(i) => &i.ident,
        Struct(i) => &i.ident,
        Trait(i) => &i.ident,
        TraitAlias(i) => &i.ident,
        Type(i) => &i.ident,
        Union(i) => &i.ident,
        // These define no name of their own; `syn` may learn further kinds of items.
        _ => return None,
    };
    Some(ident.to_string())
}

/// Lines from the first to the last token of a piece of syntax.
pub(crate) fn lines(first: &impl Spanned, last: &impl Spanned) -> (usize, usize) {
    (first.span().start().line, last.span().end().line)
}

/// All Rust files below a folder, sorted.
fn rust_files(folder: &Path, found: &mut Vec<PathBuf>) -> Result<(), StructureError> {
    for path in list(folder)? {
        if path.is_dir() {
            if file_name(&path) != "target" {
                rust_files(&path, found)?;
            }
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push(path);
        }
    }
    Ok(())
}

/// Entries of a folder, sorted.
fn list(folder: &Path) -> Result<Vec<PathBuf>, StructureError> {
    let failed = |source| StructureError::Read { path: folder.into(), source };
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        paths.push(entry.map_err(failed)?.path());
    }
    paths.sort();
    Ok(paths)
}

fn file_name(path: &Path) -> String {
    path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default()
}
