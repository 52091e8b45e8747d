//! Which names an expression reads, found in its syntax: so that a definition is checked before any event comes, and only what is
//! read is built for it.

use std::collections::{BTreeMap, BTreeSet};

use cel::common::ast::{EntryExpr, Expr, IdedExpr};

use super::Guard;

/// What was found.
#[derive(Default)]
pub(super) struct Reads {
    pub(super) variables: BTreeSet<String>,
    pub(super) steps: BTreeMap<String, Guard>,
    pub(super) attributes: BTreeMap<String, Guard>,
}

impl Reads {
    pub(super) fn walk(&mut self, node: &IdedExpr) {
        match &node.expr {
            Expr::Ident(name) => {
                self.variables.insert(name.clone());
            }
            Expr::Select(select) => {
                if let Some((read, name)) = self.selected(node) {
                    read.entry(name.to_owned()).or_insert(Guard::Bare);
                }
                if select.test {
                    self.guard(node);
                }
                self.walk(&select.operand);
            }
            Expr::Call(call) => {
                if let (Some((read, name)), true) = (self.indexed(node), call.target.is_none()) {
                    read.entry(name).or_insert(Guard::Bare);
                }
                call.target.iter().for_each(|target| self.walk(target));
                call.args.iter().for_each(|argument| self.walk(argument));
            }
            Expr::List(list) => list.elements.iter().for_each(|element| self.walk(element)),
            Expr::Map(map) => map.entries.iter().for_each(|entry| self.entry(&entry.expr)),
            Expr::Struct(object) => object.entries.iter().for_each(|entry| self.entry(&entry.expr)),
            Expr::Comprehension(comprehension) => {
                let c = comprehension.as_ref();
                for part in [&c.iter_range, &c.accu_init, &c.loop_cond, &c.loop_step, &c.result] {
                    self.walk(part);
                }
                self.variables.remove(&c.iter_var);
                self.variables.remove(&c.accu_var);
                if let Some(second) = &c.iter_var2 {
                    self.variables.remove(second);
                }
            }
            Expr::Literal(_) | Expr::Unspecified => {}
        }
    }

    fn entry(&mut self, entry: &EntryExpr) {
        match entry {
            EntryExpr::StructField(field) => self.walk(&field.value),
            EntryExpr::MapEntry(pair) => {
                self.walk(&pair.key);
                self.walk(&pair.value);
            }
        }
    }

    /// What the top-level name `root` stands for, where its fields are kept.
    fn of(&mut self, root: &str) -> Option<&mut BTreeMap<String, Guard>> {
        match root {
            "steps" => Some(&mut self.steps),
            "attributes" => Some(&mut self.attributes),
            _ => None,
        }
    }

    /// `NAME` where the node is exactly `steps.NAME` or `attributes.NAME`.
    fn selected<'n>(&mut self, node: &'n IdedExpr) -> Option<(&mut BTreeMap<String, Guard>, &'n str)> {
        let Expr::Select(select) = &node.expr else { return None };
        let Expr::Ident(root) = &select.operand.expr else { return None };
        self.of(root).map(|read| (read, select.field.as_str()))
    }

    /// `NAME` where the node is exactly `steps["NAME"]` or `attributes["NAME"]`.
    fn indexed(&mut self, node: &IdedExpr) -> Option<(&mut BTreeMap<String, Guard>, String)> {
        let Expr::Call(call) = &node.expr else { return None };
        let [root, key] = call.args.as_slice() else { return None };
        let Expr::Ident(root) = &root.expr else { return None };
        match &key.expr {
            Expr::Literal(cel::common::ast::LiteralValue::String(text)) => {
                self.of(root).map(|read| (read, text.inner().to_owned()))
            }
            _ => None,
        }
    }

    /// Marks what stands under a `has(…)` as asked for.
    fn guard(&mut self, node: &IdedExpr) {
        let mut at = node;
        loop {
            if let Some((read, name)) = self.selected(at) {
                read.insert(name.to_owned(), Guard::Has);
            }
            match &at.expr {
                Expr::Select(select) => at = &select.operand,
                _ => return,
            }
        }
    }
}
