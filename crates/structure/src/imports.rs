//! What a module names: its `use` declarations and the paths in its types, expressions and macros.

use std::collections::{BTreeMap, BTreeSet};

use proc_macro2::{TokenStream, TokenTree};
use syn::visit::{self, Visit};

/// What one module imports and names, unresolved.
#[derive(Default)]
pub(crate) struct Imports {
    /// Local name to the path it stands for.
    pub aliases: BTreeMap<String, Vec<String>>,
    /// Paths of `use path::*`.
    pub globs: Vec<Vec<String>>,
    /// All paths that occur, those of `use` declarations included.
    pub paths: BTreeSet<Vec<String>>,
}

impl Imports {
    /// Imports of a module's items, without its child modules and without code for tests.
    pub fn of(items: &[syn::Item]) -> Self {
        let mut visitor = Visitor::default();
        items.iter().for_each(|item| visitor.visit_item(item));
        visitor.0
    }
}

/// Whether an item exists in tests only: `#[test]`, or `test` inside a `#[cfg(…)]` without `not`.
pub(crate) fn is_test_only(attributes: &[syn::Attribute]) -> bool {
    attributes.iter().any(|a| match &a.meta {
        syn::Meta::Path(p) => p.is_ident("test"),
        syn::Meta::List(list) if list.path.is_ident("cfg") => {
            let mut words = Vec::new();
            identifiers(list.tokens.clone(), &mut words);
            words.iter().any(|w| w == "test") && words.iter().all(|w| w != "not")
        }
        _ => false,
    })
}

fn identifiers(tokens: TokenStream, found: &mut Vec<String>) {
    for token in tokens {
        match token {
            TokenTree::Ident(i) => found.push(i.to_string()),
            TokenTree::Group(g) => identifiers(g.stream(), found),
            TokenTree::Punct(_) | TokenTree::Literal(_) => {}
        }
    }
}

#[derive(Default)]
struct Visitor(Imports);

impl Visitor {
    fn import(&mut self, tree: &syn::UseTree, mut prefix: Vec<String>) {
        match tree {
            syn::UseTree::Path(p) => {
                prefix.push(p.ident.to_string());
                self.import(&p.tree, prefix);
            }
            syn::UseTree::Group(g) => g.items.iter().for_each(|t| self.import(t, prefix.clone())),
            syn::UseTree::Glob(_) => {
                self.0.paths.insert(prefix.clone());
                self.0.globs.push(prefix);
            }
            syn::UseTree::Name(n) => self.alias(n.ident.to_string(), None, prefix),
            syn::UseTree::Rename(r) => self.alias(r.ident.to_string(), Some(r.rename.to_string()), prefix),
        }
    }

    fn alias(&mut self, name: String, rename: Option<String>, mut path: Vec<String>) {
        if name != "self" {
            path.push(name);
        }
        let local = rename.or_else(|| path.last().cloned()).filter(|n| n != "_");
        self.0.paths.insert(path.clone());
        if let Some(local) = local {
            self.0.aliases.insert(local, path);
        }
    }

    /// Finds `a::b::c` in the tokens of a macro, which are not parsed.
    fn tokens(&mut self, tokens: TokenStream) {
        let mut path: Vec<String> = Vec::new();
        let mut colons = 0;
        for token in tokens {
            match token {
                TokenTree::Ident(i) => {
                    if colons != 2 {
                        self.finish(&mut path);
                    }
                    path.push(i.to_string());
                    colons = 0;
                }
                TokenTree::Punct(p) if p.as_char() == ':' => colons += 1,
                other => {
                    self.finish(&mut path);
                    colons = 0;
                    if let TokenTree::Group(g) = other {
                        self.tokens(g.stream());
                    }
                }
            }
        }
        self.finish(&mut path);
    }

    fn finish(&mut self, path: &mut Vec<String>) {
        let path = std::mem::take(path);
        if path.len() > 1 {
            self.0.paths.insert(path);
        }
    }
}

impl<'a> Visit<'a> for Visitor {
    fn visit_item(&mut self, item: &'a syn::Item) {
        use syn::Item::*;
        let attributes: &[syn::Attribute] = match item {
            // Modules are read apart.
            Mod(_) => return,
            Const(i) => &i.attrs,
            Enum(i) => &i.attrs,
            Fn(i) => &i.attrs,
            Impl(i) => &i.attrs,
            Macro(i) => &i.attrs,
            Static(i) => &i.attrs,
            Struct(i) => &i.attrs,
            Trait(i) => &i.attrs,
            Type(i) => &i.attrs,
            Use(i) => &i.attrs,
            // Other kinds rarely carry `cfg`; `syn` may learn further ones.
            _ => &[],
        };
        if !is_test_only(attributes) {
            visit::visit_item(self, item);
        }
    }

    fn visit_impl_item_fn(&mut self, item: &'a syn::ImplItemFn) {
        if !is_test_only(&item.attrs) {
            visit::visit_impl_item_fn(self, item);
        }
    }

    fn visit_item_use(&mut self, item: &'a syn::ItemUse) {
        self.import(&item.tree, Vec::new());
    }

    fn visit_path(&mut self, path: &'a syn::Path) {
        self.0.paths.insert(path.segments.iter().map(|s| s.ident.to_string()).collect());
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, call: &'a syn::Macro) {
        self.visit_path(&call.path);
        self.tokens(call.tokens.clone());
    }

    /// `pub(crate)` and `pub(in path)` import nothing.
    fn visit_visibility(&mut self, _: &'a syn::Visibility) {}

    /// Attributes name no modules.
    fn visit_attribute(&mut self, _: &'a syn::Attribute) {}
}
