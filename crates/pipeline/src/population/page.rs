//! The population as a page and as a table.

use super::{Comparison, Features, Reference};
use crate::field::field;
use crate::gallery::escape_text as text;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{self, Write};

/// Pixels across a strip of values, and of its points.
const WIDTH: f64 = 260.0;
/// Most points of a strip; of more an even selection is drawn.
const POINTS: usize = 300;

/// `population.csv`: a row a feature and site.
pub(crate) fn table(all: &[Comparison]) -> String {
    let mut out =
        "feature,site,cases,median,least,most,reference_median,robust_z,ks_distance,p_holm,differs\n"
            .to_owned();
    for c in all {
        let mut row = vec![c.feature.clone(), c.site.clone(), c.cases.to_string()];
        row.extend([c.median, c.range[0], c.range[1]].map(|v| v.to_string()));
        match c.drift {
            Some(d) => {
                row.extend([d.median, d.z, d.distance, d.p].map(|v| v.to_string()));
                row.push(u8::from(d.differs).to_string());
            }
            None => row.extend((0..5).map(|_| String::new())),
        }
        let fields: Vec<String> = row.iter().map(|f| field(f)).collect();
        out += &(fields.join(",") + "\n");
    }
    out
}

/// The page: what differs first, then every feature with its sites.
pub(crate) fn write(
    out: &mut dyn Write,
    title: &str,
    cases: &[(String, Features)],
    all: &[Comparison],
    reference: Option<&Reference>,
) -> io::Result<()> {
    out.write_all(include_str!("head.html").as_bytes())?;
    let against = match reference {
        Some(r) => format!("the {} cases that the model was calibrated on", r.cases),
        None => "all other sites (the model's file has no calibration cases)".to_owned(),
    };
    writeln!(
        out,
        "<title>{0}</title><h1>{0}: population</h1><p>{1} cases, made by ampoule {2}. Each site is compared with {3}: distance of the \
         medians in robust standard deviations, the statistic of Kolmogorov and Smirnov, and its probability after Holm. A site of \
         fewer than {4} cases is not compared.</p>",
        text(title),
        cases.len(),
        env!("CARGO_PKG_VERSION"),
        text(&against),
        super::compare::LEAST
    )?;
    let mut differing: Vec<&Comparison> = all.iter().filter(|c| c.drift.is_some_and(|d| d.differs)).collect();
    differing.sort_by(|a, b| strength(b).total_cmp(&strength(a)));
    let told = match differing.len() {
        0 => "<p class=ok>No site differs.</p>".to_owned(),
        n => format!("<p class=bad>{n} differences:</p>{}", rows(&differing)),
    };
    out.write_all(told.as_bytes())?;
    let mut features: BTreeMap<&str, Vec<&Comparison>> = BTreeMap::new();
    all.iter().for_each(|c| features.entry(&c.feature).or_default().push(c));
    for (feature, list) in features {
        write!(out, "<h2>{}</h2>{}", text(feature), rows(&list))?;
        strips(out, feature, cases, reference)?;
    }
    Ok(())
}

fn strength(c: &Comparison) -> f64 {
    c.drift.map_or(0.0, |d| d.z.abs())
}

fn rows(list: &[&Comparison]) -> String {
    let mut out = String::from(
        "<table><tr><th>feature<th>site<th>cases<th>median<th>least<th>most<th>reference<th>z<th>KS<th>p",
    );
    for c in list {
        let class = if c.drift.is_some_and(|d| d.differs) { " class=bad" } else { "" };
        let _ = write!(
            out,
            "<tr{class}><td>{}<td>{}<td>{}<td>{}<td>{}<td>{}",
            text(&c.feature),
            text(&c.site),
            c.cases,
            short(c.median),
            short(c.range[0]),
            short(c.range[1])
        );
        match c.drift {
            Some(d) => {
                let p = if d.p < 1e-12 { "&lt; 1e-12".to_owned() } else { short(d.p) };
                let _ = write!(out, "<td>{}<td>{:+.1}<td>{:.3}<td>{p}", short(d.median), d.z, d.distance);
            }
            None => out.push_str("<td colspan=4>too few to compare"),
        }
    }
    out + "</table>"
}

/// A strip of points a site, and one of the reference.
fn strips(
    out: &mut dyn Write,
    feature: &str,
    cases: &[(String, Features)],
    reference: Option<&Reference>,
) -> io::Result<()> {
    let mut sites: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    for (site, f) in cases {
        sites.entry(site).or_default().extend(f.get(feature).copied().filter(|v| v.is_finite()));
    }
    let kept = reference.and_then(|r| r.features.get(feature));
    let every: Vec<f64> = sites.values().flatten().chain(kept.into_iter().flatten()).copied().collect();
    let (low, high) =
        every.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |r, v| (r.0.min(*v), r.1.max(*v)));
    let span = if high > low { high - low } else { 1.0 };
    let mut strip = |name: &str, values: &[f64]| {
        write!(out, "<div class=s><span>{}</span><svg width={WIDTH} height=16>", text(name))?;
        for v in values.iter().step_by(values.len().div_ceil(POINTS).max(1)) {
            write!(out, "<circle cx={:.0} cy=8 r=3 />", 4.0 + (v - low) / span * (WIDTH - 8.0))?;
        }
        writeln!(out, "</svg></div>")
    };
    if let Some(values) = kept {
        strip("calibration", values)?;
    }
    sites.iter().try_for_each(|(site, values)| strip(site, values))
}

/// Four digits.
fn short(v: f64) -> String {
    match v.abs() {
        0.0 => "0".into(),
        a if !(1e-3..1e6).contains(&a) => format!("{v:.2e}"),
        a => {
            let digits = (3 - a.log10().floor() as i32).max(0) as usize;
            format!("{v:.digits$}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::population::compare;

    #[test]
    fn the_page_names_what_differs_and_escapes_all_names() {
        let evil = "<script>x</script>";
        let cases: Vec<(String, Features)> = (0..40)
            .map(|i| {
                let (site, more) = if i % 2 == 0 { (evil, 0.0) } else { ("b", 500.0) };
                (site.to_owned(), Features::from([(evil.to_owned(), i as f64 + more)]))
            })
            .collect();
        let all = compare(&cases, None);
        let mut page = Vec::new();
        write(&mut page, evil, &cases, &all, None).unwrap();
        let page = String::from_utf8(page).unwrap();
        assert!(!page.contains("<script>") && page.contains("&lt;script&gt;"), "{page}");
        assert!(page.contains("2 differences") && page.matches("<circle").count() == 40);
        let table = table(&all);
        assert_eq!(table.lines().count(), 3);
        assert!(table.lines().skip(1).all(|l| l.ends_with(",1")), "{table}");
    }
}
