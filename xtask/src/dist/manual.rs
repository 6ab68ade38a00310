//! A manual page from one of the documents, so that there is one text.
//!
//! Knows the Markdown that our documents use: headings, paragraphs, lists, tables, code and links.

use pulldown_cmark::{CodeBlockKind, Event, Options, Parser, Tag, TagEnd};

/// Turns a document into a page in the language of man(7).
pub fn page(title: &str, section: &str, summary: &str, version: &str, document: &str) -> String {
    let mut page = Page::default();
    page.text += &format!(
        ".TH {title} {section} \"\" \"vrrp-user {version}\" \"File Formats Manual\"\n.SH NAME\n{} \\- {}\n",
        escape(&title.to_lowercase()),
        escape(summary)
    );
    for event in Parser::new_ext(document, Options::ENABLE_TABLES) {
        page.event(event);
    }
    page.text
}

/// What is special to troff within text.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\\' => escaped.push_str("\\e"),
            '-' => escaped.push_str("\\-"),
            '\'' => escaped.push_str("\\(aq"),
            '`' => escaped.push_str("\\(ga"),
            '^' => escaped.push_str("\\(ha"),
            '~' => escaped.push_str("\\(ti"),
            other => escaped.push(other),
        }
    }
    escaped
}

#[derive(Default)]
struct Page {
    text: String,
    /// What was read of the current paragraph, heading or cell.
    run: String,
    /// Numbers of the lists that are open; `None` for bullets.
    lists: Vec<Option<u64>>,
    /// Whether the next paragraph belongs to the mark before it.
    marked: bool,
    code: bool,
    table: Table,
}

#[derive(Default)]
struct Table {
    head: Vec<String>,
    row: Vec<String>,
}

impl Page {
    fn event(&mut self, event: Event<'_>) {
        match event {
            Event::Start(tag) => self.start(&tag),
            Event::End(tag) => self.end(tag),
            // Lines of their own: nothing of it may begin with a dot or be filled.
            Event::Text(text) if self.code => {
                for line in text.lines() {
                    self.text += &format!("\\&{}\n", escape(line));
                }
            }
            Event::Text(text) => self.run += &escape(&text),
            Event::Code(code) => self.run += &format!("\\fB{}\\fR", escape(&code)),
            Event::SoftBreak | Event::HardBreak => self.run.push(' '),
            Event::Rule
            | Event::Html(_)
            | Event::InlineHtml(_)
            | Event::InlineMath(_)
            | Event::DisplayMath(_)
            | Event::FootnoteReference(_)
            | Event::TaskListMarker(_) => {}
        }
    }

    #[allow(clippy::wildcard_enum_match_arm, reason = "our documents use no more")]
    fn start(&mut self, tag: &Tag<'_>) {
        match tag {
            Tag::List(first) => {
                self.flush();
                if !self.lists.is_empty() {
                    self.text += ".RS\n";
                }
                self.lists.push(*first);
            }
            Tag::Item => {
                let mark = match self.lists.last_mut() {
                    Some(Some(number)) => {
                        *number += 1;
                        format!("{}.", *number - 1)
                    }
                    Some(None) | None => "\\(bu".to_owned(),
                };
                self.text += &format!(".IP {mark} 4\n");
                self.marked = true;
            }
            Tag::CodeBlock(CodeBlockKind::Indented | CodeBlockKind::Fenced(_)) => {
                self.flush();
                self.text += ".PP\n.RS 4\n.nf\n";
                self.code = true;
            }
            Tag::Strong => self.run += "\\fB",
            Tag::Emphasis => self.run += "\\fI",
            Tag::Table(_) => {
                self.flush();
                self.table = Table::default();
            }
            _ => {}
        }
    }

    #[allow(clippy::wildcard_enum_match_arm, reason = "our documents use no more")]
    fn end(&mut self, tag: TagEnd) {
        match tag {
            TagEnd::Heading(level) => {
                let title = std::mem::take(&mut self.run);
                let title = title.trim();
                self.text += &match level {
                    pulldown_cmark::HeadingLevel::H1 => ".SH DESCRIPTION\n".to_owned(),
                    pulldown_cmark::HeadingLevel::H2 => format!(".SH {title}\n"),
                    _ => format!(".SS {title}\n"),
                };
                self.marked = true;
            }
            TagEnd::Paragraph | TagEnd::Item => self.flush(),
            TagEnd::List(_) => {
                self.lists.pop();
                if !self.lists.is_empty() {
                    self.text += ".RE\n";
                }
            }
            TagEnd::CodeBlock => {
                self.text += ".fi\n.RE\n";
                self.code = false;
            }
            TagEnd::Strong | TagEnd::Emphasis => self.run += "\\fR",
            TagEnd::TableCell => {
                let cell = std::mem::take(&mut self.run).trim().to_owned();
                self.table.row.push(cell);
            }
            TagEnd::TableHead => self.table.head = std::mem::take(&mut self.table.row),
            TagEnd::TableRow => self.row(),
            _ => {}
        }
    }

