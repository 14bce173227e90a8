//! The little that is read of the XML in descriptions: elements of a name, and attributes of their tags.

/// Elements called `name`, each from behind its name to the end of its tag or, where it has content, of that.
pub(crate) fn elements<'a>(xml: &'a str, name: &'a str) -> impl Iterator<Item = &'a str> {
    let mut rest = xml;
    std::iter::from_fn(move || {
        loop {
            let at = rest.find('<')?;
            rest = &rest[at + 1..];
            let Some(after) = rest.strip_prefix(name) else { continue };
            if !after.starts_with(|c: char| c.is_whitespace() || c == '>' || c == '/') {
                continue;
            }
            let tag = after.find('>')?;
            if after[..tag].ends_with('/') {
                rest = &after[tag..];
                return Some(&after[..tag]);
            }
            let end = after.find(&format!("</{name}")).unwrap_or(after.len());
            rest = &after[end..];
            return Some(&after[..end]);
        }
    })
}

/// The value of an attribute of the tag that an element begins with.
pub(crate) fn attribute<'a>(element: &'a str, name: &str) -> Option<&'a str> {
    let tag = &element[..element.find('>').unwrap_or(element.len())];
    let mut rest = tag;
    loop {
        let at = rest.find(name)?;
        let (before, after) = (&rest[..at], &rest[at + name.len()..]);
        let value = after.trim_start().strip_prefix('=').map(str::trim_start);
        let quote = value.and_then(|v| v.chars().next()).filter(|q| matches!(q, '"' | '\''));
        if let (Some(value), Some(quote)) = (value, quote)
            && before.ends_with(char::is_whitespace)
        {
            return value[1..].split(quote).next();
        }
        rest = after;
    }
}

/// The same as a number.
pub(crate) fn number<T: std::str::FromStr>(element: &str, name: &str) -> Option<T> {
    attribute(element, name)?.trim().parse().ok()
}

/// What stands between an element's tags.
pub(crate) fn content(element: &str) -> &str {
    element.split_once('>').map_or("", |(_, content)| content)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_and_attributes_are_found() {
        let xml = r#"<a><image name="x" size = '3'><view sizeX="5"/></image><images/><image/><image"#;
        let all: Vec<&str> = elements(xml, "image").collect();
        assert_eq!(all.len(), 2, "{all:?}");
        assert_eq!((attribute(all[0], "name"), number(all[0], "size")), (Some("x"), Some(3)));
        assert_eq!((attribute(all[0], "sizeX"), attribute(all[1], "name")), (None, None));
        assert_eq!(number(elements(all[0], "view").next().unwrap(), "sizeX"), Some(5.0));
        assert_eq!(content(all[0]), r#"<view sizeX="5"/>"#);
        assert_eq!(elements("<imag", "image").chain(elements("", "image")).count(), 0);
    }
}
