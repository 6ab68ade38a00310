//! How much work the programs may be for the verifier of a kernel, as docs/performance.md has it.

const DOCUMENT: &str = include_str!("../../docs/performance.md");

/// Most steps for a program on a kernel, by its release: a quarter more than the table says. `None` where the table has
/// no such kernel or program.
pub fn most_steps(release: &str, program: &str) -> Option<u32> {
    let mut lines = DOCUMENT.lines().skip_while(|line| !line.starts_with("| Linux | vrrp_"));
    let column = cells(lines.next()?).position(|cell| cell == program)?;
    let mut numbers = release.split(['.', '-']);
    let kernel = format!("{}.{}", numbers.next()?, numbers.next()?);
    let row = lines
        .take_while(|line| line.starts_with('|'))
        .find(|line| cells(line).next() == Some(kernel.as_str()))?;
    let steps: u32 = cells(row).nth(column)?.replace(',', "").parse().ok()?;
    Some(steps / 4 * 5)
}

fn cells(line: &str) -> impl Iterator<Item = &str> {
    line.trim_matches('|').split('|').map(str::trim)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_found() {
        assert!(most_steps("6.18.44-x", "vrrp_xdp").is_some_and(|steps| steps > 1000));
        assert_eq!(most_steps("4.19.0", "vrrp_xdp"), None);
        assert_eq!(most_steps("6.18.44", "vrrp_none"), None);
    }
}