    /// A row as a paragraph: its first cell with text is what the others are about.
    fn row(&mut self) {
        let cells = std::mem::take(&mut self.table.row);
        let mut cells =
            cells.into_iter().zip(&self.table.head).filter(|(cell, _)| !cell.is_empty());
        let Some((term, _)) = cells.next() else { return };
        self.text += &format!(".TP\n{}\n", line(&term));
        for (number, (cell, head)) in cells.enumerate() {
            if number > 0 {
                self.text += ".br\n";
            }
            let head = if head.is_empty() { String::new() } else { format!("{head}: ") };
            self.text += &format!("{}\n", line(&(head + &cell)));
        }
    }

    /// Ends a paragraph.
    fn flush(&mut self) {
        let run = std::mem::take(&mut self.run);
        if run.trim().is_empty() {
            return;
        }
        if !std::mem::take(&mut self.marked) {
            self.text += if self.lists.is_empty() { ".PP\n" } else { ".IP\n" };
        }
        self.text += &format!("{}\n", line(run.trim()));
    }
}

/// A line of text, which may begin with what would be a request.
fn line(text: &str) -> String {
    if text.starts_with(['.', '\'']) { format!("\\&{text}") } else { text.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_our_documents_use() {
        let text = page(
            "X.CONF",
            "5",
            "a format",
            "1",
            "# Title\n\nFirst `a-b`,\n[link](x.md).\n\n## Part\n\n- one\n- .two\n\n| key | default | |\n|---|---|---|\n\
             | `k` | 1 | text |\n\n    code -x\n    .more\n",
        );
        let expected = ".TH X.CONF 5 \"\" \"vrrp-user 1\" \"File Formats Manual\"\n.SH NAME\nx.conf \\- a format\n\
            .SH DESCRIPTION\nFirst \\fBa\\-b\\fR, link.\n.SH Part\n.IP \\(bu 4\none\n.IP \\(bu 4\n\\&.two\n\
            .TP\n\\fBk\\fR\ndefault: 1\n.br\ntext\n.PP\n.RS 4\n.nf\n\\&code \\-x\n\\&.more\n.fi\n.RE\n";
        assert_eq!(text, expected);
    }

    /// Every word of the document is in the page.
    #[test]
    fn nothing_is_lost() {
        let document = include_str!("../../../docs/configuration.md");
        // The title of the page is its own, and so are names of columns; comments are not shown.
        let lines: Vec<&str> = document.lines().skip(1).collect();
        let shown = lines.iter().zip(lines.iter().skip(1).chain([&""]));
        let shown =
            shown.filter(|(line, next)| !line.starts_with("<!--") && !next.starts_with("|---"));
        let document = shown.map(|(line, _)| format!("{line}\n")).collect::<String>();
        let document = document.as_str();
        let text = page(
            "VRRP.TOML",
            "5",
            "configuration",
            "1",
            include_str!("../../../docs/configuration.md"),
        );
        let troff = ["\\fB", "\\fR", "\\fI", "\\(aq", "\\(ga", "\\(ha", "\\(ti", "\\e"];
        let text = troff.iter().fold(text, |text, code| text.replace(code, " "));
        let words = |text: &str| {
            let letters = |c: char| !c.is_ascii_alphanumeric();
            text.split(letters).filter(|word| word.len() > 3).map(str::to_owned).collect::<Vec<_>>()
        };
        let all: std::collections::HashSet<_> = words(&text).into_iter().collect();
        // Where links lead to is left out.
        let plain =
            document.split("](").map(|part| part.split_once(')').map_or(part, |(_, rest)| rest));
        for word in words(&plain.collect::<Vec<_>>().join(" ")) {
            assert!(all.contains(&word), "{word}");
        }
    }
}
