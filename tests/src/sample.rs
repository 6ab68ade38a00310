//! What documents show of commands, beside what these print. Numbers, addresses and times differ, the rest does not.

/// What a document shows of a command: the indented lines below it, as far as the next command.
pub fn shown(document: &str, command: &str) -> Vec<String> {
    let begin = format!("\n    # {command}\n");
    let rest = document.split_once(&begin).map(|(_, rest)| rest).unwrap_or_default();
    let lines = rest.lines().take_while(|line| {
        line.is_empty() || line.starts_with("    ") && !line.starts_with("    # ")
    });
    let lines = lines.map(|line| line.trim().trim_end_matches("...").trim().to_owned());
    lines.filter(|line| !line.is_empty()).collect()
}

/// A text without what differs from one host to another: `#` for each number and each Ethernet address, one blank for all.
fn shape(text: &str) -> String {
    let words = text.split_whitespace().map(|word| {
        let bare = word.trim_end_matches([',', ':']);
        if bare.len() == 17 && bare.split(':').count() == 6 {
            return word.replace(bare, "#");
        }
        let mut shape = String::new();
        for c in word.chars() {
            match c {
                '0'..='9' if shape.ends_with('#') => {}
                '0'..='9' => shape.push('#'),
                other => shape.push(other),
            }
        }
        shape
    });
    words.collect::<Vec<_>>().join(" ")
}

/// The first line that a document shows and the command does not print, in the document's order; lines may be broken elsewhere.
pub fn missing<'a>(shown: &'a [String], printed: &str) -> Option<&'a str> {
    let printed = shape(printed);
    let mut rest = printed.as_str();
    for line in shown {
        let Some((_, behind)) = rest.split_once(&shape(line)) else { return Some(line) };
        rest = behind;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_numbers_and_addresses_may_differ() {
        let document = "a:\n\n    # tool\n    10 more of ea:5d:77:99:4a:27, vrid 51\n    ...\n    done\n\ntext";
        let shown = shown(document, "tool");
        assert_eq!(shown.len(), 2);
        assert_eq!(missing(&shown, "7 more of 02:00:00:00:00:01,\n  vrid 7\nx\ndone"), None);
        assert_eq!(missing(&shown, "done 7 more of 02:00:00:00:00:01, vrid 7"), Some("done"));
        assert!(missing(&shown, "7 more on 02:00:00:00:00:01, vrid 7 done").is_some());
    }
}
