//! Einstein sums of two operands that are one matrix product each.

use crate::op::einsum_labels;
use crate::{Graph, Node, Op, Result, ValueId};

/// Replaces them by `MatMul` between transpositions, which other passes and the engine know more about.
pub(super) fn as_products(g: &mut Graph, budget: usize) -> Result<usize> {
    let (mut n, mut i) = (0, 0);
    while i < g.nodes.len() && n < budget {
        if let Some(p) = product(g, i) {
            write(g, i, &p);
            n += 1;
        }
        i += 1;
    }
    Ok(n)
}

/// Orders of axes that make a sum `[batch…, m, k] · [batch…, k, n]`.
struct Product {
    left: Vec<usize>,
    right: Vec<usize>,
    /// From the product's axes to the result's.
    result: Vec<usize>,
}

fn product(g: &Graph, i: usize) -> Option<Product> {
    let Op::Einsum { equation } = &g.nodes[i].op else { return None };
    let [Some(a), Some(b)] = g.nodes[i].inputs[..] else { return None };
    let (da, db) = (g.value(a).dims()?, g.value(b).dims()?);
    let labels = einsum_labels(equation, &[da.len(), db.len()]).ok()?;
    let [la, lb] = &labels.inputs[..] else { return None };
    let once = |l: &[u32]| (0..l.len()).all(|i| !l[..i].contains(&l[i]));
    let alike = la.iter().zip(&da).all(|(l, d)| lb.iter().position(|m| m == l).is_none_or(|k| db[k] == *d));
    if !once(la) || !once(lb) || !alike {
        return None;
    }
    let out = &labels.output;
    let of =
        |l: &[u32], keep: &dyn Fn(&u32) -> bool| l.iter().copied().filter(|x| keep(x)).collect::<Vec<u32>>();
    let batch = of(out, &|l| la.contains(l) && lb.contains(l));
    let rows = of(la, &|l| !lb.contains(l));
    let columns = of(lb, &|l| !la.contains(l));
    let inner = of(la, &|l| lb.contains(l) && !out.contains(l));
    let ([m], [n], [k]) = (&rows[..], &columns[..], &inner[..]) else { return None };
    if !out.contains(m) || !out.contains(n) {
        return None;
    }
    let order = |from: &[u32], to: &[u32]| -> Option<Vec<usize>> {
        to.iter().map(|l| from.iter().position(|f| f == l)).collect()
    };
    let with = |last: [u32; 2]| [&batch[..], &last[..]].concat();
    Some(Product {
        left: order(la, &with([*m, *k]))?,
        right: order(lb, &with([*k, *n]))?,
        result: order(&with([*m, *n]), out)?,
    })
}

fn write(g: &mut Graph, i: usize, p: &Product) {
    let node = g.nodes[i].clone();
    let mut nodes = Vec::new();
    let still = |perm: &[usize]| perm.iter().enumerate().all(|(i, &p)| i == p);
    let mut turned = |g: &mut Graph, v: Option<ValueId>, perm: &[usize]| {
        if still(perm) {
            return v;
        }
        let t = g.fresh(&node.name);
        let op = Op::Transpose { perm: perm.to_vec() };
        nodes.push(Node { name: node.name.clone(), op, inputs: vec![v], outputs: vec![Some(t)] });
        Some(t)
    };
    let inputs = vec![turned(g, node.inputs[0], &p.left), turned(g, node.inputs[1], &p.right)];
    let result = if still(&p.result) { node.output() } else { Some(g.fresh(&node.name)) };
    nodes.push(Node { name: node.name.clone(), op: Op::MatMul, inputs, outputs: vec![result] });
    if !still(&p.result) {
        let op = Op::Transpose { perm: p.result.clone() };
        nodes.push(Node { name: node.name.clone(), op, inputs: vec![result], outputs: node.outputs.clone() });
    }
    g.nodes.splice(i..=i, nodes);
}
