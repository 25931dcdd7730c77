//! The README's rules for the image: nothing enforces them, and most listed images break one.

use super::{Avatar, check, fails_unless, warns_unless};
use crate::preflight::{Check, Verdict};

/// README: at most so many bytes.
const BYTES_MAX: usize = 24 * 1024;
/// README: pixels of each side.
const SIDE: std::ops::RangeInclusive<u32> = 128..=256;
/// First bytes of every PNG, then of its first chunk.
const PNG: &[u8; 8] = b"\x89PNG\r\n\x1a\n";
const FIRST_CHUNK: &[u8; 8] = b"\0\0\0\rIHDR";

/// Existence, size and, for a PNG, its dimensions.
pub(super) fn checks(avatar: Avatar<'_>, is_png: bool) -> Vec<Check> {
    let bytes = match avatar {
        Avatar::Unseen => {
            let words = "the avatar's file was not looked at".to_owned();
            return vec![check("LISTING_AVATAR_FILE", Verdict::Unknown, words)];
        }
        Avatar::Missing => {
            return vec![fails_unless("LISTING_AVATAR_FILE", false, "the avatar's file exists")];
        }
        Avatar::File(bytes) => bytes,
    };
    let size = bytes.len();
    let mut checks = vec![
        fails_unless("LISTING_AVATAR_FILE", true, "the avatar's file exists"),
        warns_unless(
            "LISTING_IMAGE_SIZE",
            size <= BYTES_MAX,
            &format!("the image has at most {BYTES_MAX} bytes (it has {size})"),
        ),
    ];
    if is_png {
        checks.push(dimensions(bytes));
    } else {
        checks.extend(drawing(bytes));
    }
    checks
}

/// An SVG has no pixels: its sides are compared, and it must only draw, because browsers of others show it.
fn drawing(bytes: &[u8]) -> [Check; 2] {
    let text = String::from_utf8_lossy(bytes).to_lowercase();
    let root = text.split_once("<svg").and_then(|(_, rest)| rest.split_once('>')).map(|(root, _)| root);
    let square = match root.and_then(svg_sides) {
        Some((width, height)) => warns_unless(
            "LISTING_IMAGE_DIMENSIONS",
            width == height,
            &format!("the image is square (it has {width} x {height})"),
        ),
        None => warns_unless("LISTING_IMAGE_DIMENSIONS", false, "the image is an SVG that says its sides"),
    };
    let active = ["<script", "<foreignobject", "javascript:", " onload", " onclick", " onerror", "<iframe"];
    let outside = ["href=\"http", "href='http", "url(http", "<!entity"];
    let draws = !active.iter().chain(&outside).any(|part| text.contains(part));
    [
        square,
        warns_unless("LISTING_IMAGE_PASSIVE", draws, "the SVG only draws: no script, nothing from elsewhere"),
    ]
}

/// Width and height of the view box, else of the element, as they are written.
fn svg_sides(root: &str) -> Option<(String, String)> {
    let attribute = |name: &str| {
        let (_, rest) = root.split_once(&format!("{name}="))?;
        let quote = rest.chars().next().filter(|c| matches!(c, '"' | '\''))?;
        rest.get(1..)?.split(quote).next()
    };
    if let Some(view) = attribute("viewbox") {
        let mut numbers = view.split([' ', ',']).filter(|part| !part.is_empty()).skip(2);
        return Some((numbers.next()?.to_owned(), numbers.next()?.to_owned()));
    }
    Some((attribute(" width")?.to_owned(), attribute(" height")?.to_owned()))
}

fn dimensions(bytes: &[u8]) -> Check {
    match png_sides(bytes) {
        Some((width, height)) => warns_unless(
            "LISTING_IMAGE_DIMENSIONS",
            width == height && SIDE.contains(&width),
            &format!("the image is square with sides of 128 to 256 pixels (it has {width} x {height})"),
        ),
        None => warns_unless("LISTING_IMAGE_DIMENSIONS", false, "the image is a PNG"),
    }
}

/// Width and height as the header tells them.
fn png_sides(bytes: &[u8]) -> Option<(u32, u32)> {
    let (width, rest) = bytes.strip_prefix(PNG)?.strip_prefix(FIRST_CHUNK)?.split_first_chunk::<4>()?;
    let (height, _) = rest.split_first_chunk::<4>()?;
    Some((u32::from_be_bytes(*width), u32::from_be_bytes(*height)))
}
