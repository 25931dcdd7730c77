//! JSON laid out as prettier does, for what stands in listings. Texts and numbers stay as they were written.

/// prettier's `printWidth`.
const WIDTH: usize = 80;
/// Deeper is no listing, and must not exhaust the stack.
const DEPTH_MAX: usize = 32;

/// A value as it was written.
enum Node {
    Plain(String),
    List(Vec<Node>),
    /// Key and value; `broken` if a line ended before the first key, which prettier keeps.
    Map {
        fields: Vec<(String, Node)>,
        broken: bool,
    },
}

/// The text laid out anew; none if it is not JSON, or has a part whose layout is not known here.
pub(super) fn formatted(text: &str) -> Option<String> {
    serde_json::from_str::<serde_json::Value>(text).ok()?;
    let mut reader = Reader { rest: text };
    let node = reader.node(0)?;
    let mut out = String::new();
    write(&node, 0, 0, &mut out)?;
    out.push('\n');
    Some(out)
}

/// Reads text that is known to be JSON.
struct Reader<'t> {
    rest: &'t str,
}

impl Reader<'_> {
    /// Skips blanks; true if there was a line end among them.
    fn skip(&mut self) -> bool {
        let trimmed = self.rest.trim_start_matches([' ', '\t', '\r', '\n']);
        let skipped = self.rest.get(..self.rest.len() - trimmed.len()).unwrap_or_default();
        self.rest = trimmed;
        skipped.contains('\n')
    }

    fn take(&mut self, wanted: char) -> bool {
        self.skip();
        match self.rest.strip_prefix(wanted) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn node(&mut self, depth: usize) -> Option<Node> {
        if depth > DEPTH_MAX {
            return None;
        }
        if self.take('[') {
            let mut items = Vec::new();
            while !self.take(']') {
                items.push(self.node(depth + 1)?);
                self.take(',');
            }
            return Some(Node::List(items));
        }
        if self.take('{') {
            let broken = self.skip();
            let mut fields = Vec::new();
            while !self.take('}') {
                let key = self.plain()?;
                self.take(':');
                fields.push((key, self.node(depth + 1)?));
                self.take(',');
            }
            return Some(Node::Map { fields, broken });
        }
        self.plain().map(Node::Plain)
    }

    /// A text, number or word.
    fn plain(&mut self) -> Option<String> {
        self.skip();
        let end = if self.rest.starts_with('"') {
            let mut escaped = false;
            let mut inner = self.rest.char_indices().skip(1);
            inner.find_map(|(at, c)| {
                let ends = c == '"' && !escaped;
                escaped = c == '\\' && !escaped;
                ends.then_some(at + 1)
            })?
        } else {
            self.rest.find([',', ']', '}', ':', ' ', '\t', '\r', '\n']).unwrap_or(self.rest.len())
        };
        let (plain, rest) = self.rest.split_at_checked(end)?;
        self.rest = rest;
        (!plain.is_empty()).then(|| plain.to_owned())
    }
}

/// On one line; none if something in it must break.
fn inline(node: &Node) -> Option<String> {
    match node {
        Node::Plain(text) => Some(text.clone()),
        Node::List(items) if breaks(items) => None,
        Node::List(items) => {
            let items: Vec<String> = items.iter().map(inline).collect::<Option<_>>()?;
            Some(format!("[{}]", items.join(", ")))
        }
        Node::Map { fields, .. } if fields.is_empty() => Some("{}".to_owned()),
        Node::Map { broken: true, .. } => None,
        Node::Map { fields, .. } => {
            let fields: Vec<String> = fields
                .iter()
                .map(|(key, value)| Some(format!("{key}: {}", inline(value)?)))
                .collect::<Option<_>>()?;
            Some(format!("{{ {} }}", fields.join(", ")))
        }
    }
}

/// Several objects, or several lists, with several things each always stand below each other.
fn breaks(items: &[Node]) -> bool {
    let of_several = |item: &Node| match item {
        Node::Map { fields, .. } => fields.len() > 1,
        _ => false,
    };
    let lists = |item: &Node| matches!(item, Node::List(inner) if inner.len() > 1);
    items.len() > 1 && (items.iter().all(of_several) || items.iter().all(lists))
}

/// `before` is what stands on the line already, and the comma behind.
fn write(node: &Node, indent: usize, before: usize, out: &mut String) -> Option<()> {
    if let Some(line) = inline(node)
        && (before + line.chars().count() <= WIDTH || matches!(node, Node::Plain(_)))
    {
        out.push_str(&line);
        return Some(());
    }
    let inner = indent + 2;
    let pad = " ".repeat(inner);
    match node {
        Node::Plain(_) => {}
        Node::List(items) => {
            // Numbers fill their lines, by rules that no listing needs.
            if items.iter().all(|item| matches!(item, Node::Plain(text) if !text.starts_with('"'))) {
                return None;
            }
            for (index, item) in items.iter().enumerate() {
                out.push_str(if index == 0 { "[\n" } else { ",\n" });
                out.push_str(&pad);
                write(item, inner, inner + usize::from(index + 1 < items.len()), out)?;
            }
            out.push_str(&format!("\n{}]", " ".repeat(indent)));
        }
        Node::Map { fields, .. } => {
            for (index, (key, value)) in fields.iter().enumerate() {
                out.push_str(if index == 0 { "{\n" } else { ",\n" });
                out.push_str(&format!("{pad}{key}: "));
                let behind = usize::from(index + 1 < fields.len());
                write(value, inner, inner + key.chars().count() + 2 + behind, out)?;
            }
            out.push_str(&format!("\n{}}}", " ".repeat(indent)));
        }
    }
    Some(())
}
